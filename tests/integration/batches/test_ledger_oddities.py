"""Unexpected answers of the ledger, batches that fail, and workers that are late."""

from collections.abc import Callable
from typing import Any

import pytest

from devstack.ports import free_port
from origin.batches.client.ledger import LedgerClient, Posted
from origin.batches.queries import queue
from origin.batches.service import carry_out, runner, sign
from origin.errors import PeerUnavailable
from origin.shared import deadlines
from tests.support.market import BEGIN, Market


def composed(market: Market, count: int = 1) -> None:
    """Issue so many GGOs of 1000 Wh, and compose 100 Wh of each to Bob."""
    for number in range(count):
        address = market.issue(1000, begin=market.hour(number))
        assert market.compose(address, transfers=[(100, "bob")]).status_code == 200


def states(market: Market) -> list[str]:
    return [state for state, _ in market.batches()]


def events(caplog: pytest.LogCaptureFixture, level: str = "ERROR") -> list[str]:
    """Return the names of the logged events."""
    return [getattr(record, "event", "") for record in caplog.records if record.levelname == level]


@pytest.mark.parametrize(("first", "end"), [(31, "DECLINED"), (15, "DECLINED"), (18, "PENDING")])
def test_a_post_that_certainly_did_not_arrive_does_not_delay_a_rollback(
    market: Market, first: int, end: str
):
    """After a disconnect (18) the validator may have taken the batch: then the refusal decides nothing."""
    composed(market)
    market.sandbox.ledger.fault("/batches", code=first)
    market.run_batches()
    market.sandbox.ledger.fault("/batches", status=400, code=35, times=None)
    market.run_batches()
    market.run_batches()
    assert states(market) == [end]
    market.sandbox.ledger.clear_faults()
    market.settle()
    assert states(market) == ["COMPLETED" if end == "PENDING" else end]
    events = [row[0] for row in market.rows("SELECT event FROM batch_events ORDER BY id")]
    assert events[:2] == [
        "posted: may have arrived" if first == 18 else "posted: did not arrive",
        "posted: refused",
    ]


def test_a_post_without_a_connection_did_not_arrive():
    ledger = LedgerClient(f"http://127.0.0.1:{free_port()}", tls_verify=True)
    assert ledger.post(b"").outcome is Posted.UNARRIVED


_ID = "SELECT ledger_batch_id FROM batches"
_ODD: dict[str, tuple[Callable[[str], Any], str]] = {
    "no JSON": (lambda _: "<html>", "ledger.odd_statuses"),
    "no list": (lambda _: {"data": {}}, "ledger.odd_statuses"),
    "a status of another world": (
        lambda one: {"data": [{"id": one, "status": "REVERTED"}]},
        "ledger.odd_status",
    ),
    "no ids": (lambda _: {"data": [{"status": "INVALID"}]}, "ledger.odd_status"),
    "two minds": (
        lambda one: {"data": [{"id": one, "status": s} for s in ("INVALID", "COMMITTED")]},
        "ledger.odd_status",
    ),
    "invalid, and no list of why": (
        lambda one: {"data": [{"id": one, "status": "INVALID", "invalid_transactions": ["x"]}]},
        "ledger.odd_status",
    ),
}


@pytest.mark.parametrize("odd", _ODD)
def test_unexpected_statuses_are_reported_and_change_nothing(
    market: Market, caplog: pytest.LogCaptureFixture, odd: str
):
    composed(market)
    market.run_batches()
    body, event = _ODD[odd]
    answer = body(market.rows(_ID)[0][0])
    market.sandbox.ledger.fault("/batch_statuses", status=200, body=answer)
    market.run_batches()
    assert states(market) == ["SUBMITTED"]
    assert event in events(caplog)
    market.settle()
    assert states(market) == ["COMPLETED"]


def test_undocumented_fields_and_missing_messages_are_accepted(market: Market):
    """INVALID without a message is a refusal if the state confirms it."""
    market.sandbox.ledger.refuse_next()
    composed(market)
    market.run_batches()
    one = market.rows(_ID)[0][0]
    status = {"id": one, "status": "INVALID", "invalid_transactions": [{"id": "t"}], "new": 1}
    body = {"data": [status, {"id": "another", "status": "COMMITTED"}], "link": "http://x/"}
    market.sandbox.ledger.batches(count=1, wait=10)
    market.sandbox.ledger.fault("/batch_statuses", status=200, body=body)
    market.run_batches()
    assert market.batches() == [("DECLINED", "no reason given")]


def test_a_batch_that_fails_stops_no_other(
    market: Market, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """One of three batches can't be signed at first, and then can't be ended."""
    composed(market, 3)
    as_built, complete = sign._sign, carry_out.complete_batches

    def failing_sign(keys: Any, source: Any, parts: Any) -> Any:
        if source.batch_id == 1:
            raise ValueError("broken")
        return as_built(keys, source, parts)

    def failing_complete(session: Any, batch_ids: list[int]) -> list[int]:
        if 1 in batch_ids:
            raise ValueError("broken")
        return complete(session, batch_ids)

    with monkeypatch.context() as patch:
        patch.setattr(sign, "_sign", failing_sign)
        market.run_batches()
    assert states(market) == ["PENDING", "SUBMITTED", "SUBMITTED"]
    market.run_batches()
    market.sandbox.ledger.batches(count=3, wait=10)
    with monkeypatch.context() as patch:
        patch.setattr(carry_out, "complete_batches", failing_complete)
        market.run_batches()
    assert states(market) == ["SUBMITTED", "COMPLETED", "COMPLETED"]
    assert {"batch.cannot_sign", "batch.cannot_end"} <= set(events(caplog))
    market.settle()
    assert states(market) == ["COMPLETED"] * 3


def test_a_run_waits_only_once_for_a_state_that_hangs(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    market.sandbox.ledger.drop_next(3)
    composed(market, 3)
    market.run_batches()
    asked = []

    def hanging(address: str) -> None:
        asked.append(address)
        raise PeerUnavailable("Ledger", "ReadTimeout")

    with monkeypatch.context() as patch:
        patch.setattr(market.runtime.ledger, "read_ggo", hanging)
        market.run_batches()
    assert len(asked) == 1
    due = "SELECT count(*) FROM batches WHERE next_attempt_at < now() + interval '10 s'"
    assert market.rows(due)[0][0] == 0


def test_a_worker_that_returns_after_its_lease_changes_no_schedule(market: Market):
    composed(market)
    database = market.runtime.database
    with database.transaction() as session:
        late = queue.claim_due(session, limit=1, lease_s=0.01)
    market.rows("SELECT pg_sleep(0.02)")
    with database.transaction() as session:
        [(batch_id, lease)] = queue.claim_due(session, limit=1, lease_s=60).items()
    with database.transaction() as session:
        queue.give_back(session, late, {batch_id: 0.0})
    assert market.rows("SELECT next_attempt_at FROM batches")[0][0] == lease


def test_a_process_that_shuts_down_gives_its_batches_back_at_once(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    composed(market)
    with monkeypatch.context() as patch:
        patch.setattr(deadlines._shutdown_requested, "is_set", lambda: True)
        assert market.runtime.batch_runner.run_due() == 0
        # Asked to shut down in the middle of its work:
        patch.setattr(runner, "Deadline", lambda _: _Over())
        with market.runtime.database.transaction() as session:
            leases = queue.claim_due(session, limit=1, lease_s=60)
        market.runtime.batch_runner._take_further(leases)
    assert market.sandbox.ledger.count("POST /batches") == 0
    assert market.runtime.batch_runner.run_due() == 1


class _Over:
    def is_over(self) -> bool:
        return True


def test_a_user_does_not_wait_for_anothers_backlog(market: Market):
    """Alice has composed 2,000 times before Bob: his batch is among the next 100."""
    market.rows(
        'INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, '
        "fuel_code, issue_time, expire_time, issue_gsrn, stored) "
        "SELECT user_id, md5(user_id || '-' || n), 1, :begin, :begin + interval '1 h', 'DK1', 't', "
        "'f', now(), now(), gsrn, false FROM generate_series(1, 2000) n, metering_points "
        "WHERE type = 'production' OR (n = 1 AND user_id = :bob)",
        begin=BEGIN,
        bob=market.bob,
    )
    market.rows(
        "INSERT INTO batches (user_id, ggo_id, next_attempt_at) SELECT owner_id, id, "
        "now() - CASE WHEN owner_id = :bob THEN interval '0' ELSE interval '1 h' END FROM ggos",
        bob=market.bob,
    )
    with market.runtime.database.transaction() as session:
        claimed = queue.claim_due(session, limit=100, lease_s=60)
    owners = market.rows("SELECT user_id FROM batches WHERE id = ANY(:ids)", ids=list(claimed))
    assert len(owners) == 100
    assert (market.bob,) in [tuple(row) for row in owners]
