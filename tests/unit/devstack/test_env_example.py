"""`.env.example` is complete, and good enough to start with."""

from dataclasses import fields

from dotenv import dotenv_values

from devstack.processes import ROOT
from origin.settings import Settings, load_settings

_EXAMPLE = dotenv_values(ROOT / ".env.example")
# Read by the entry points alone.
_OF_THE_ENTRY_POINTS = {"PORT"}


def test_every_variable_is_there_and_no_other():
    expected = {each.name.upper() for each in fields(Settings)} | _OF_THE_ENTRY_POINTS
    assert set(_EXAMPLE) == expected


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
    for each in fields(Settings):
        monkeypatch.delenv(each.name.upper(), raising=False)
    for name, value in _EXAMPLE.items():
        monkeypatch.setenv(name, value)
    load_settings(Settings)
