"""The page of the operators' commands has all commands with all options, as they are."""

from devstack.commands_document import with_reference
from devstack.processes import ROOT

PAGE = ROOT / "doc/operations/commands.md"


def test_the_reference_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    hint = "Write it anew: `make commands`"
    assert page == with_reference(page), hint
