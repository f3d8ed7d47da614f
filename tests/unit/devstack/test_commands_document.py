"""The page of the operators' commands has all commands with all options, and all checks."""

import re

import pytest

from devstack.commands_document import with_reference
from devstack.openapi_document import SETTINGS
from devstack.processes import ROOT
from origin.runtime import build_runtime
from origin.settings import Settings
from tests.support.world import CountingWakeups

PAGE = ROOT / "doc/operations/commands.md"


def test_the_reference_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    hint = "Write it anew: `make commands`"
    assert page == with_reference(page), hint


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ledger_enabled": "0"},
        {"redis_tls": "1"},
        {"redis_sentinels": "127.0.0.1:1", "redis_sentinel_master": "accounts"},
    ],
    ids=str,
)
def test_the_page_explains_each_check(changes: dict[str, str]):
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("| checks |")[2].partition("\n\n")[0]
    explained = set(re.findall(r"`([a-z ]+)`", table))
    runtime = build_runtime(Settings.of({**SETTINGS, **changes}), CountingWakeups())
    assert {each.name for each in runtime.doctor.checks} <= explained
