"""What earlier versions left out, filled in while several workers and earlier versions work."""

import pytest
from sqlalchemy import text

from origin.balances.queries import back_fill
from tests.support.concurrency import at_once
from tests.support.entries_fold import check_folds
from tests.support.market import Market
from tests.support.operations import end, found, issue_next


def declined(market: Market, count: int) -> None:
    """Decline composes as a version before migration 0016 does, which keeps no rollbacks."""
    for _ in range(count):
        answer = market.compose(issue_next(market), transfers=[(100, "bob")])
        assert answer.status_code == 200, answer.text
    for [batch] in market.rows("SELECT id FROM batches"):
        end(market, batch, "DECLINED")
    market.rows("DELETE FROM rollbacks")


def test_a_declined_batch_gets_one_rollback(market: Market):
    declined(market, 3)
    at_once(*[market.runtime.entry_times.run] * 3)
    market.runtime.entry_times.run()
    batches = [row[0] for row in market.rows("SELECT batch_id FROM rollbacks ORDER BY batch_id")]
    assert batches == [row[0] for row in market.rows("SELECT id FROM batches ORDER BY id")]


def test_a_rollback_that_another_worker_has_just_added_is_not_added_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    """A statement finds what was committed before it began, although it locks the batches later."""
    declined(market, 1)
    market.runtime.entry_times.run()
    outdated = text("SELECT id, ggo_id FROM batches WHERE :limit > 0 FOR UPDATE SKIP LOCKED")
    monkeypatch.setattr(back_fill, "_LOCK_DECLINED", outdated)
    market.runtime.entry_times.run()
    assert market.value("SELECT count(*) FROM rollbacks") == 1
    check_folds(lambda path: found(market, path))
