"""doc/architecture.md names every table, and its numbers are the code's."""

import re
from datetime import timedelta
from importlib import import_module

import pytest

from devstack.processes import ROOT
from origin.db.models import Base

_PAGE = (ROOT / "doc/architecture.md").read_text()
_NUMBER = re.compile(r"^\| .+ \| ([\d,]+)([^|]*) \| `([\w.]+):(\w+)` \|$", re.MULTILINE)
_UNITS = {"KiB": 1024, "MiB": 1024 * 1024, "h": 3600, "days": 24 * 3600}


def _section(heading: str) -> str:
    return _PAGE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


def test_the_tables_are_those_of_the_database():
    rows = re.findall(r"^\| (`[\w`, ]+) \|", _section("## Tables"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(Base.metadata.tables)


def test_the_relations_lead_to_tables():
    relations = re.findall(r"^  (\w+) \|\|--\S+ (\w+) :", _section("## Tables"), re.MULTILINE)
    assert len(relations) > 10
    assert {name for pair in relations for name in pair} <= set(Base.metadata.tables)


def test_a_relation_is_a_foreign_key():
    relations = re.findall(r"^  (\w+) \|\|--\S+ (\w+) :", _section("## Tables"), re.MULTILINE)
    for one, many in relations:
        targets = {key.column.table.name for key in Base.metadata.tables[many].foreign_keys}
        assert one in targets, f"{many} has no foreign key to {one}"


@pytest.mark.parametrize(("number", "unit", "module", "name"), _NUMBER.findall(_PAGE))
def test_a_number_is_the_codes(number: str, unit: str, module: str, name: str):
    value = getattr(import_module(module), name)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    factor = _UNITS.get(unit.strip(), 1)
    assert int(number.replace(",", "")) * factor == value


def test_every_number_is_compared():
    rows = re.findall(r"^\| .+ \| `origin\.", _section("## Limits"), re.MULTILINE)
    assert len(rows) == len(_NUMBER.findall(_PAGE)) > 40
