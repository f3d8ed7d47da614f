"""doc/operations/variables.md has every variable once, with the default that the code has."""

import re
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from devstack.processes import ROOT
from origin.settings import Settings

_PAGE = (ROOT / "doc/operations/variables.md").read_text()
_OURS, _, _OTHERS = _PAGE.partition("## Variables of other programs")
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)
_ROWS = _ROW.findall(_OURS)
# Settings whose default depends on others, or on there being a ledger.
_WORDED = {
    "KEY_ENCRYPTION_SECRETS": "`SECRET`",
    "LOGIN_RETURN_ORIGINS": "`CORS_ORIGINS`",
    "LEDGER_URL": "required",
    "REDIS_HOST": "required",
    "REDIS_PORT": "required",
}


def _told(default: Any) -> str:
    """Return a default as the page writes it."""
    match default:
        case _ if default is PydanticUndefined:
            return "required"
        case bool():
            return str(int(default))
        case int() | float():
            return f"{default:g}" if default < 1e6 else str(default)
        case str() if default:
            return default
        case _:
            return "none"


def test_it_has_each_variable_once():
    names = [name for name, _ in _ROWS]
    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)


@pytest.mark.parametrize(("name", "default"), _ROWS)
def test_its_default_is_the_codes(name: str, default: str):
    field = Settings.model_fields[name.lower()]
    assert default.strip() == _WORDED.get(name, _told(field.default))


def test_the_entry_points_read_no_other_variable():
    scripts = [*ROOT.glob("entrypoint.*.sh"), ROOT / "bin/service.sh"]
    read = {
        name
        for script in scripts
        for name in re.findall(r"\$\{?([A-Z][A-Z_]+)", script.read_text())
    }
    assert read - {"BASH_SOURCE", "PYTHONPATH"} <= {name for name, _ in _ROWS}


def test_other_programs_variables_are_told_apart():
    assert not {name.upper() for name in Settings.model_fields} & set(_ROW.findall(_OTHERS))
