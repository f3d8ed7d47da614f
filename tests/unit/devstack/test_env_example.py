"""`.env.example` has and explains all variables, and the service accepts it."""

from dotenv import dotenv_values

from devstack.processes import ROOT
from origin.settings import EXAMPLE_SECRETS, Settings, load_settings

_EXAMPLE = dotenv_values(ROOT / ".env.example")


def test_it_has_exactly_the_services_variables():
    assert set(_EXAMPLE) == {name.upper() for name in Settings.model_fields}


def test_its_secrets_are_known_to_be_public():
    secrets = {_EXAMPLE[name] for name in ("SECRET", "WEBHOOK_SECRET")}
    assert secrets == EXAMPLE_SECRETS


def test_every_variable_is_explained():
    lines = (ROOT / ".env.example").read_text().splitlines()
    explained = False
    unexplained = []
    for line in lines:
        if line.startswith("#"):
            explained = True
        elif not line:
            explained = False
        elif not explained:
            unexplained.append(line)
    assert unexplained == []


def test_the_service_accepts_it(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in _EXAMPLE.items():
        monkeypatch.setenv(name, value)
    load_settings(Settings)
