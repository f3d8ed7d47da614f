"""The chart's objects are valid for each Kubernetes version, fit together, and contain what they should."""

import functools
import json
from pathlib import Path

import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator
from rendering import (
    CHART,
    DEFAULTS,
    NAMESPACE,
    RELEASE,
    ROOT,
    SETS,
    changed,
    environment,
    named,
    objects,
    of_kind,
    pods,
    selects,
    texts,
)

# From the oldest version that Chart.yaml allows to the newest one with schemas. They include those that
# the Kubernetes project supports at the end of 2026 (1.35 to 1.37), and the older ones that clouds support.
OLDEST = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"].split(".")[1]
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
KNOWN = {each.name.split("-")[0].removeprefix("v").rpartition(".")[0] for each in SCHEMAS.iterdir()}
VERSIONS = sorted(
    (each for each in KNOWN if int(each[2:]) >= int(OLDEST)), key=lambda x: int(x[2:])
)
MONITORING = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
ALWAYS = {
    "Deployment": 3,
    "Service": 1,
    "Job": 1,
    "HorizontalPodAutoscaler": 2,
    "PodDisruptionBudget": 2,
    # All pods, web, test, and the migration's own.
    "NetworkPolicy": 4,
    # The release's, and the migration's own.
    "ServiceAccount": 2,
    "Pod": 1,
}
KINDS = {
    "minimal": ALWAYS,
    "tls-sentinel": ALWAYS,
    "example": {**ALWAYS, "Ingress": 1, "NetworkPolicy": 5},
    "everything": {
        **ALWAYS,
        "Ingress": 1,
        "NetworkPolicy": 5,
        "ConfigMap": 2,
        **dict.fromkeys(MONITORING, 1),
    },
    "no-ledger": {"Deployment": 3, "Service": 1, "Pod": 1},
}


@pytest.fixture(params=SETS)
def values(request):
    """Return each set of values, one after the other."""
    return SETS[request.param]


def test_newest_and_oldest_version_have_schemas():
    assert VERSIONS[0] == f"1.{OLDEST}"
    assert {"1.35", "1.36", "1.37"} <= set(VERSIONS)


def test_helm_lints_it_strictly(values):
    report = helm.lint(CHART, values, strict=True)
    assert not report["errors"]
    # Severity 1 is advice: a chart may have an icon.
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("name", SETS)
def test_makes_these_objects_and_no_others(name):
    found = objects(SETS[name])
    counts = {kind: len(of_kind(found, kind)) for kind in {each["kind"] for each in found}}
    assert counts == KINDS[name]
    keys = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(values, version):
    for each in objects(values):
        if each["kind"] not in MONITORING:
            _validate(json.dumps(each), version)


@functools.cache
def _validate(text, version):
    """Raise an error for an object that this version of Kubernetes rejects. Sets share many objects."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


def test_names_that_yaml_reads_as_something_else_stay_names():
    values = json.loads(
        json.dumps(SETS["everything"]).replace("accounts.example.com", "*.a.example")
    )
    values |= {"fullnameOverride": "1234", "secrets": {**values["secrets"], "name": "5678"}}
    values["serviceAccount"] = {"name": "1e3"}
    values["tls"] = {
        "database": {"caConfigMap": "123", "clientSecret": "456"},
        "redis": {"enabled": True, "caSecret": "0x1"},
    }
    values["ingress"] |= {"tlsSecret": "789", "className": "null"}
    values["web"] |= {"priorityClassName": "true"}
    rendered = helm.Chart.load(CHART).render(values, name="2026", namespace=NAMESPACE)
    for text in (text for template, text in rendered.items() if template.endswith(".yaml")):
        for each in filter(None, yaml.safe_load_all(text)):
            if each["kind"] not in MONITORING:
                kubernetes_validate.validate(each, VERSIONS[-1], strict=True)


def test_an_unknown_field_would_be_found():
    service = named(objects(SETS["minimal"]), "Service", f"{RELEASE}-web")
    wrong = {**service, "spec": {**service["spec"], "tipe": "ClusterIP"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def _strict(schema):
    """Return a JSON schema that takes no other properties than those that it names."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema else {}
    # Go's regular expressions may have flags anywhere, Python's only at the start.
    pattern = (
        {"pattern": schema["pattern"].replace("^(?i)", "(?i)^")} if "pattern" in schema else {}
    )
    return {**closed, **{key: _strict(value) for key, value in schema.items()}, **pattern}


@functools.cache
def _operators_schema(kind):
    schema = getattr(operator, kind).model_json_schema()
    # Kubernetes' own part.
    schema["properties"]["metadata"] = {"type": "object"}
    return _strict(schema)


def test_the_prometheus_operator_takes_its_objects():
    found = of_kind(objects(SETS["everything"]), *MONITORING)
    for each in found:
        jsonschema.validate(each, _operators_schema(each["kind"]))
    monitor = next(each for each in found if each["kind"] == "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["intervall"] = "30s"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(monitor, _operators_schema("ServiceMonitor"))


def test_settings_have_their_exact_values():
    for name, values in SETS.items():
        settings = {**DEFAULTS["settings"], **values["settings"]}
        expected = {
            key: str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in settings.items()
        }
        for component in ("web", "worker", "beat"):
            env = environment(pods(objects(values))[component])
            given = {key: env[key]["value"] for key in expected}
            assert given == expected, (name, component)


def test_large_and_small_numbers_are_written_as_they_are():
    numbers = {"MAX_BODY_BYTES": 4194304, "LEDGER_POLL_DELAY": 2.5, "REDIS_CACHE_DB": 0}
    values = {**SETS["minimal"], "settings": {**SETS["minimal"]["settings"], **numbers}}
    env = environment(pods(objects(values))["web"])
    assert [env[name]["value"] for name in numbers] == ["4194304", "2.5", "0"]


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("redis.data.svc", "6379"),
        ("rediss://redis.data.svc", "6379"),
        ("rediss://redis.data.svc:6380", None),
        ("rediss://[fd00::1]:6380/", None),
    ],
)
def test_the_port_in_redis_url_is_the_only_one(host, port):
    """The service doesn't start with two different ports, and REDIS_PORT has a default in the chart."""
    env = environment(
        pods(objects(changed(SETS["minimal"], ("settings", "REDIS_HOST"), host)))["web"]
    )
    assert env["REDIS_HOST"]["value"] == host
    assert env.get("REDIS_PORT", {}).get("value") == port


def test_secrets_are_references_to_the_secret(values):
    secrets = {**DEFAULTS["secrets"], **values["secrets"]}
    for component, pod in pods(objects(values)).items():
        if component == "test":
            continue
        names = [*secrets["required"], *secrets["optional"]]
        for name in names if component != "migration" else ["DATABASE_URI"]:
            required = name in secrets["required"]
            env = environment(pod)
            if secrets["asFiles"] and required:
                assert name not in env
                path = f"/etc/account-service/secrets/{name}"
                assert env[f"{name}_FILE"]["value"] == path
                assert path in _files(pod)
            else:
                reference = env[name]["valueFrom"]["secretKeyRef"]
                assert reference == {
                    "name": "account-service",
                    "key": name,
                    "optional": not required,
                }


@pytest.mark.parametrize("as_files", [False, True])
def test_the_databases_uri_may_come_from_another_secret(as_files):
    """As operators of PostgreSQL write it, for example CloudNativePG."""
    reference = {"secretKeyRef": {"name": "accounts-app", "key": "uri"}}
    uri = {"name": "DATABASE_URI", "valueFrom": reference}
    secrets = {"name": "account-service", "required": ["SECRET"], "asFiles": as_files}
    values = {**SETS["minimal"], "secrets": secrets, "pods": {"extraEnv": [uri]}}
    found = pods(objects(values))
    for component in ("web", "worker", "beat", "migration"):
        assert environment(found[component])["DATABASE_URI"] == uri
    # A volume whose list of items is empty would have the whole Secret.
    assert [each["name"] for each in found["migration"]["spec"]["volumes"]] == ["tmp"]
    path = {"/etc/account-service/secrets/SECRET"}
    assert _files(found["web"]) == (path if as_files else set())


def _files(pod):
    """Return the files that the service's container sees in its volumes."""
    component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
    [container] = [each for each in pod["spec"]["containers"] if each["name"] == component]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    found = set()
    for volume in pod["spec"]["volumes"]:
        sources = volume.get("projected", {}).get("sources", [])
        parts = [part for source in sources for part in source.values()]
        for part in [*parts, *([volume["secret"]] if "secret" in volume else [])]:
            for item in part.get("items", []):
                found.add(f"{mounts[volume['name']]}/{item['path']}")
    return found


def test_every_file_that_a_variable_names_is_mounted(values):
    for pod in pods(objects(values)).values():
        named_files = {
            each["value"]
            for each in environment(pod).values()
            if each.get("value", "").startswith("/etc/account-service/")
        }
        assert named_files == _files(pod)


def test_certificates_reach_the_processes_that_use_them():
    found = pods(objects(SETS["tls-sentinel"]))
    database = {"PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"}
    others = {f"REDIS_TLS{each}" for each in ("", "_CA_FILE", "_CERT_FILE", "_KEY_FILE")}
    for component in ("web", "worker", "beat"):
        assert database | others | {"REQUESTS_CA_BUNDLE"} <= set(environment(found[component]))
    assert database <= set(environment(found["migration"]))
    assert not others & set(environment(found["migration"]))


def test_the_migration_gets_what_it_needs_and_no_more():
    env = environment(pods(objects(SETS["minimal"]))["migration"])
    assert set(env) == {"DATABASE_URI"}


def test_ends_meet(values):
    """Each selector finds its pods, each reference its object, each named port its container."""
    found = objects(values)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(found).items()}
    for deployment in of_kind(found, "Deployment"):
        component = deployment["metadata"]["labels"]["app.kubernetes.io/component"]
        assert selects(deployment["spec"]["selector"], labels[component])
    [service] = of_kind(found, "Service")
    selected = [
        name
        for name, each in labels.items()
        if selects({"matchLabels": service["spec"]["selector"]}, each)
    ]
    assert selected == ["web"]
    for each in of_kind(found, "HorizontalPodAutoscaler"):
        assert named(found, "Deployment", each["spec"]["scaleTargetRef"]["name"])
    for each in of_kind(found, "PodDisruptionBudget"):
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        assert [name for name in labels if selects(each["spec"]["selector"], labels[name])] == [
            component
        ]
    for each in of_kind(found, "Ingress"):
        for path in each["spec"]["rules"][0]["http"]["paths"]:
            assert path["backend"]["service"]["name"] == service["metadata"]["name"]
            assert path["pathType"] == "Prefix"
            assert path["path"].split("/")[1] not in {"", "metrics", "health"}


def test_an_upgrade_changes_no_selector():
    """A Deployment's selector can't be changed: these are the ones of the chart 1.0.0."""
    for each in of_kind(objects(SETS["example"]), "Deployment"):
        component = each["metadata"]["name"].removeprefix(f"{RELEASE}-")
        assert each["spec"]["selector"] == {
            "matchLabels": {
                "app.kubernetes.io/name": "account-service",
                "app.kubernetes.io/instance": RELEASE,
                "app.kubernetes.io/component": component,
            }
        }


def test_prometheus_finds_all_three_processes():
    found = objects(SETS["everything"])
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(found).items()}
    [service_monitor] = of_kind(found, "ServiceMonitor")
    [pod_monitor] = of_kind(found, "PodMonitor")
    [service] = of_kind(found, "Service")
    assert selects(service_monitor["spec"]["selector"], service["metadata"]["labels"])
    assert service_monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    selector = pod_monitor["spec"]["selector"]
    assert {name for name in labels if selects(selector, labels[name])} == {"worker", "beat"}
    for monitor in (service_monitor, pod_monitor):
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == RELEASE


def test_the_rules_are_those_of_the_documents():
    text = (ROOT / "doc/operations/prometheus-alerts.yaml").read_text()
    expected = yaml.safe_load(text)["groups"]
    plain = changed(SETS["minimal"], ("monitoring", "prometheusRule", "enabled"), value=True)
    [rule] = of_kind(objects(plain), "PrometheusRule")
    assert rule["spec"]["groups"] == expected
    [rule] = of_kind(objects(SETS["everything"]), "PrometheusRule")
    alerts = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}
    all_alerts = {each["alert"] for group in expected for each in group["rules"]}
    assert all_alerts - set(alerts) == {"AccountServiceSlow"}
    for name, alert in alerts.items():
        assert alert["labels"]["team"] == "energy"
        assert alert["labels"]["severity"]
        base = "https://git.example.com/account-service/doc/operations/runbook.md"
        assert alert["annotations"]["runbook_url"] == f"{base}#{name.lower()}"


def test_the_dashboard_is_that_of_the_documents():
    config = named(objects(SETS["everything"]), "ConfigMap", "accounts-of-all-dashboard")
    text = (ROOT / "doc/operations/grafana-dashboard.json").read_text()
    [(name, data)] = config["data"].items()
    assert name.endswith(".json")
    assert json.loads(data) == json.loads(text)
    # A ConfigMap has room for 1 MiB.
    assert len(data) < 900_000


def test_notes_tell_the_address_and_what_to_check():
    def notes(name):
        return texts(SETS[name])["account-service/templates/NOTES.txt"]

    assert "https://accounts.example.com" in notes("example")
    assert f"helm test {RELEASE} --namespace {NAMESPACE}" in notes("example")
    assert "Please check" not in notes("everything")
    assert "port-forward service/accounts-web" in notes("minimal")
    for warning in ("LEDGER_ENABLED is off", "NodePort publishes", "has one pod", "http://"):
        assert warning in notes("no-ledger")
