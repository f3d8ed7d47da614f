"""The restore drill: a backup, more trade, a restore, and a recovery of what the database lost."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from origin.recovery.queries import restoring
from tests.support.drill import Drill, composed, one, stored
from tests.support.market import BOBS_CONSUMPTION, CONSUMPTION, OTHER_CONSUMPTION, Market
from tests.support.world import at_once

NEW_PRODUCTION, NEW_CONSUMPTION = "571313180400000111", "571313180400000128"
_CODES = {"technologyCode": "T020001", "fuelCode": "F01050100"}


def trade_before(market: Market) -> dict[str, str]:
    """Trade before the backup; return GGO addresses by their later use."""
    issued = {
        name: market.issue(amount, begin=market.hour(hour))
        for hour, (name, amount) in enumerate(
            {"first": 1000, "sent": 500, "whole": 300, "parts": 400, "under way": 60}.items()
        )
    }
    for hour in range(12):
        market.consume(amount=5000, begin=market.hour(hour))
    composed(market, issued["first"], transfers=[(100, "bob")])
    answer = market.compose(issued["under way"], transfers=[(25, "bob")])
    assert answer.status_code == 200
    return issued


def trade_after(market: Market, issued: dict[str, str]) -> None:
    """Trade after the backup."""
    market.settle()
    composed(market, issued["sent"], transfers=[(200, "bob")])
    composed(market, issued["whole"], retires=[(300, CONSUMPTION)])
    # Composes that failed leave gaps in the key indexes.
    market.rows("UPDATE users SET next_trade_index = next_trade_index + 3000")
    composed(market, issued["parts"], transfers=[(50, "bob")], retires=[(150, CONSUMPTION)])
    composed(market, one(market, "bob", 100), transfers=[(40, "bob")], subject="bob")
    composed(market, one(market, "bob", 200), transfers=[(80, "alice")], subject="bob")
    composed(market, one(market, "alice", 80), transfers=[(30, "carol")])
    composed(market, one(market, "alice", 50), retires=[(50, CONSUMPTION)])
    _add_points_and_issue(market)


def _add_points_and_issue(market: Market) -> None:
    """Add metering points and GGOs after the backup."""
    late = market.issue(700, begin=market.hour(6))
    composed(market, late, transfers=[(100, "carol")])
    datahub = market.sandbox.datahub
    for gsrn, kind in ((NEW_CONSUMPTION, "consumption"), (NEW_PRODUCTION, "production")):
        datahub.add_meteringpoint("alice", gsrn, kind, webhooks="none")
        assert market.point("alice", gsrn, type=kind).json == {"success": True}
    while market.run_jobs():
        pass
    market.consume(NEW_CONSUMPTION, 90, begin=market.hour(7))
    ggo = datahub.issue(NEW_PRODUCTION, market.hour(7), 250, webhooks="none", **_CODES)
    assert market.webhook("on-ggo-issued", {"sub": "alice", "ggo": ggo}).json == {"success": True}
    composed(market, str(ggo["address"]), transfers=[(10, "bob")], retires=[(90, NEW_CONSUMPTION)])


def trade_on(market: Market) -> None:
    """Let all users compose, and complete all of it."""
    before = len(market.batches())
    for subject, other in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")):
        for ggo in stored(market, subject)[:3]:
            if ggo["amount"] > 1:
                composed(market, ggo["address"], transfers=[(1, other)], subject=subject)
    new = market.batches()[before:]
    assert len(new) >= 6
    assert {state for state, _ in new} == {"COMPLETED"}


def test_without_a_recovery_composes_are_declined(drill: Drill):
    """Why recovery is needed: key indexes are handed out again, and the ledger refuses the batches."""
    market = drill.market
    issued = trade_before(market)
    drill.backup()
    trade_after(market, issued)
    drill.restore()
    market.settle()
    answer = market.compose(one(market, "alice", 900), transfers=[(1, "bob")])
    assert answer.status_code == 200
    market.settle()
    assert [state for state, _ in market.batches()][-1] == "DECLINED"
    assert drill.audit() != []


def test_what_was_lost_is_restored(drill: Drill, tmp_path: Path):
    market = drill.market
    issued = trade_before(market)
    drill.backup()
    trade_after(market, issued)
    assert drill.audit() == []
    lost, points = drill.standing(), drill.points()
    drill.restore(recovery_mode=True)
    assert drill.audit() != []

    before = drill.tables()
    report = tmp_path / "report.json"
    dry = drill.recover("--dry-run", "--json", str(report))
    assert dry.exit_code == 1, dry.output
    assert drill.tables() == before
    planned = json.loads(report.read_text())
    assert planned["dry_run"]
    assert planned["complete"]
    assert {point["gsrn"] for point in planned["points"]} == {NEW_CONSUMPTION, NEW_PRODUCTION}
    assert planned["counts"]["issued"] == 2
    assert planned["unmatched"] == planned["differing"] == planned["not_asked"] == []

    done = drill.recover("--json", str(report))
    assert done.exit_code == 0, done.output
    assert drill.audit() == []
    assert drill.standing() == lost
    assert drill.points() == points
    counts = json.loads(report.read_text())["counts"]
    assert planned["counts"]["mended"] == counts["mended"] + counts["completed"]

    again = drill.recover("--json", str(report))
    assert again.exit_code == 0, again.output
    counts = json.loads(report.read_text())["counts"]
    assert not any(counts.get(kind) for kind in ("points", "issued", "mended", "completed"))
    assert drill.standing() == lost

    drill.restart(recovery_mode=False)
    while market.run_jobs():
        pass
    trade_on(market)
    assert drill.audit() == []
    [margin] = {row[0] >= 100_000 for row in market.rows("SELECT next_trade_index FROM users")}
    assert margin


def test_a_recovery_may_be_killed_at_any_source(drill: Drill, monkeypatch: pytest.MonkeyPatch):
    """Each run is killed after the first GGO that it restores; the next run continues."""
    market = drill.market
    issued = trade_before(market)
    drill.backup()
    trade_after(market, issued)
    lost = drill.standing()
    drill.restore(recovery_mode=True)
    restore = restoring.restore
    restored: list[object] = []

    def killed(*arguments: Any) -> restoring.Outcome:
        if restored:
            raise KeyboardInterrupt
        outcome = restore(*arguments)
        if outcome is not restoring.Outcome.NOTHING:
            restored.append(outcome)
        return outcome

    monkeypatch.setattr(restoring, "restore", killed)
    assert drill.recover("--margin", "10").exit_code == 2
    runs = 1
    # The issued GGOs are restored by now: asking for all of them each time takes long.
    again = ("--margin", "10", "--since", "2026-11-01")
    restored.clear()
    while (done := drill.recover(*again)).exit_code == 2:
        assert restored
        restored.clear()
        runs += 1
    assert done.exit_code == 0, done.output
    assert runs > 6
    assert drill.standing() == lost
    assert drill.audit() == []
    drill.restart(recovery_mode=False)
    trade_on(market)
    assert drill.audit() == []


@pytest.mark.parametrize("seed", [1, 2])
def test_random_trade_is_restored(drill: Drill, seed: int):
    """All users compose at random; some batches are under way when the backup is taken."""
    market, dice = drill.market, random.Random(seed)
    gsrns = {"alice": (CONSUMPTION, OTHER_CONSUMPTION), "bob": (BOBS_CONSUMPTION,), "carol": ()}
    for hour in range(4):
        market.issue(dice.randint(300, 3000), begin=market.hour(hour))
        for gsrn in (CONSUMPTION, OTHER_CONSUMPTION, BOBS_CONSUMPTION):
            market.consume(gsrn, 100_000, begin=market.hour(hour))

    def compose_round() -> None:
        for subject in market.tokens:
            ggos = [ggo for ggo in stored(market, subject) if ggo["amount"] > 20]
            for ggo in dice.sample(ggos, min(3, len(ggos))):
                sizes = [dice.randint(1, ggo["amount"] // 5) for _ in range(4)]
                transfers = [(size, dice.choice(list(market.tokens))) for size in sizes[:2]]
                retires = [
                    (size, gsrn) for size, gsrn in zip(sizes[2:], gsrns[subject], strict=False)
                ]
                if retires and dice.random() < 0.2:
                    transfers, retires = [], [(ggo["amount"], retires[0][1])]
                answer = market.compose(
                    ggo["address"], transfers=transfers, retires=retires, subject=subject
                )
                assert answer.status_code == 200, answer.text

    for _ in range(2):
        compose_round()
        market.settle()
    compose_round()
    drill.backup()
    market.settle()
    for _ in range(3):
        compose_round()
        market.settle()
    lost = drill.standing()
    drill.restore(recovery_mode=True)
    done = drill.recover()
    assert done.exit_code == 0, done.output
    assert drill.standing() == lost
    assert drill.audit() == []


def test_an_earlier_recovery_may_be_lost_with_the_database(drill: Drill):
    """The same backup is restored twice: the search goes beyond the first recovery's moved counters."""
    market = drill.market
    issued = trade_before(market)
    drill.backup()
    trade_after(market, issued)
    drill.restore()
    for _ in range(2):
        assert drill.recover("--margin", "20000").exit_code == 0
    while market.run_jobs():
        pass
    trade_on(market)
    lost, points = drill.standing(), drill.points()
    drill.restore()
    done = drill.recover("--margin", "20000")
    assert done.exit_code == 0, done.output
    assert drill.standing() == lost
    assert drill.points() == points
    assert drill.audit() == []


def test_recovery_beside_reconciliation_and_workers(drill: Drill):
    """RECOVERY_MODE is not set: workers run batches and a reconciliation runs at the same time."""
    market = drill.market
    issued = trade_before(market)
    drill.backup()
    trade_after(market, issued)
    lost = drill.standing()
    drill.restore()

    def compare() -> None:
        for _ in range(3):
            list(market.runtime.reconciliation.run(anew=True, calls_per_second=10_000))

    def settle() -> None:
        for _ in range(5):
            market.run_batches()

    done, *_ = at_once(drill.recover, compare, settle)
    assert done.exit_code in {0, 1}, done.output
    again = drill.recover()
    assert again.exit_code == 0, again.output
    assert drill.standing() == lost
    assert drill.audit() == []
    list(market.runtime.reconciliation.run(anew=True, calls_per_second=10_000))
    assert market.runtime.reconciliation.open_differences() == []
