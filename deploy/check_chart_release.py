"""What a release does: hooks, updates without a failed request, `helm test`, restarts after a changed Secret."""

import http.server
import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import ClassVar

import helm_python as helm
import pytest
from fake_api import Cluster, served
from rendering import (
    CHART,
    DEFAULTS,
    NAMESPACE,
    RELEASE,
    ROOT,
    SETS,
    VERSION,
    changed,
    environment,
    objects,
    of_kind,
    pods,
)

HOOK = "helm.sh/hook"


def _annotation(each, name, default=""):
    return each["metadata"].get("annotations", {}).get(name, default)


def _hooks(found, event):
    """Return the hooks of an event, in Helm's order."""
    mine = [each for each in found if event in _annotation(each, HOOK).split(",")]
    return sorted(mine, key=lambda each: int(_annotation(each, "helm.sh/hook-weight", "0")))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("event", ["pre-install", "pre-upgrade"])
def test_what_the_migration_needs_is_there_before_it(name, event):
    """Before an install, there is nothing but earlier hooks and what the operator has created."""
    found = objects(SETS[name])
    there = set()
    for each in _hooks(found, event):
        if each["kind"] == "Job":
            spec = each["spec"]["template"]["spec"]
            account = spec["serviceAccountName"]
            assert account == "default" or ("ServiceAccount", account) in there
            if of_kind(found, "NetworkPolicy"):
                assert ("NetworkPolicy", each["metadata"]["name"]) in there
            made_here = {
                ("ConfigMap", each["metadata"]["name"]) for each in of_kind(found, "ConfigMap")
            }
            assert not {("ConfigMap", name) for name in _config_maps(spec)} & made_here
        there.add((each["kind"], each["metadata"]["name"]))
    jobs = [kind for kind, _ in there if kind == "Job"]
    assert len(jobs) == (0 if name == "no-ledger" else 1)


def _config_maps(spec):
    for container in spec["containers"]:
        for each in container.get("envFrom", ()):
            yield each.get("configMapRef", {}).get("name")
    for volume in spec["volumes"]:
        yield volume.get("configMap", {}).get("name")
        for source in volume.get("projected", {}).get("sources", ()):
            yield source.get("configMap", {}).get("name")


def test_hooks_go_when_they_are_done_and_a_failed_one_stays_to_be_read():
    for each in _hooks(objects(SETS["everything"]), "pre-upgrade"):
        policies = _annotation(each, "helm.sh/hook-delete-policy").split(",")
        assert policies == ["before-hook-creation", "hook-succeeded"]


def test_a_rolling_update_fails_no_request():
    graceful = re.search(
        r"^graceful_timeout = (\d+)$",
        (ROOT / "src/origin/web/gunicorn/conf.py").read_text(),
        re.MULTILINE,
    )
    for values in SETS.values():
        found = objects(values)
        [web] = [
            each
            for each in of_kind(found, "Deployment")
            if each["metadata"]["name"].endswith("-web")
        ]
        spec = web["spec"]["template"]["spec"]
        [container] = [each for each in spec["containers"] if each["name"] == "web"]
        assert web["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        drain = int(environment(web["spec"]["template"])["DRAIN_SECONDS"]["value"])
        assert spec["terminationGracePeriodSeconds"] > drain + int(graceful[1])
    assert DEFAULTS["web"]["drainSeconds"] >= 5
    # The shortest time that the chart accepts is the shortest that is enough.
    path = ("web", "terminationGracePeriodSeconds")
    enough = DEFAULTS["web"]["drainSeconds"] + int(graceful[1]) + 1
    assert objects(changed(SETS["minimal"], path, enough))
    with pytest.raises(helm.HelmError, match="terminationGracePeriodSeconds"):
        objects(changed(SETS["minimal"], path, enough - 1))


def test_worker_and_beat_are_not_probed_through_redis():
    for component in ("worker", "beat"):
        container = pods(objects(SETS["minimal"]))[component]["spec"]["containers"][0]
        assert container["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}
        assert "readinessProbe" not in container


class _Web(http.server.BaseHTTPRequestHandler):
    """Answers as a web whose answers the test chooses."""

    answers: ClassVar = {}

    def do_GET(self):
        status, body = self.answers[self.path]
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_args):
        """Write nothing."""


@contextmanager
def _served(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


WELL = {
    "/health/live": (200, {"status": "ok", "version": VERSION}),
    "/health/ready": (200, {"status": "ok"}),
    "/health/work": (200, {"status": "ok"}),
}


@pytest.mark.parametrize(
    ("name", "answers", "wrong"),
    [
        ("minimal", {}, None),
        ("minimal", {"/health/ready": (503, {})}, "/health/ready answers 503"),
        ("minimal", {"/health/work": (503, {})}, "/health/work answers 503"),
        (
            "minimal",
            {"/health/live": (200, {"version": "0.9.0"})},
            f"version 0.9.0 runs, not {VERSION}",
        ),
        # With an image of its own, the chart knows no version.
        ("everything", {"/health/live": (200, {"version": "0.9.0"})}, None),
    ],
)
def test_helm_test_reads_health_and_version(name, answers, wrong):
    """Run the command of the test's pod, against a web with these answers."""
    [container] = pods(objects(SETS[name]))["test"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    [service] = of_kind(objects(SETS[name]), "Service")
    assert (
        env["WEB_URL"]
        == f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    )
    handler = type("Handler", (_Web,), {"answers": {**WELL, **answers}})
    with _served(handler) as port:
        env |= {"WEB_URL": f"http://127.0.0.1:{port}", "WAIT_SECONDS": "0.1"}
        command = [sys.executable, *container["command"][1:]]
        result = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=60, check=False
        )
    assert result.returncode == (1 if wrong else 0), result.stderr
    assert (wrong or "") in result.stderr
    assert "/health/live 200" in result.stdout


def _secret(cluster, value="1"):
    """Create or change the Secret that the operator owns."""
    cluster.put("change", "secrets", "account-service", {**SECRET, "data": {"SECRET": value}})
    cluster.calls.clear()


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "account-service"}}


@pytest.fixture
def cluster():
    """Return a cluster with the operator's Secret (fake_api.py)."""
    result = Cluster()
    _secret(result)
    return result


@pytest.fixture
def config(cluster):
    """Return Helm's connection to the cluster; it keeps releases in memory."""
    with (
        served(cluster) as kubeconfig,
        helm.Config(
            kubeconfig_content=kubeconfig, namespace=NAMESPACE, storage_driver="memory"
        ) as result,
    ):
        yield result


def _index(cluster, verb, plural, name):
    return cluster.calls.index((verb, plural, name))


def test_helm_migrates_before_it_creates_a_pod_and_clears_up(cluster, config):
    config.install(CHART, RELEASE, SETS["minimal"], namespace=NAMESPACE, timeout=60)
    job = _index(cluster, "create", "jobs", f"{RELEASE}-migration")
    for plural in ("networkpolicies", "serviceaccounts"):
        assert _index(cluster, "create", plural, f"{RELEASE}-migration") < job
        assert (plural, f"{RELEASE}-migration") not in cluster.objects
    for component in ("web", "worker", "beat"):
        assert job < _index(cluster, "create", "deployments", f"{RELEASE}-{component}")
    config.test(RELEASE, timeout=60)
    assert ("create", "pods", f"{RELEASE}-test") in cluster.calls
    config.uninstall(RELEASE)
    assert set(cluster.objects) <= {("secrets", "account-service"), ("pods", f"{RELEASE}-test")}


def test_a_failed_migration_stops_an_upgrade_before_any_pod(cluster, config):
    config.install(CHART, RELEASE, SETS["minimal"], namespace=NAMESPACE, timeout=60)
    cluster.calls.clear()
    cluster.job_succeeds = False
    values = changed(SETS["minimal"], ("image", "tag"), "2.0.0")
    with pytest.raises(helm.HelmError, match="pre-upgrade"):
        config.upgrade(CHART, RELEASE, values, timeout=60)
    assert not [call for call in cluster.calls if call[1] == "deployments"]
    assert ("jobs", f"{RELEASE}-migration") in cluster.objects, "its log can be read"
    cluster.job_succeeds = True
    config.upgrade(CHART, RELEASE, values, timeout=60)
    web = cluster.objects["deployments", f"{RELEASE}-web"]
    assert web["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":2.0.0")
    config.rollback(RELEASE, version=1, timeout=60)
    web = cluster.objects["deployments", f"{RELEASE}-web"]
    assert web["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":{VERSION}")


def test_an_upgrade_restarts_the_pods_if_the_secret_has_changed(cluster, config):
    def pods_of(component):
        return cluster.objects["deployments", f"{RELEASE}-{component}"]["spec"]["template"]

    config.install(CHART, RELEASE, SETS["minimal"], namespace=NAMESPACE, timeout=60)
    before = {name: pods_of(name) for name in ("web", "worker", "beat")}
    config.upgrade(CHART, RELEASE, SETS["minimal"], timeout=60)
    assert {name: pods_of(name) for name in before} == before
    _secret(cluster, "2")
    off = changed(SETS["minimal"], ("secrets", "restartOnChange"), value=False)
    config.upgrade(CHART, RELEASE, SETS["minimal"], timeout=60)
    after = {name: pods_of(name) for name in before}
    assert [name for name, pod in after.items() if pod == before[name]] == []
    config.upgrade(CHART, RELEASE, off, timeout=60)
    assert "checksum/secrets" not in pods_of("web")["metadata"].get("annotations", {})
