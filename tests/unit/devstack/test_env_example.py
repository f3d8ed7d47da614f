"""`.env.example` is complete, and good enough to start with."""

from dotenv import dotenv_values

from devstack.processes import ROOT
from origin.settings import EXAMPLE_SECRETS, Settings, load_settings

_EXAMPLE = dotenv_values(ROOT / ".env.example")


def test_every_variable_is_there_and_no_other():
    assert set(_EXAMPLE) == {name.upper() for name in Settings.model_fields}


def test_its_secrets_are_known_for_what_they_are():
    secrets = {_EXAMPLE[name] for name in ("SECRET", "WEBHOOK_SECRET")}
    assert secrets == EXAMPLE_SECRETS


def test_every_variable_is_explained():
    lines = (ROOT / ".env.example").read_text().splitlines()
    explained = False
    bare = []
    for line in lines:
        if line.startswith("#"):
            explained = True
        elif not line:
            explained = False
        elif not explained:
            bare.append(line)
    assert bare == []


def test_the_service_takes_it(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in _EXAMPLE.items():
        monkeypatch.setenv(name, value)
    load_settings(Settings)
