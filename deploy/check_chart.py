# ruff: noqa: INP001 (a script that is not imported)
"""Lints and renders the Helm chart, and validates each object. `deploy/check` runs it.

It needs the packages of deploy/requirements.txt. The exit status is 0 only if all checks pass.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml

CHART = Path(__file__).parent / "chart"
# The oldest version that Chart.yaml allows, and the newest one with available schemas.
KUBERNETES = ("1.27", "1.37")
KINDS = {
    "Deployment": 3,
    "Service": 1,
    "Ingress": 1,
    "Job": 1,
    "HorizontalPodAutoscaler": 2,
    "PodDisruptionBudget": 2,
    "NetworkPolicy": 3,
}


def say(line: str) -> None:
    """Write a line."""
    sys.stdout.write(f"  {line}\n")


def fail(line: str) -> None:
    """Exit with a message."""
    sys.exit(f"  ✗ {line}")


def objects(chart: helm.Chart, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Render the chart with these values; each object has its template's name as `template`."""
    rendered = chart.render(values, name="accounts", namespace="production")
    return [
        {**each, "template": template}
        for template, text in rendered.items()
        if template.endswith(".yaml")
        for each in yaml.safe_load_all(text)
        if each
    ]


def validate(found: list[dict[str, Any]]) -> None:
    """Validate each object by Kubernetes' schemas; unknown fields are errors."""
    for version in KUBERNETES:
        for each in found:
            content = {name: value for name, value in each.items() if name != "template"}
            try:
                kubernetes_validate.validate(content, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = "/".join(map(str, error.path))
                fail(f"{each['template']}, Kubernetes {version}: {where}: {error.message}")


def containers(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the containers of all pods by name."""
    templates = [each["spec"]["template"]["spec"] for each in found if "template" in each["spec"]]
    return {each["name"]: each for spec in templates for each in spec["containers"]}


def check_environment(found: list[dict[str, Any]], values: dict[str, Any]) -> None:
    """Check that settings have their exact values, secrets are references, and services have probes."""
    secret = {"SECRET", "DATABASE_URI", "HYDRA_CLIENT_SECRET", "WEBHOOK_SECRET"}
    for name, container in containers(found).items():
        env = {each["name"]: each for each in container["env"]}
        wrong = {each for each in secret & set(env) if "secretKeyRef" not in env[each]["valueFrom"]}
        if name != "migration" and not container.get("livenessProbe"):
            fail(f"{name} has no liveness probe")
        if wrong or "DATABASE_URI" not in env:
            fail(f"{name}: {wrong or 'DATABASE_URI'} isn't taken from the Secret")
        for variable, value in values["settings"].items():
            written = str(value).lower() if isinstance(value, bool) else str(value)
            if name != "migration" and env[variable]["value"] != written:
                fail(f"{name}: {variable} is {env[variable]['value']}, and should be {written}")


def check_published(found: list[dict[str, Any]]) -> None:
    """Check that the ingress leads to the web, and doesn't publish /metrics or /health."""
    [ingress] = [each for each in found if each["kind"] == "Ingress"]
    services = {each["metadata"]["name"] for each in found if each["kind"] == "Service"}
    paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    backends = {path["backend"]["service"]["name"] for path in paths}
    if backends != services or {path["pathType"] for path in paths} != {"Prefix"}:
        fail(f"The ingress leads to {backends}")
    if wrong := {path["path"] for path in paths} & {"/", "/metrics", "/health"}:
        fail(f"The ingress publishes {wrong}")


def check_failures(chart: helm.Chart, values: dict[str, Any]) -> None:
    """Check that rendering fails for missing values, secrets in settings, and published metrics."""
    for section, name, value, message in (
        ("image", "repository", "", "image.repository must be set"),
        ("secrets", "name", "", "secrets.name must be set"),
        ("settings", "LEDGER_URL", "", "settings.LEDGER_URL must be set"),
        ("settings", "SECRET", "a value", "settings.SECRET is a secret"),
        ("settings", "PORT", 80, "settings.PORT is set by the chart"),
        ("ingress", "host", "", "ingress.host must be set"),
        ("ingress", "paths", ["/"], "/ would publish /metrics"),
        ("ingress", "paths", ["/ggo", "/metrics"], "/metrics would publish /metrics"),
    ):
        try:
            objects(chart, {**values, section: {**values[section], name: value}})
        except helm.HelmError as error:
            if message not in str(error):
                fail(f"With {section}.{name}={value!r} it says: {error}")
        else:
            fail(f"It renders with {section}.{name}={value!r}")


def main() -> None:
    """Lint, render and validate the chart."""
    values = yaml.safe_load((CHART / "example.yaml").read_text())
    report = helm.lint(CHART, values, strict=True)
    worse_than_advice = [each for each in report["messages"] if each["severity"] > 1]
    if report["errors"] or worse_than_advice:
        fail(f"helm lint: {report['errors']} {worse_than_advice}")
    say(f"✓ helm lint ({helm.helm_sdk_version()}): deploy/chart")
    with helm.Chart.load(CHART) as chart:
        found = objects(chart, values)
        kinds = Counter(each["kind"] for each in found)
        if kinds != KINDS:
            fail(f"It renders {dict(kinds)}")
        validate(found)
        say(f"✓ {len(found)} objects are valid for Kubernetes {' and '.join(KUBERNETES)}")
        check_environment(found, values)
        say("✓ settings have their exact values, secrets are references")
        check_published(found)
        say("✓ the ingress publishes no metrics")
        check_failures(chart, values)
        say("✓ missing and forbidden values are reported")
        off: dict[str, Any] = {
            "settings": {**values["settings"], "BIND_HOST": "::"},
            "ingress": {"enabled": False},
            "networkPolicy": {"enabled": False},
            "web": {"autoscaling": {"enabled": False}},
            "worker": {"autoscaling": {"enabled": False}},
        }
        image = {**values["image"], "digest": "sha256:0"}
        minimal = objects(chart, {**values, **off, "image": image})
        validate(minimal)
        check_environment(minimal, off)
        say(f"✓ with all options off, {len(minimal)} objects are valid")


main()
