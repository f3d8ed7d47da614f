"""Behaviour observed on a real validator with the real processor (contract: peers, The ledger)."""

from dataclasses import replace
from typing import Any

import pytest

from origin.batches.client.ledger import LedgerClient
from tests.support.market import CONSUMPTION, Market


def composed(market: Market, count: int = 1) -> None:
    """Issue so many GGOs of 1000 Wh, and compose 100 Wh of each to Bob."""
    for number in range(count):
        address = market.issue(1000, begin=market.hour(number))
        assert market.compose(address, transfers=[(100, "bob")]).status_code == 200


def states(market: Market) -> list[str]:
    return [state for state, _ in market.batches()]


def impatient(market: Market) -> None:
    """Wait half a second for the ledger, not fifteen."""
    url = market.sandbox.urls["ledger"]
    ledger = LedgerClient(url, tls_verify=True, response_timeout_s=0.5)
    market.use(replace(market.runtime, ledger=ledger))


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "event", "") for record in caplog.records]


def due_in_s(market: Market) -> float:
    """Return the seconds until the one batch is due again."""
    return float(
        market.value("SELECT extract(epoch FROM next_attempt_at - clock_timestamp()) FROM batches")
    )


def test_a_frozen_validator_makes_posts_hang_and_executes_them_later(market: Market):
    """One call hangs, and no other is tried; the ledger executes the batch later, once."""
    impatient(market)
    composed(market, 3)
    with market.sandbox.ledger.frozen():
        market.run_batches()
        assert states(market) == ["PENDING"] * 3
        # The status call hangs as well; the rest is not tried.
        market.run_batches()
        assert states(market) == ["PENDING"] * 3
        assert market.sandbox.ledger.count("POST /batches") == 1
    market.settle()
    assert states(market) == ["COMPLETED"] * 3
    posts = [batch["posts"] for batch in market.sandbox.ledger.batches()]
    assert len(posts) == 3
    assert sum(market.amounts("bob")) == 300


def test_a_post_that_hung_and_was_refused_is_rolled_back_after_600_s(market: Market):
    """Without an answer the POST may be on its way until 600 s after it began."""
    impatient(market)
    market.sandbox.ledger.refuse_next()
    composed(market)
    with market.sandbox.ledger.frozen():
        market.run_batches()
    market.sandbox.ledger.batches(count=1, wait=10)
    market.run_batches()
    assert states(market) == ["PENDING"]
    assert market.total("bob", category="stored") == 100
    market.rows("UPDATE batches SET last_post_at = now() - interval '700 s'")
    market.run_batches()
    assert states(market) == ["DECLINED"]
    assert market.total("alice", category="stored") == 1000


def test_a_state_that_hangs_decides_nothing(market: Market):
    impatient(market)
    market.sandbox.ledger.refuse_next()
    composed(market)
    market.run_batches()
    market.sandbox.ledger.batches(count=1, wait=10)
    market.sandbox.ledger.fault("/state/*", delay_before=5)
    market.run_batches()
    assert states(market) == ["SUBMITTED"]
    market.sandbox.ledger.clear_faults()
    market.settle()
    assert states(market) == ["DECLINED"]


_LATE: list[dict[str, Any]] = [
    {"code": 19},
    {"code": 17},
    {"status": 500, "body": "500 Internal Server Error\n\nServer got itself in trouble"},
]


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("late", _LATE, ids=str)
def test_a_post_that_may_have_arrived_stops_the_run_and_is_followed(
    market: Market, late: dict[str, Any], process: bool
):
    """A 408 (19) means that the validator is late: no other POST is tried at once."""
    market.sandbox.ledger.fault("/batches", **late, process=process)
    composed(market, 3)
    market.run_batches()
    assert states(market) == ["PENDING"] * 3
    assert market.sandbox.ledger.count("POST /batches") == 1
    events = [row[0] for row in market.rows("SELECT event FROM batch_events ORDER BY id")]
    assert events[0] == "posted: may have arrived"
    assert set(events[1:]) == {"posted: did not arrive"}
    market.settle()
    assert states(market) == ["COMPLETED"] * 3
    assert len(market.sandbox.ledger.batches()) == 3


@pytest.mark.parametrize("late", _LATE, ids=str)
@pytest.mark.parametrize("endpoint", ["/batch_statuses", "/state/*"])
def test_a_status_call_that_times_out_is_repeated(
    market: Market, caplog: pytest.LogCaptureFixture, late: dict[str, Any], endpoint: str
):
    """The ledger counts as out of reach, not as giving unexpected answers."""
    market.sandbox.ledger.drop_next()
    composed(market)
    market.run_batches()
    market.sandbox.ledger.fault(endpoint, **late)
    market.run_batches()
    assert states(market) == ["SUBMITTED"]
    assert "ledger.unreachable" in events(caplog)
    assert not {"ledger.odd_statuses", "ledger.odd_state"} & set(events(caplog))
    market.settle()
    assert states(market) == ["COMPLETED"]


def test_the_delay_grows_while_an_invalid_batch_can_not_be_rolled_back(
    market: Market,
):
    """Its bytes are posted again only after the ledger has forgotten it."""
    market.sandbox.ledger.refuse_next(2)
    market.sandbox.ledger.fault("/batches", cut="after")
    composed(market)
    market.run_batches()
    ledger = market.sandbox.ledger
    ledger.batches(count=1, wait=10)
    delays = []
    for _ in range(6):
        market.run_batches()
        delays.append(due_in_s(market))
    assert ledger.count("POST /batches") == 1
    assert delays[-1] > 3 * delays[0] > 0
    ledger.forget()
    market.run_batches()
    [batch] = ledger.batches(count=1, wait=10)
    assert (batch["posts"], batch["status"]) == (2, "INVALID")
    for _ in range(3):
        market.run_batches()
    assert ledger.count("POST /batches") == 2
    assert states(market) == ["SUBMITTED"]
    market.rows("UPDATE batches SET last_post_at = now() - interval '700 s'")
    market.run_batches()
    assert states(market) == ["DECLINED"]


def test_an_invalid_batch_is_not_executed_again_until_the_ledger_forgets_it(
    market: Market,
):
    """An equal compose after the rollback has other bytes, and is executed."""
    market.consume(amount=1000)
    address = market.issue(1000)
    market.sandbox.ledger.refuse_next()
    market.compose(address, retires=[(1000, CONSUMPTION)])
    market.run_batches()
    [refused] = market.sandbox.ledger.batches(count=1, wait=10)
    market.runtime.ledger.post(bytes(market.value("SELECT signed_batch FROM batches")))
    [again] = market.sandbox.ledger.batches()
    assert (again["id"], again["status"], again["posts"]) == (refused["id"], "INVALID", 2)
    market.settle()
    market.compose(address, retires=[(1000, CONSUMPTION)])
    market.settle()
    assert states(market) == ["DECLINED", "COMPLETED"]


def test_batches_stay_pending_while_the_processor_is_away(market: Market):
    ledger = market.sandbox.ledger
    ledger.restart(processor_comes_back=False)
    composed(market)
    for _ in range(3):
        market.run_batches()
    assert states(market) == ["SUBMITTED"]
    assert ledger.count("POST /batches") == 1
    ledger.restart_processor()
    ledger.batches(count=1, wait=10)
    market.settle()
    assert states(market) == ["COMPLETED"]


def test_a_pending_batch_whose_transactions_were_committed_is_completed_by_state(
    market: Market,
):
    """As if somebody had put them into another batch: this one never becomes INVALID."""
    composed(market)
    market.run_batches()
    [batch] = market.sandbox.ledger.batches(count=1, wait=10)
    market.sandbox.ledger.pretend(batch["id"], "PENDING")
    market.run_batches()
    assert states(market) == ["SUBMITTED"]
    market.rows("UPDATE batches SET created_at = now() - interval '7 h'")
    market.run_batches()
    assert states(market) == ["COMPLETED"]


@pytest.mark.parametrize("answer", [{}, {"link": 7}, "<html>"])
def test_a_202_without_a_link_is_accepted_as_a_202(market: Market, answer: object):
    """It does not prove that the batch arrived: the ledger answers nonsense with 202, too."""
    market.sandbox.ledger.fault("/batches", status=202, body=answer)
    composed(market)
    market.settle()
    assert states(market) == ["COMPLETED"]
    assert market.sandbox.ledger.count("POST /batches") == 2


def test_many_statuses_are_asked_for_by_post_with_the_exact_content_type(market: Market):
    composed(market, 20)
    market.settle()
    assert states(market) == ["COMPLETED"] * 20
    calls = market.sandbox.ledger.calls()
    asked = [call["status"] for call in calls if call["path"] == "/batch_statuses"]
    assert set(asked) == {200}
    assert market.sandbox.ledger.count("POST /batch_statuses") > 0


def test_ggos_without_emissions_on_the_ledger_are_read(market: Market):
    """The real ledger stores none; the database has them from DataHub."""
    emissions = {"CO2": 1.5}
    address = market.issue(1000, emissions=emissions)
    market.compose(address, transfers=[(100, "bob")])
    market.run_batches()
    [batch] = market.sandbox.ledger.batches(count=1, wait=10)
    assert market.sandbox.ledger.state()[address]["emissions"] is None
    market.sandbox.ledger.pretend(batch["id"], "INVALID")
    market.settle()
    assert states(market) == ["COMPLETED"]
    assert [ggo["emissions"] for ggo in market.listed("bob")] == [emissions]
