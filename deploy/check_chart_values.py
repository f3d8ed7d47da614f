"""Each value of the chart counts, and a misspelt or wrong one is rejected."""

import helm_python as helm
import pytest
from rendering import DEFAULTS, SETS, changed, environment, objects, pods, texts

_PEER = {"ipBlock": {"cidr": "192.0.2.0/24"}}
# Another value for each list and map, by the last part of its path.
_OTHER_LISTS = {
    "imagePullSecrets": [{"name": "other"}],
    "required": ["SECRET", "DATABASE_URI", "HYDRA_CLIENT_SECRET", "WEBHOOK_SECRET", "MORE"],
    "optional": ["MORE"],
    "tolerations": [{"key": "other", "operator": "Exists"}],
    "topologySpreadConstraints": [
        {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "extraEnv": [{"name": "OTHER", "value": "1"}],
    "extraEnvFrom": [{"secretRef": {"name": "other"}}],
    "extraVolumes": [{"name": "other", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "other", "mountPath": "/other"}],
    "extraInitContainers": [{"name": "other", "image": "other:1"}],
    "extraContainers": [{"name": "other", "image": "other:1"}],
    "paths": ["/ggo"],
    "webFrom": [_PEER],
    "metricsFrom": [_PEER],
    "cidrs": ["192.0.2.7/32"],
    "ports": [1234],
    "publicPorts": [8443],
    "peers": [{"cidrs": ["192.0.2.8/32"], "ports": [99]}],
    "egress": [{"to": [_PEER]}],
    "metricRelabelings": [{"action": "labeldrop", "regex": "x"}],
    "disabledAlerts": ["AccountServiceDown"],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}],
    "drop": ["NET_RAW"],
}
_OTHER_TEXTS = {
    "pullPolicy": "Never",
    "digest": "sha256:1",
    "mode": "verify-ca",
    "type": "LoadBalancer",
    "interval": "5s",
    "fsGroupChangePolicy": "Always",
    "runbookUrl": "https://other.example.com",
    "URL": "https://other.example.com",
}
_MAPS = {"affinity": {"podAntiAffinity": {}}}
# Values that only count together with another one.
_TOGETHER = {
    ("tls", "database", "caSecret"): ("tls", "database", "caConfigMap"),
    ("tls", "redis", "caConfigMap"): ("tls", "redis", "caSecret"),
    ("tls", "peers", "caSecret"): ("tls", "peers", "caConfigMap"),
    ("web", "replicas"): ("web", "autoscaling", "enabled"),
    ("worker", "replicas"): ("worker", "autoscaling", "enabled"),
}
_OFF = {"caConfigMap": "", "caSecret": "", "enabled": False}


def _leaves(value, path=()):
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path


def _current(values, path):
    for name in path:
        values = values.get(name, {}) if isinstance(values, dict) else {}
    return values


def _default(path):
    return _current(DEFAULTS, path)


def _other(path, values):
    """Return another value than the default and than the one in these values."""
    default = _default(path)
    if isinstance(default, bool):
        given = _current(values, path)
        return not (given if isinstance(given, bool) else default)
    if isinstance(default, int):
        return default + 2
    if isinstance(default, list):
        return _OTHER_LISTS[path[-1]]
    if isinstance(default, dict):
        return _MAPS.get(path[-1], {"example.com/other": "other"})
    if path[-2:] == ("seccompProfile", "type"):
        return "Unconfined"
    return _OTHER_TEXTS.get(path[-1]) or _OTHER_TEXTS.get(path[-1].rpartition("_")[2], "other")


LEAVES = list(_leaves(DEFAULTS))
# This one needs a cluster's answer: check_chart_release.py.
USED_OFFLINE = [each for each in LEAVES if each != ("secrets", "restartOnChange")]


@pytest.mark.parametrize("path", USED_OFFLINE, ids=".".join)
def test_each_value_is_used(path):
    values = SETS["everything"]
    if path in _TOGETHER:
        values = changed(values, _TOGETHER[path], _OFF[_TOGETHER[path][-1]])
    elif path == ("tls", "redis", "enabled"):
        values = SETS["minimal"]
    before, after = texts(values), texts(changed(values, path, _other(path, values)))
    notes = "account-service/templates/NOTES.txt"
    assert {**before, notes: ""} != {**after, notes: ""}


COMPONENTS = ("web", "worker", "beat", "migration")


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_pods_values_add_to_those_of_all_pods(component):
    pod = pods(objects(SETS["everything"]))[component]
    spec, metadata = pod["spec"], pod["metadata"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "example.com/pool": "energy"}
    assert [each["key"] for each in spec["tolerations"]] == ["energy", "more"]
    assert "nodeAffinity" not in spec["affinity"]
    assert spec["priorityClassName"] == "very-important"
    assert {"example.com/cost": "pods", "example.com/of": "component"}.items() <= metadata[
        "labels"
    ].items()
    assert metadata["annotations"]["example.com/from"] == "pods"
    assert metadata["annotations"]["example.com/of"] == "component"
    assert {"PODS_VARIABLE", "OWN_VARIABLE"} <= set(environment(pod))
    [container] = [each for each in spec["containers"] if each["name"] == component]
    assert len(container["envFrom"]) == 2
    assert {"shared", "own"} <= {each["name"] for each in spec["volumes"]}
    assert {"/shared", "/own"} <= {each["mountPath"] for each in container["volumeMounts"]}
    assert spec["initContainers"][0]["name"] == "proxy"
    assert spec["serviceAccountName"] == (
        "accounts-migration" if component == "migration" else "accounts"
    )


@pytest.mark.parametrize("component", ["web", "worker", "beat"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("settings", "LOG_LEVEL"), "DEBUG"),
        (("settings", "WORKERS"), 7),
        (("secrets", "checksum"), "tomorrow"),
    ],
)
def test_a_changed_setting_or_checksum_restarts_the_pods(component, path, value):
    before = pods(objects(SETS["minimal"]))[component]
    after = pods(objects(changed(SETS["minimal"], path, value)))[component]
    assert before != after


def _misspelt():
    for path in LEAVES:
        yield (*path[:-1], f"{path[-1]}x")
    for path in {leaf[:depth] for leaf in LEAVES for depth in range(1, len(leaf))}:
        yield (*path[:-1], f"{path[-1]}x")


@pytest.mark.parametrize("path", sorted(set(_misspelt())), ids=".".join)
def test_a_misspelt_value_is_rejected(path):
    # In free maps, every name is right.
    if path[:2] in {("monitoring", "dashboard"), ("networkPolicy", "dns")} and path[-1] in {
        "grafana_dashboardx",
        "k8s-appx",
    }:
        return
    # Quantities have names of the cluster's devices.
    if len(path) == 4 and path[1] == "resources":
        return
    with pytest.raises(helm.HelmError, match=path[-1]):
        texts(changed(SETS["minimal"], path, "value"))


def _wrong(path):
    either_text_or_number = path[-1] == "checksum" or path[1:2] == ("resources",)
    if isinstance(_default(path), str | list | dict) and not either_text_or_number:
        return 5
    return ["a list"]


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_value_of_the_wrong_type_is_rejected(path):
    with pytest.raises(helm.HelmError, match="schema"):
        texts(changed(SETS["minimal"], path, _wrong(path)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("image.repository", "", "image.repository must be set"),
        ("image.tag", 1.1, "schema"),
        ("secrets.name", "", "secrets.name must be set"),
        ("settings.LEDGER_URL", "", "settings.LEDGER_URL must be set"),
        ("settings.REDIS_HOST", "", "settings.REDIS_HOST must be set"),
        ("settings.SECRET", "a value", "settings.SECRET is a secret"),
        ("settings.DATABASE_URI", "postgresql://x", "settings.DATABASE_URI is a secret"),
        ("settings.PORT", 80, "settings.PORT is set by the chart"),
        ("settings.DRAIN_SECONDS", 80, "settings.DRAIN_SECONDS is set by the chart"),
        ("settings.METRICS_PORT", 80, "settings.METRICS_PORT is set by the chart"),
        ("settings.WORKERS", "two", "WORKERS"),
        ("settings.WORKERS", 0, "WORKERS"),
        ("settings.LEDGER_URL", "ledger:8008", "LEDGER_URL"),
        ("settings.LOG_LEVEL", "LOUD", "LOG_LEVEL"),
        ("settings.TLS_VERIFY", "ja", "TLS_VERIFY"),
        ("settings.LEASE_SECONDS", 0, "LEASE_SECONDS"),
        ("settings.REDIS_HOTS", "redis", "REDIS_HOTS"),
        ("settings.OTEL_EXPORTER_OTLP_ENDPIONT", "http://collector:4318", "ENDPIONT"),
        # The migration doesn't get settings: it would connect in another way than the other processes.
        ("settings.PGSSLMODE", "verify-full", "PGSSLMODE"),
        ("ingress", {"enabled": True}, "ingress.host must be set"),
        ("ingress", {"enabled": True, "host": "a", "paths": ["/"]}, "/ would publish /metrics"),
        ("ingress", {"enabled": True, "host": "a", "paths": ["/metrics"]}, "would publish"),
        ("ingress", {"enabled": True, "host": "a", "paths": ["/health/live"]}, "would publish"),
        ("tls.database", {"caSecret": "a", "caConfigMap": "b"}, "not both"),
        ("tls.redis.caSecret", "a", "set tls.redis.enabled"),
        ("web.terminationGracePeriodSeconds", 35, "must be more than 35"),
        ("web.drainSeconds", 15, "must be more than 45"),
        ("web.extraEnv", [{"name": "PORT", "value": "1"}], "PORT is set twice"),
        ("pods.extraEnv", [{"name": "REDIS_HOST", "value": "1"}], "REDIS_HOST is set twice"),
        ("web.extraEnv", [{"nam": "X"}], "nam"),
        ("web.tolerations", [{"effekt": "NoExecute"}], "effekt"),
        ("networkPolicy.database.cidrs", ["10.0.0.1"], "cidrs"),
        ("networkPolicy.peers", [{"namespace": "ledger"}], "ports"),
        ("networkPolicy.peers", [{"namespace": "ledger", "ports": []}], "ports"),
        ("networkPolicy.peers", [{"cidrs": [], "ports": [8008]}], "each needs namespace"),
        ("networkPolicy.database.ports", [], "ports"),
        ("service.type", "Loadbalancer", "type"),
        (
            "monitoring.prometheusRule",
            {"enabled": True, "disabledAlerts": ["AccountServiceDwon"]},
            "no alert AccountServiceDwon",
        ),
    ],
)
def test_a_wrong_value_is_rejected_with_its_name(path, value, message):
    with pytest.raises(helm.HelmError, match=message):
        texts(changed(SETS["minimal"], tuple(path.split(".")), value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("settings.WORKERS", "3"),
        ("settings.LEASE_SECONDS", "2.5"),
        ("settings.HTTPS_PROXY", "http://proxy:3128"),
        ("settings.TLS_VERIFY", False),
        ("settings.TLS_VERIFY", "1"),
        ("settings.LOG_LEVEL", "debug"),
        ("settings.OTEL_SERVICE_NAME", "accounts"),
        ("settings.REQUESTS_CA_BUNDLE", "/etc/ssl/ca.crt"),
        ("global", {"imageRegistry": "registry.example.com"}),
        ("web.rollingUpdate.maxSurge", "25%"),
        ("podSecurityContext.runAsUser", None),
    ],
)
def test_what_operators_also_write_is_accepted(path, value):
    assert texts(changed(SETS["minimal"], tuple(path.split(".")), value))


@pytest.mark.parametrize("off", [0, False, "0", "false", "False", "no", "off"])
def test_without_a_ledger_no_url_is_needed_however_that_is_written(off):
    settings = {**SETS["minimal"]["settings"], "LEDGER_ENABLED": off, "LEDGER_URL": ""}
    notes = texts({**SETS["minimal"], "settings": settings})["account-service/templates/NOTES.txt"]
    assert "LEDGER_ENABLED is off" in notes


@pytest.mark.parametrize("name", ["SECRET", "REDIS_PASSWORD", "OTEL_EXPORTER_OTLP_HEADERS"])
def test_a_secret_is_no_setting_even_if_the_lists_do_not_name_it(name):
    secrets = {"name": "account-service", "required": ["DATABASE_URI"], "optional": []}
    values = changed({**SETS["minimal"], "secrets": secrets}, ("settings", name), "a=b")
    with pytest.raises(helm.HelmError, match=f"settings.{name} is a secret"):
        texts(values)
