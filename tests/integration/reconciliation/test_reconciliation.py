"""Reconciliation finds each way in which the database and the ledger may differ."""

import json
from collections.abc import Callable  # noqa: TC003 - as everywhere
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import ProgrammingError

from origin.batches.client.sdk import Split, sign_batch
from origin.batches.queries.outcomes import decline_batch
from origin.batches.rules.ledger_state import LedgerGgo
from origin.errors import PeerUnavailable
from origin.keys.derivation import AddressKind, ExtendedKey, period_key
from origin.reconciliation import queries
from origin.reconciliation.service import comparison, reconcile
from tests.support.auditor import audit, read_books, read_ledger
from tests.support.market import CONSUMPTION, OTHER_CONSUMPTION, PRODUCTION, Market
from tests.support.world import ggo_of


def traded(market: Market) -> str:
    """1000 Wh, split into 100 for Bob, 850 kept and 50 retired; 70 retired whole to the same.

    And 500 Wh that nobody touched, whose address is returned.
    """
    market.consume(amount=1000)
    market.consume(gsrn=OTHER_CONSUMPTION, amount=1000)
    split = market.issue(1000)
    assert (
        market.compose(split, transfers=[(100, "bob")], retires=[(50, CONSUMPTION)]).status_code
        == 200
    )
    market.settle()
    [received] = market.listed("bob")
    market.compose(received["address"], transfers=[(70, "alice")], subject="bob")
    market.settle()
    [whole] = [ggo for ggo in market.listed("alice") if ggo["amount"] == 70]
    market.compose(whole["address"], retires=[(70, CONSUMPTION)])
    market.settle()
    return market.issue(500, begin=market.hour(1))


def reconciled(market: Market) -> list[tuple[str, int]]:
    """Reconcile everything; return kind and Wh of each difference."""
    for progress in market.runtime.reconciliation.run(anew=True, calls_per_second=10_000):
        assert progress.done <= progress.total
    return sorted(
        (each.kind, market.rows("SELECT amount FROM ggos WHERE id = :i", i=each.ggo_id)[0][0])
        for each in market.runtime.reconciliation.open_differences()
    )


_UNTOUCHED = "WHERE amount = 500"
_CORRUPTIONS: dict[str, tuple[str, list[tuple[str, int]]]] = {
    "another amount": (f"SET amount = 499 {_UNTOUCHED}", [("wrong_amount", 499)]),
    "another sector": (f"SET sector = 'DK2' {_UNTOUCHED}", [("wrong_facts", 500)]),
    "another technology": (
        f"SET technology_code = 'T070000' {_UNTOUCHED}",
        [("wrong_facts", 500)],
    ),
    "another owner": (
        (
            "SET owner_id = (SELECT owner_id FROM ggos WHERE amount = 500), key_index = 77 "
            "WHERE amount = 30"
        ),
        [("wrong_owner", 30)],
    ),
    "retired here alone": (
        (
            "SET stored = false, retired = true, retire_gsrn = '5713131', retire_address = "
            "(SELECT min(retire_address) FROM ggos) WHERE amount = 500"
        ),
        [("unspent_there", 500)],
    ),
    "stored here alone": (
        (
            "SET stored = true, retired = false, retire_gsrn = NULL, retire_address = NULL "
            "WHERE amount = 70"
        ),
        [("spent_there", 70), ("wrong_settlement", 50)],
    ),
    "spent here alone": (
        f"SET stored = false {_UNTOUCHED}",
        [("missing_remainder", 500), ("unspent_there", 500)],
    ),
    "locked for ever": (f"SET locked = true {_UNTOUCHED}", [("stranded", 500)]),
    "of another parent": (
        (
            "SET parent_id = (SELECT id FROM ggos WHERE amount = 500), split_position = 9 "
            "WHERE amount = 100"
        ),
        [
            ("missing_remainder", 1000),
            ("not_here", 1000),
            ("wrong_origin", 100),
        ],
    ),
    "an address of nobody": (
        "SET address = left(address, 60) || 'aaaaaaaaaa' " + _UNTOUCHED,
        [("not_on_ledger", 500), ("wrong_owner", 500)],
    ),
}


def test_each_corruption_of_the_database_is_found(market: Market):
    """One corruption at a time is found, and none after it is repaired."""
    traded(market)
    assert reconciled(market) == []
    for name, (change, expected) in _CORRUPTIONS.items():
        market.rows("CREATE TABLE before AS SELECT * FROM ggos")
        market.rows(f"UPDATE ggos {change}")
        assert reconciled(market) == expected, name
        _restore(market)
        assert reconciled(market) == [], name
    assert market.value("SELECT count(*) FROM ledger_walks WHERE finished_at IS NULL") == 0


def _restore(market: Market) -> None:
    changed = (
        "owner_id, address, amount, sector, technology_code, parent_id, split_position, "
        "key_index, stored, retired, locked, retire_gsrn, retire_address"
    )
    market.rows(
        f"UPDATE ggos SET ({changed}) = (SELECT {changed} FROM before WHERE before.id = ggos.id)"  # noqa: S608 - ours
    )
    market.rows("DROP TABLE before")


def test_a_remainder_that_the_database_lost_is_found(market: Market):
    traded(market)
    market.rows("DELETE FROM ggos WHERE amount = 850")
    assert reconciled(market) == [("missing_remainder", 1000), ("not_here", 1000)]


def test_what_the_ledger_lacks_or_has_otherwise_is_found(market: Market):
    """Spent by another operation; never issued; a record that is not a GGO."""
    untouched = traded(market)
    point = ExtendedKey.from_base58(market.sandbox.datahub.keys(PRODUCTION)[PRODUCTION])
    key, target = period_key(point, market.hour(1)), point.child(7).address(AddressKind.GGO)
    assert key.address(AddressKind.GGO) == untouched
    market.runtime.ledger.post(sign_batch(key, Split(key, [(target, 500)]), []).batch_list)
    market.sandbox.ledger.batches(count=4, wait=10)
    begin = market.hour(2)
    never = ggo_of(
        PRODUCTION,
        address=period_key(point, begin).address(AddressKind.GGO),
        begin=begin.isoformat(),
        end=market.hour(3).isoformat(),
        amount=8,
    )
    assert market.webhook("on-ggo-issued", {"sub": "alice", "ggo": never}).status_code == 200
    assert reconciled(market) == [("not_on_ledger", 8), ("spent_there", 500)]
    market.sandbox.ledger.fault(f"/state/{untouched}", status=200, body={"data": "bm8="}, times=9)
    assert reconciled(market) == [("not_on_ledger", 8), ("unreadable", 500)]
    assert market.runtime.repairs.repair_all() == 0


def test_ggos_under_way_or_changed_meanwhile_are_no_differences(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    untouched = traded(market)
    ask = market.runtime.ledger.read_ggo

    def composed_meanwhile(address: str) -> LedgerGgo | None:
        if address == untouched and not market.rows("SELECT 1 FROM ggos WHERE amount = 499"):
            market.compose(address, transfers=[(1, "bob")])
            market.settle()
        return ask(address)

    with monkeypatch.context() as patch:
        patch.setattr(market.runtime.ledger, "read_ggo", composed_meanwhile)
        assert reconciled(market) == []
    [received] = [ggo for ggo in market.listed("bob") if ggo["amount"] == 1]
    with market.sandbox.ledger.held():
        market.compose(received["address"], transfers=[(1, "alice")], subject="bob")
        market.run_batches()
        assert reconciled(market) == []
        market.rows("UPDATE batches SET created_at = now() - interval '7 h' WHERE ended_at IS NULL")
        assert reconciled(market) == [("stuck_batch", 1)]
        assert market.runtime.repairs.repair_all() == 1
    market.settle()
    assert reconciled(market) == []


def test_a_wrong_rollback_is_reversed(market: Market):
    """The ledger has committed a declined batch: the run does it again, and the audit finds nothing."""
    traded(market)
    market.consume(begin=market.hour(3), amount=40)
    split = market.issue(300, begin=market.hour(3))
    market.compose(split, transfers=[(100, "bob")], retires=[(40, CONSUMPTION)])
    market.consume(begin=market.hour(4), amount=40)
    market.compose(market.issue(40, begin=market.hour(4)), retires=[(40, CONSUMPTION)])
    before = market.rows("SELECT amount, owner_id, stored, retired, key_index FROM ggos ORDER BY 1")
    market.run_batches()
    market.sandbox.ledger.batches(count=5, wait=10)
    with market.runtime.database.transaction() as session:
        for [batch_id] in market.rows("SELECT id FROM batches WHERE ended_at IS NULL ORDER BY id"):
            assert decline_batch(session, batch_id, "not so")
    assert reconciled(market) == []
    after = market.rows("SELECT amount, owner_id, stored, retired, key_index FROM ggos ORDER BY 1")
    assert after == before
    assert [state for state, _ in market.batches()][-2:] == ["COMPLETED"] * 2
    uri = market.settings.database_uri.get_secret_value().replace("+psycopg2", "")
    assert audit(read_books(uri), read_ledger(market.sandbox.urls["ledger"])) == []


def test_a_run_continues_where_it_stopped_and_one_process_runs_at_a_time(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    traded(market)
    asked: list[str] = []
    ask: Callable[[str], Any] = market.runtime.ledger.read_ggo

    def counting(address: str) -> Any:
        asked.append(address)
        if len(asked) == 4:
            raise PeerUnavailable("Ledger", "ReadTimeout")
        return ask(address)

    monkeypatch.setattr(market.runtime.ledger, "read_ggo", counting)
    with pytest.raises(PeerUnavailable):
        list(market.runtime.reconciliation.run(calls_per_second=10_000))
    with market.runtime.database.transaction() as session:
        lease = queries.claim_run(session, lease_s=60)
        assert lease is not None
        assert queries.claim_run(session, lease_s=60) is None
    with pytest.raises(reconcile.AlreadyRunning):
        list(market.runtime.reconciliation.run())
    with market.runtime.database.transaction() as session:
        queries.save_progress(session, lease, cursor=lease.cursor, compared=0, lease_s=0)
    list(market.runtime.reconciliation.run(calls_per_second=10_000))
    count = market.value("SELECT count(*) FROM ggos")
    # Each GGO once, and the one at which the run stopped once more.
    assert len(asked) == count + 1
    assert len(set(asked)) == count
    assert market.value("SELECT ggos FROM ledger_walks") == count


def test_the_time_of_a_call_counts_towards_the_pause(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    """The rate is kept, however long the ledger takes for a call."""
    traded(market)
    now, asked = [0.0], []
    ask: Callable[[str], Any] = market.runtime.ledger.read_ggo

    def slow(address: str) -> Any:
        asked.append(now[0])
        now[0] += 0.75
        return ask(address)

    def waited(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(comparison, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(comparison, "interruptible_sleep", waited)
    monkeypatch.setattr(market.runtime.ledger, "read_ggo", slow)
    monkeypatch.setattr(market.runtime.ledger, "read_settlement", lambda _: None)
    list(market.runtime.reconciliation.run(calls_per_second=1))
    # Two intervals if a settlement was read in between.
    assert {after - before for before, after in pairwise(asked)} == {1.0, 2.0}


def test_exit_statuses_of_the_commands(market: Market, tmp_path: Path):
    traded(market)
    run = market.app.test_cli_runner().invoke
    clean = run(args=["ledger", "reconcile", "--rate", "10000"])
    assert clean.exit_code == 0, clean.output
    market.rows("UPDATE ggos SET amount = 499 WHERE amount = 500")
    report = tmp_path / "report.json"
    differing = run(args=["ledger", "reconcile", "--rate", "10000", "--json", str(report)])
    assert differing.exit_code == 1
    assert "wrong_amount" in differing.output
    found = json.loads(report.read_text())
    assert found["complete"] is True
    assert [each["kind"] for each in found["differences"]] == ["wrong_amount"]
    assert run(args=["ledger", "status"]).exit_code == 1
    one = run(args=["ledger", "batch", "1"])
    assert one.exit_code == 0, one.output
    assert "posted: accepted" in one.output
    assert run(args=["ledger", "batch", "999"]).exit_code == 1
    market.sandbox.ledger.fault("/state/*", cut="before", times=None)
    away = run(args=["ledger", "reconcile"])
    assert away.exit_code == 2
    assert "Couldn't compare" in away.output


def test_a_database_error_is_status_2(market: Market, monkeypatch: pytest.MonkeyPatch):
    """Scripts tell it from a difference, which is status 1."""
    error = ProgrammingError("SELECT 1", {}, Exception())

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(queries, "claim_run", broken)
    monkeypatch.setattr(queries, "last_runs", broken)
    for command in ("reconcile", "status"):
        result = market.app.test_cli_runner().invoke(args=["ledger", command])
        assert result.exit_code == 2, result.output


@pytest.mark.parametrize(
    ("spoiled", "kinds"),
    [
        ("retire_address = 'no address' WHERE retired", {"unreadable"}),
        (
            """begin = begin + interval '40 y', "end" = "end" + interval '40 y'
            WHERE issue_gsrn IS NOT NULL""",
            {"wrong_owner"},
        ),
    ],
)
def test_a_ggo_without_address_or_key_does_not_stop_a_run(
    market: Market, spoiled: str, kinds: set[str]
):
    traded(market)
    market.rows(f"UPDATE ggos SET {spoiled}")  # noqa: S608 - the test's own
    assert kinds <= {kind for kind, _ in reconciled(market)}
