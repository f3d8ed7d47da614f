"""The chart's pods meet the Pod Security Standard "restricted", and its network policies allow what they say.

No cluster is here, so these checks apply the standard's and the policies' rules to the rendered objects.
"""

import copy
import ipaddress

import pytest
from rendering import NAMESPACE, SETS, VERSION, changed, containers, objects, of_kind, pods, selects

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
VOLUMES |= {"projected", "secret"}


def violations(pod):
    """Yield what the standard "restricted" forbids in a pod."""
    spec = pod["spec"]
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes", ()):
        yield from (kind for kind in volume if kind not in {"name", *VOLUMES})
    for container in containers(pod):
        of_pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
        both = {**of_pod, **own}
        yield from ("hostPort" for port in container.get("ports", ()) if port.get("hostPort"))
        if own.get("privileged") or own.get("procMount", "Default") != "Default":
            yield "privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield "allowPrivilegeEscalation"
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield "capabilities"
        if set(own.get("capabilities", {}).get("add", ())) - {"NET_BIND_SERVICE"}:
            yield "capabilities"
        if both.get("runAsNonRoot") is not True or both.get("runAsUser", 1) == 0:
            yield "runAsNonRoot"
        if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
            yield "seccompProfile"


@pytest.mark.parametrize("name", SETS)
def test_pods_are_restricted(name):
    for component, pod in pods(objects(SETS[name])).items():
        assert list(violations(pod)) == [], component


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hostNetwork",), True),
        (("securityContext", "runAsNonRoot"), False),
        (("securityContext", "runAsUser"), 0),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}),
        (("volumes",), [{"name": "a", "hostPath": {"path": "/"}}]),
        (("containers", 0, "securityContext"), {}),
        (("containers", 0, "securityContext", "privileged"), True),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}),
        (("containers", 0, "ports"), [{"containerPort": 1, "hostPort": 1}]),
    ],
)
def test_what_is_not_restricted_would_be_found(path, value):
    pod = copy.deepcopy(pods(objects(SETS["minimal"]))["web"])
    inner = pod["spec"]
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert list(violations(pod))


@pytest.mark.parametrize("name", SETS)
def test_containers_have_resources_a_fixed_image_and_a_read_only_file_system(name):
    for pod in pods(objects(SETS[name])).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        for container in containers(pod):
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            image = container["image"]
            assert "@sha256:" in image or image.rpartition("/")[2].partition(":")[2] not in {
                "",
                "latest",
            }


def test_the_image_is_that_of_the_charts_version_unless_values_say_otherwise():
    images = {
        name: pods(objects(SETS[name]))["web"]["spec"]["containers"][0]["image"] for name in SETS
    }
    repository = "registry.example.com/account-service"
    assert images["minimal"] == f"{repository}:{VERSION}"
    assert images["everything"] == f"{repository}:1.0.0-rc.1"
    assert images["no-ledger"] == f"{repository}@sha256:{'0' * 64}"


class Network:
    """Answers whether the policies of a release let a connection through. An end is a pod or an address."""

    def __init__(self, values):
        found = objects(values)
        self.policies = of_kind(found, "NetworkPolicy")
        self.pods = {
            name: {"namespace": NAMESPACE, "labels": pod["metadata"]["labels"]}
            for name, pod in pods(found).items()
        }
        self.ports = {"web": {"http": 8085}, "worker": {"metrics": 9090}, "beat": {"metrics": 9090}}

    def allows(self, sender, receiver, port, protocol="TCP"):
        """Return whether `sender` may connect to `receiver` at this port.

        A pod of the release is given by its component, another one as (namespace, labels), anything else
        as an IP address.
        """
        ends = [self._end(sender), self._end(receiver)]
        out = not self._is_ours(sender) or self._passes("Egress", ends[0], ends[1], port, protocol)
        into = not self._is_ours(receiver) or self._passes(
            "Ingress", ends[1], ends[0], port, protocol, self.ports.get(str(receiver), {})
        )
        return out and into

    def _is_ours(self, name):
        return isinstance(name, str) and name in self.pods

    def _end(self, name):
        if isinstance(name, tuple):
            return {"namespace": name[0], "labels": name[1]}
        return self.pods.get(name, {"address": name})

    def _passes(self, direction, pod, other, port, protocol, names=None):
        mine = [
            each["spec"]
            for each in self.policies
            if direction in each["spec"]["policyTypes"]
            and selects(each["spec"]["podSelector"], pod["labels"])
        ]
        ends = "to" if direction == "Egress" else "from"
        return not mine or any(
            self._port_fits(rule, port, protocol, names or {})
            and self._peer_fits(rule.get(ends), other)
            for spec in mine
            for rule in spec.get(direction.lower()) or []
        )

    def _port_fits(self, rule, port, protocol, names):
        return "ports" not in rule or any(
            each["protocol"] == protocol and names.get(each["port"], each["port"]) == port
            for each in rule["ports"]
        )

    def _peer_fits(self, peers, other):
        return peers is None or any(self._is(peer, other) for peer in peers)

    def _is(self, peer, other):
        if "ipBlock" in peer:
            if "address" not in other:
                return False
            address = ipaddress.ip_address(other["address"])
            block = peer["ipBlock"]
            inside = address in ipaddress.ip_network(block["cidr"])
            return inside and not any(
                address in ipaddress.ip_network(each) for each in block.get("except", ())
            )
        if "address" in other:
            return False
        namespace = {"kubernetes.io/metadata.name": other["namespace"]}
        if "namespaceSelector" in peer:
            in_namespace = selects(peer["namespaceSelector"], namespace)
        else:
            in_namespace = other["namespace"] == NAMESPACE
        return in_namespace and selects(peer.get("podSelector", {}), other["labels"])


REDIS = ("data", {"app": "redis"})
HYDRA = ("identity", {"app": "hydra"})
DNS = ("kube-system", {"k8s-app": "kube-dns"})
STRANGER = ("elsewhere", {"app": "stranger"})
INGRESS = ("ingress-nginx", {"app": "nginx"})
PROMETHEUS = ("monitoring", {"app": "prometheus"})


@pytest.mark.parametrize(
    ("sender", "receiver", "port", "allowed"),
    [
        # To the database, Redis and peers, as the values say, and nowhere else.
        ("worker", "10.1.2.3", 5432, True),
        ("worker", "10.1.2.3", 5433, True),
        ("migration", "10.1.2.3", 5432, True),
        ("worker", "fd00::1", 5432, True),
        ("worker", "10.1.2.4", 5432, False),
        ("worker", "10.1.2.3", 22, False),
        ("beat", REDIS, 6379, True),
        ("worker", ("data", {"app": "other"}), 6379, False),
        ("worker", ("elsewhere", {"app": "redis"}), 6379, False),
        ("web", HYDRA, 4445, True),
        ("web", ("identity", {"app": "other"}), 4445, False),
        ("worker", ("ledger", {"any": "pod"}), 8008, True),
        ("worker", "10.9.3.4", 4318, True),
        ("worker", "10.8.0.1", 3128, True),
        ("worker", "169.254.20.10", 53, True),
        # Webhooks and peers outside: public addresses only, so that none reaches the inside.
        ("worker", "203.0.113.7", 443, True),
        ("worker", "2001:db8::7", 443, True),
        ("worker", "203.0.113.7", 80, False),
        ("worker", "10.0.0.1", 443, False),
        ("worker", "169.254.169.254", 443, False),
        ("worker", "fd00::2", 443, False),
        ("worker", STRANGER, 443, False),
        # To the release's pods.
        (INGRESS, "web", 8085, True),
        (STRANGER, "web", 8085, False),
        ("203.0.113.7", "web", 8085, False),
        (PROMETHEUS, "web", 8085, True),
        (PROMETHEUS, "worker", 9090, True),
        (PROMETHEUS, "beat", 9090, True),
        (STRANGER, "worker", 9090, False),
        (INGRESS, "worker", 9090, False),
        ("test", "web", 8085, True),
        ("worker", "web", 8085, False),
        (STRANGER, "migration", 80, False),
    ],
)
def test_the_policies_allow_what_the_values_say(sender, receiver, port, allowed):
    assert Network(SETS["everything"]).allows(sender, receiver, port) is allowed


@pytest.mark.parametrize("component", ["web", "worker", "beat", "migration", "test"])
@pytest.mark.parametrize("name", ["minimal", "example", "everything", "tls-sentinel"])
def test_every_pod_resolves_names(name, component):
    network = Network(SETS[name])
    assert network.allows(component, DNS, 53, "UDP")
    assert network.allows(component, DNS, 53, "TCP")
    assert not network.allows(component, STRANGER, 53, "UDP")


@pytest.mark.parametrize("component", ["web", "worker", "beat", "migration"])
def test_without_a_destination_database_and_redis_may_be_anywhere(component):
    network = Network(SETS["minimal"])
    assert network.allows(component, "10.1.2.3", 5432)
    assert network.allows(component, REDIS, 6379)
    assert network.allows(STRANGER, "web", 8085)
    assert not network.allows(component, "10.1.2.3", 8008)


def test_rules_of_the_chart_1_0_still_decide():
    """With `egress` alone, as in the chart 1.0.0, nothing is opened besides."""
    values = changed(
        SETS["minimal"],
        ("networkPolicy", "egress"),
        [{"to": [{"ipBlock": {"cidr": "10.8.0.1/32"}}]}],
    )
    network = Network(values)
    assert network.allows("worker", "10.8.0.1", 5432)
    assert network.allows("migration", "10.8.0.1", 5432)
    assert not network.allows("worker", "10.1.2.3", 5432)
    assert not network.allows("worker", REDIS, 6379)


def test_sentinels_and_the_servers_that_they_name_are_reached():
    network = Network(SETS["tls-sentinel"])
    assert network.allows("worker", ("data", {"any": "pod"}), 26379)
    assert network.allows("worker", ("data", {"any": "pod"}), 6379)
    assert not network.allows("worker", STRANGER, 26379)


def test_redis_is_reached_at_the_port_in_its_url():
    url = ("settings", "REDIS_HOST")
    network = Network(changed(SETS["minimal"], url, "rediss://redis.data.svc:6380"))
    assert network.allows("worker", REDIS, 6380)
    assert not network.allows("worker", REDIS, 6379)


def test_the_migrations_own_policy_is_enough_before_an_install():
    network = Network(SETS["everything"])
    network.policies = [
        each
        for each in network.policies
        if "helm.sh/hook" in each["metadata"].get("annotations", {})
    ]
    assert len(network.policies) == 1
    assert network.allows("migration", "10.1.2.3", 5432)
    assert not network.allows("migration", "10.1.2.4", 5432)
