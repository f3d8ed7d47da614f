"""compose.yaml, the Helm chart and the image agree with the service's settings and files."""

import fnmatch
import json
import os
import re
import shlex

import pytest
import yaml
from dotenv import dotenv_values
from pydantic import SecretStr

from devstack.processes import ROOT
from origin.settings import Settings, load_settings

_FIELDS = {name.upper(): each for name, each in Settings.model_fields.items()}
_REQUIRED = {name for name, field in _FIELDS.items() if field.is_required()}
_SECRET = {
    name for name, field in _FIELDS.items() if field.annotation in (SecretStr, list[SecretStr])
}
_KNOWN = set(dotenv_values(ROOT / ".env.example"))
_SERVICES = ("web", "worker", "beat")


def _text(path):
    return (ROOT / path).read_text()


def _read(path):
    return yaml.safe_load(_text(path))


@pytest.fixture
def takes(monkeypatch):
    """Return a function that loads settings from exactly these variables."""

    def load(variables):
        for name in _FIELDS:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return load_settings(Settings)

    return load


@pytest.mark.parametrize("name", _SERVICES)
def test_compose_gives_each_service_what_it_needs(takes, name):
    service = _read("compose.yaml")["services"][name]
    environment = {**dotenv_values(ROOT / service["env_file"]), **service["environment"]}
    assert set(environment) == _KNOWN
    settings = takes(environment)
    assert settings.database_url.host == "postgres"
    assert settings.redis_host == "redis"


def test_compose_starts_peers_where_the_environment_expects_them():
    sandbox = _read("compose.yaml")["services"]["sandbox"]
    ports = {int(each.rpartition("=")[2]) for each in sandbox["command"] if "-port=" in each}
    variables = ("HYDRA_URL", "DATAHUB_SERVICE_URL", "ENERGY_TYPE_SERVICE_URL", "LEDGER_URL")
    expected = {
        int(dotenv_values(ROOT / ".env.example")[each].rpartition(":")[2]) for each in variables
    }
    assert expected < ports


def test_the_chart_names_every_required_variable_and_keeps_secrets_apart():
    values = _read("deploy/chart/values.yaml")
    example = _read("deploy/chart/example.yaml")
    settings = set(values["settings"]) | set(example["settings"])
    secrets = values["secrets"]
    assert set(values["settings"]) | set(secrets["required"]) >= _REQUIRED
    assert settings <= _KNOWN - _SECRET
    assert {*secrets["required"], *secrets["optional"]} == _SECRET
    assert set(secrets["required"]) == _SECRET & _REQUIRED


@pytest.mark.parametrize(
    "path",
    ["deploy/chart/example.yaml", *sorted(map(str, (ROOT / "deploy/chart/ci").glob("*.yaml")))],
)
def test_the_service_takes_the_charts_values(takes, path):
    values, given = _read("deploy/chart/values.yaml"), _read(path)
    settings = {**values["settings"], **given["settings"]}
    secrets = {**values["secrets"], **given["secrets"]}["required"]
    taken = takes(
        {
            **{
                name: str(each).lower() if each in (True, False) else each
                for name, each in settings.items()
            },
            **dict.fromkeys(secrets, "a-secret"),
            "DATABASE_URI": "postgresql://me:secret@postgres/origin",
        }
    )
    assert taken.project_url == settings["PROJECT_URL"]
    assert taken.ledger_enabled is (settings.get("LEDGER_ENABLED") != 0)
    assert bool(taken.redis_sentinels) is ("REDIS_SENTINELS" in settings)


def _published(paths, path):
    """Return whether an ingress with these prefixes publishes a path."""
    return any(path == each or path.startswith(f"{each}/") for each in paths)


def test_the_chart_publishes_all_paths_but_the_internal_ones():
    ingress = _read("deploy/chart/values.yaml")["ingress"]
    assert "paths" not in _read("deploy/chart/example.yaml")["ingress"]
    answered = json.loads((ROOT / "doc/openapi.json").read_text())["paths"]
    inside = {path for path in answered if not _published(ingress["paths"], path)}
    assert inside == {"/metrics", "/health/live", "/health/ready", "/health/work"}
    for path in ingress["paths"]:
        assert any(_published([path], each) for each in answered), f"{path} matches no path"


def test_the_chart_probes_what_the_web_answers():
    web = (ROOT / "deploy/chart/templates/web.yaml").read_text()
    probed = re.findall(r"(\w+Probe):\n +httpGet: {path: (\S+), port: http}", web)
    assert probed == [
        ("startupProbe", "/health/live"),
        ("livenessProbe", "/health/live"),
        ("readinessProbe", "/health/ready"),
    ]


def _allowed():
    """Return the patterns that .dockerignore allows; it excludes everything else."""
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    return [line[1:] for line in lines if line.startswith("!")]


def test_the_build_sees_what_it_copies_and_nothing_else():
    allowed = _allowed()
    copied = {
        source
        for line in re.findall(
            r"^COPY (?!--from)(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
        )
        for source in shlex.split(line)[:-1]
    }
    matched = {each: fnmatch.filter(copied, each) for each in allowed}
    assert all(matched.values()), "each is used"
    assert {each for found in matched.values() for each in found} == copied, "each is allowed"
    for secret in (".env", ".git", ".venv", "tests", "src/devstack", "src/sandbox", "deploy"):
        assert not any(fnmatch.fnmatch(secret, each) or each.startswith(secret) for each in allowed)


@pytest.mark.parametrize(
    "path", [*(f"entrypoint.{name}.sh" for name in _SERVICES), "bin/bootstrap", "deploy/check"]
)
def test_can_be_run(path):
    assert os.access(ROOT / path, os.X_OK)
    assert (ROOT / path).read_text().startswith("#!/usr/bin/env bash\n")
