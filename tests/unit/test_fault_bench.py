"""The command line of the long fault bench (doc/faults.md)."""

import re

import pytest

from devstack.processes import ROOT
from tests.faults.long_run import parse_arguments, plan_of
from tests.support.fault_injector import DATABASE_LOSSES


def test_every_documented_option_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    documented = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "doc/faults.md").read_text()))
    assert documented <= known


def test_the_database_goes_back_in_time_in_every_third_round() -> None:
    arguments = parse_arguments([])
    losses = [plan_of(arguments, seed).database_loss for seed in range(1, 7)]
    assert [loss in DATABASE_LOSSES for loss in losses] == [False, False, True] * 2
    assert plan_of(parse_arguments(["--loss-every", "0"]), 3).database_loss is None
