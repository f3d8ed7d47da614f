"""A worker is killed at a chosen point while it works on a batch: the batch still ends correctly.

The ledger's answer is held back until the worker is dead, so each point is hit for sure. Redis is
flushed meanwhile.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from sandbox.clients import LedgerClient
from tests.support.live_system import LiveSystem
from tests.support.waiting import eventually


def _nothing(_ledger: LedgerClient) -> None:
    """Leave the ledger as it is."""


_BEFORE: dict[str, Any] = {"delay_before": 60, "cut": "before"}
_AFTER: dict[str, Any] = {"delay_after": 60, "cut": "after"}
_POINTS: dict[str, tuple[str, dict[str, Any], Callable[[LedgerClient], None], str]] = {
    "the ledger hasn't got the batch yet": ("/batches", _BEFORE, _nothing, "COMPLETED"),
    "the ledger has it, but hasn't answered": ("/batches", _AFTER, _nothing, "COMPLETED"),
    "its status is being asked for": ("/batch_statuses", _AFTER, _nothing, "COMPLETED"),
    "it is unknown, its source is being asked for": (
        "/state/*",
        _AFTER,
        LedgerClient.drop_next,
        "COMPLETED",
    ),
    "it is invalid, its source is being asked for": (
        "/state/*",
        _AFTER,
        LedgerClient.refuse_next,
        "DECLINED",
    ),
}


_WAIT_BEFORE_STORING = """
CREATE FUNCTION wait_before_storing() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock(17); RETURN new; END';
CREATE TRIGGER wait_before_storing BEFORE UPDATE OF signed_batch ON batches
    FOR EACH ROW EXECUTE FUNCTION wait_before_storing()
"""


@pytest.mark.parametrize("point", _POINTS)
def test_the_worker_is_killed_when(system: LiveSystem, point: str):
    endpoint, hold, prepare, end = _POINTS[point]
    ledger, worker = system.sandbox.ledger, system.services.worker
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 1000)
    system.publish_consumption(anna, 0, 50)
    ledger.fault(endpoint, times=None, **hold)
    prepare(ledger)
    assert anna.compose(address, transfers=[(100, bo)], retires=[50]).status_code == 200
    system.wait_for_fault(ledger)
    worker.kill()
    system.redis.flush()
    ledger.clear_faults()
    worker.start()
    system.settle_and_audit()
    assert system.batch_states(address) == [end]
    kept, sent = (850, 100) if end == "COMPLETED" else (1000, 0)
    assert [ggo["amount"] for ggo in anna.stored()] == [kept]
    assert sum(ggo["amount"] for ggo in bo.stored()) == sent


def test_the_worker_is_killed_between_the_look_at_an_adopted_batch_and_its_signature(
    system: LiveSystem,
):
    """It has seen the source unspent, and can't store the bytes. The next worker looks again."""
    ledger, worker = system.sandbox.ledger, system.services.worker
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 1000)
    worker.kill()
    assert anna.compose(address, transfers=[(100, bo)]).status_code == 200
    [batch] = system.rows(
        "UPDATE batches SET adopted_at = now() "
        "WHERE signed_batch IS NULL AND ended_at IS NULL RETURNING id"
    )
    before = len(ledger.batches())
    with closing(psycopg2.connect(system.database_uri)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(17)")
        system.rows(_WAIT_BEFORE_STORING)
        worker.start()
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        eventually(lambda: system.rows(waiting), "the worker waits to store the bytes")
        worker.kill()
    system.rows("DROP FUNCTION wait_before_storing CASCADE")
    assert system.rows("SELECT id FROM batches WHERE id = %s AND signed_batch IS NULL", batch["id"])
    assert len(ledger.batches()) == before
    worker.start()
    system.settle_and_audit()
    assert system.batch_states(address) == ["COMPLETED"]
    assert len(ledger.batches()) == before + 1
    assert [ggo["amount"] for ggo in bo.stored()] == [100]


def test_a_slow_worker_does_not_decline_what_another_posts_again(system: LiveSystem):
    """A task that has seen an outdated refusal doesn't decline the batch.

    One task sees INVALID, and waits for the source's state for longer than its lease. The ledger
    restarts and forgets. Another task takes the batch over, and posts it again: from then on, it may
    not be declined.
    """
    ledger = system.sandbox.ledger
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 1000)
    ledger.refuse_next()
    ledger.fault("/state/*", times=1, delay_after=60)
    # The second fault has hardly any delay: it shows when another task asks, too.
    ledger.fault("/state/*", times=1, delay_after=0.001)
    assert anna.compose(address, transfers=[(100, bo)]).status_code == 200
    eventually(lambda: len(ledger.faults()) == 1, "a task waits for the source's state")
    ledger.hold()
    ledger.forget()
    eventually(lambda: not ledger.faults(), "another task asks, too")
    eventually(
        lambda: [
            batch
            for batch in ledger.batches()
            if batch["posts"] >= 2 and batch["status"] == "PENDING"
        ],
        "the batch is posted again",
    )
    ledger.clear_faults()
    rounds = "Task origin.batches"
    before = system.services.worker.output().count(rounds)
    eventually(
        lambda: system.services.worker.output().count(rounds) > before + 5,
        "the slow task and those after it have ended",
    )
    ledger.hold(on=False)
    system.settle_and_audit()
    assert system.batch_states(address) == ["COMPLETED"]
