"""Batches under way: whatever the ledger does, each ends once and correctly."""

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from origin.batches.queries import queue
from origin.batches.queries.outcomes import PART_COLUMNS, complete_batches, decline_batch
from origin.shared.deadlines import Deadline
from tests.support.market import CONSUMPTION, Market
from tests.support.world import at_once

REFUSALS = [30, 34, 35, 42, 43, 46, 60, 62, 66]


def composed(market: Market) -> str:
    """Issue a GGO of 1000 Wh, and compose 100 Wh to Bob; return its address."""
    address = market.issue(1000)
    assert market.compose(address, transfers=[(100, "bob")]).status_code == 200
    return address


def held(market: Market) -> tuple[int, int]:
    """Return the Wh that Alice and Bob have on offer."""
    stored = {"category": "stored"}
    return sum(market.amounts("alice", **stored)), sum(market.amounts("bob", **stored))


def assert_completed(market: Market) -> None:
    assert [state for state, _ in market.batches()] == ["COMPLETED"]
    assert held(market) == (900, 100)


def assert_rolled_back(market: Market, reason: str) -> None:
    assert market.batches() == [("DECLINED", reason)]
    assert held(market) == (1000, 0)
    assert market.rows("SELECT count(*) FROM ggos")[0][0] == 1
    assert market.rows("SELECT count(*) FROM transactions")[0][0] == 0


def test_an_invalid_batch_is_rolled_back_with_the_ledgers_reason(market: Market):
    market.sandbox.ledger.refuse_next(message="Not on my watch")
    composed(market)
    market.settle()
    assert_rolled_back(market, "Not on my watch")


def test_a_retire_of_a_whole_ggo_works_again_after_its_rollback(market: Market):
    """The second batch has other bytes, as the ledger remembers the first."""
    market.consume(amount=1000)
    address = market.issue(1000)
    market.sandbox.ledger.refuse_next()
    market.compose(address, retires=[(1000, CONSUMPTION)])
    assert market.total("alice", category="retired") == 1000
    market.settle()
    assert held(market) == (1000, 0)
    assert market.compose(address, retires=[(1000, CONSUMPTION)]).status_code == 200
    market.settle()
    assert [state for state, _ in market.batches()] == ["DECLINED", "COMPLETED"]
    assert market.amounts("alice", category="retired") == [1000]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_cut_connection_is_not_a_refusal(market: Market, cut: str):
    """Whether the batch arrived or not, the same bytes are posted, and it is completed once."""
    market.sandbox.ledger.fault("/batches", cut=cut)
    composed(market)
    market.settle()
    assert_completed(market)
    [batch] = market.sandbox.ledger.batches()
    assert batch["status"] == "COMMITTED"


@pytest.mark.parametrize(("status", "code"), [(503, 15), (503, 18), (429, 31), (500, 10)])
def test_a_ledger_that_is_not_ready_is_tried_again(market: Market, status: int, code: int):
    market.sandbox.ledger.fault("/batches", status=status, code=code, times=2)
    composed(market)
    market.settle()
    assert_completed(market)


def test_an_error_for_a_batch_that_arrived(market: Market):
    market.sandbox.ledger.fault("/batches", status=500, code=17, process=True)
    composed(market)
    market.settle()
    assert_completed(market)


@pytest.mark.parametrize("code", REFUSALS)
def test_a_lasting_refusal_is_rolled_back_when_state_shows_the_source_unspent(
    market: Market, code: int
):
    market.sandbox.ledger.fault("/batches", status=400, code=code, times=None)
    composed(market)
    market.settle()
    [(state, reason)] = market.batches()
    assert state == "DECLINED"
    assert str(reason).startswith(f"{code} ")
    assert held(market) == (1000, 0)


def test_a_batch_is_followed_if_an_earlier_post_of_it_may_have_arrived(market: Market):
    """The first POST arrived, and its answer was lost: the refusal of the second decides nothing."""
    ledger = market.sandbox.ledger
    with ledger.held():
        ledger.fault("/batches", cut="after")
        composed(market)
        market.run_batches()
        ledger.forget()
        ledger.fault("/batches", status=400, code=35)
        market.run_batches()
        assert market.batches()[0][0] == "PENDING"
    market.settle()
    assert_completed(market)


def test_an_unknown_batch_is_posted_again_with_the_same_bytes(market: Market):
    market.sandbox.ledger.drop_next()
    composed(market)
    market.settle()
    assert_completed(market)
    [batch] = market.sandbox.ledger.batches()
    assert batch["posts"] == 2


@pytest.mark.parametrize("count", [1, 3, 20])
def test_a_batch_without_a_status_is_unknown(market: Market, count: int):
    """The ledger lacks one of them, and answers 404 for all; the bytes of that one are posted."""
    for number in range(count):
        address = market.issue(1000, begin=market.hour(number))
        assert market.compose(address, transfers=[(100, "bob")]).status_code == 200
    market.sandbox.ledger.drop_next()
    market.run_batches()
    market.sandbox.ledger.batches(count=count - 1, wait=10)
    market.sandbox.ledger.fault("/batch_statuses", status=404, code=71)
    market.run_batches()
    market.settle()
    assert [state for state, _ in market.batches()] == ["COMPLETED"] * count
    posts = [batch["posts"] for batch in market.sandbox.ledger.batches()]
    assert sorted(posts) == [*[1] * (count - 1), 2]


def test_an_invalid_batch_that_stands_on_the_ledger_is_completed(market: Market):
    """The ledger says INVALID, but this split has spent the source."""
    composed(market)
    market.run_batches()
    [batch] = market.sandbox.ledger.batches(count=1, wait=10)
    market.sandbox.ledger.pretend(batch["id"], "INVALID")
    market.settle()
    assert_completed(market)


def test_a_committed_batch_that_the_validator_forgot_is_completed(market: Market):
    composed(market)
    market.run_batches()
    market.sandbox.ledger.batches(count=1, wait=10)
    market.sandbox.ledger.forget(committed=True)
    market.settle()
    assert_completed(market)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": {"data": "?"}},
        {"status": 200, "body": {"data": [{"id": 1}, {}, 7]}},
        {"status": 200, "body": {"data": []}},
        {"status": 404, "body": "<html>"},
        {"status": 418},
        {"status": 400, "body": {"error": {"code": [], "message": {}}}},
    ],
    ids=str,
)
def test_unexpected_answers_change_nothing(market: Market, fault: dict[str, object]):
    composed(market)
    market.run_batches()
    market.sandbox.ledger.fault("/batch_statuses", times=1, **fault)
    market.run_batches()
    assert market.batches()[0][0] == "SUBMITTED"
    market.settle()
    assert_completed(market)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200, "body": {"data": "bm8="}},
        {"status": 200, "body": {"data": "e30="}},
        {"status": 404},
        {"status": 404, "code": 70},
        {"status": 503, "code": 15},
        {"cut": "before"},
    ],
    ids=str,
)
def test_no_rollback_while_state_can_not_be_read(market: Market, fault: dict[str, object]):
    """INVALID alone is not enough, nor with a state that is not a GGO."""
    market.sandbox.ledger.refuse_next(message="No")
    composed(market)
    market.run_batches()
    market.sandbox.ledger.batches(count=1, wait=10)
    market.sandbox.ledger.fault("/state/*", **fault)
    market.run_batches()
    assert market.batches()[0][0] == "SUBMITTED"
    market.settle()
    assert_rolled_back(market, "No")


def test_links_of_the_ledger_are_not_followed(market: Market):
    market.sandbox.ledger.link_prefix("http://127.0.0.1:1")
    composed(market)
    market.settle()
    assert_completed(market)


def test_a_ledger_that_is_down_stops_the_run_and_changes_nothing(market: Market):
    """One connection is tried, not one for each batch."""
    for number in range(3):
        address = market.issue(1000, begin=market.hour(number))
        market.compose(address, transfers=[(1, "bob")])
    market.sandbox.ledger.fault("/batches", cut="before", times=None)
    market.run_batches()
    assert market.sandbox.ledger.count("POST /batches") <= 1
    market.sandbox.ledger.clear_faults()
    market.settle()
    assert [state for state, _ in market.batches()] == ["COMPLETED"] * 3


def test_forty_batches_take_a_few_status_calls(market: Market):
    for number in range(40):
        address = market.issue(10, begin=market.hour(number))
        market.compose(address, transfers=[(1, "bob")])
    market.settle()
    assert len(market.amounts("bob")) == 40
    ledger = market.sandbox.ledger
    calls = ledger.count("GET /batch_statuses") + ledger.count("POST /batch_statuses")
    assert calls < 10


def test_two_workers_never_claim_the_same_batch(market: Market):
    for number in range(20):
        address = market.issue(10, begin=market.hour(number))
        market.compose(address, transfers=[(1, "bob")])

    def claim() -> dict[int, datetime]:
        with market.runtime.database.transaction() as session:
            return queue.claim_due(session, limit=15, lease_s=60)

    first, second, third = at_once(claim, claim, claim)
    claimed = [*first, *second, *third]
    assert len(claimed) == len(set(claimed)) == 20


def test_another_worker_gets_the_batch_of_a_dead_one_after_the_lease(market: Market):
    composed(market)
    with market.runtime.database.transaction() as session:
        assert list(queue.claim_due(session, limit=1, lease_s=0.01)) == [1]
    market.rows("SELECT pg_sleep(0.02)")
    assert market.runtime.batch_runner.run_due() == 1


def test_the_first_to_store_signed_bytes_wins(market: Market):
    composed(market)
    at_once(*[lambda: market.runtime.batch_signer.sign_missing([1], Deadline(60))] * 4)
    before = market.rows("SELECT signed_batch, ledger_batch_id FROM batches")
    market.runtime.batch_signer.sign_missing([1], Deadline(60))
    assert market.rows("SELECT signed_batch, ledger_batch_id FROM batches") == before


def test_a_key_that_can_not_be_unsealed_stops_no_other_batch(market: Market):
    composed(market)
    market.settle()
    [received] = market.listed("bob")
    [kept] = [ggo for ggo in market.listed("alice") if ggo["amount"] == 900]
    market.compose(received["address"], transfers=[(1, "alice")], subject="bob")
    market.compose(kept["address"], transfers=[(1, "bob")])
    market.rows("UPDATE users SET master_key = 'v1.x.y' WHERE subject = 'bob'")
    market.run_batches()
    market.sandbox.ledger.batches(wait=10)
    market.run_batches()
    assert [state for state, _ in market.batches()] == ["COMPLETED", "PENDING", "COMPLETED"]


def test_a_stuck_batch_is_posted_again_and_reported(
    market: Market, caplog: pytest.LogCaptureFixture
):
    with market.sandbox.ledger.held():
        composed(market)
        market.run_batches()
        market.rows("UPDATE batches SET created_at = now() - interval '7 hours'")
        assert market.runtime.batch_runner.resubmit_stuck() == 1
    assert "Batch is stuck" in caplog.text
    [batch] = market.sandbox.ledger.batches(count=1, wait=10)
    assert batch["posts"] == 2
    market.settle()
    assert_completed(market)
    assert market.runtime.batch_runner.resubmit_stuck() == 0


def held_in(ggos: list[dict[str, object]]) -> int:
    """Return the Wh that these rows of `ggos` hold, stored or retired."""
    return sum(int(str(row["amount"])) for row in ggos if row["stored"] or row["retired"])


wishes = st.lists(st.integers(1, 60), max_size=3)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    transfers=wishes,
    retires=wishes,
    spare=st.integers(0, 2),
    ends=st.lists(st.sampled_from(["complete", "decline"]), min_size=1, max_size=3),
)
def test_a_batch_ends_once_and_energy_is_conserved(
    market: Market, transfers: list[int], retires: list[int], spare: int, ends: list[str]
):
    """Only the first end counts; a rollback restores every column, an end has one time."""
    if not transfers and not retires:
        return
    database = market.runtime.database
    number = market.rows("SELECT count(*) FROM ggos")[0][0]
    amount = sum(transfers) + sum(retires) + spare
    begin = market.hour(number)
    market.consume(amount=max(sum(retires), 1), begin=begin)
    address = market.issue(amount, begin=begin)
    family = "SELECT to_jsonb(ggos) FROM ggos WHERE address = :a OR parent_id = "
    family += "(SELECT id FROM ggos WHERE address = :a) ORDER BY id"
    before = [row[0] for row in market.rows(family, a=address)]
    answer = market.compose(
        address,
        transfers=[(wh, "bob") for wh in transfers],
        retires=[(wh, CONSUMPTION) for wh in retires],
    )
    assert answer.status_code == 200
    flight = [row[0] for row in market.rows(family, a=address)]
    assert held_in(flight) == amount
    batch_id = market.rows("SELECT max(id) FROM batches")[0][0]
    for end in ends:
        with database.transaction() as session:
            if end == "complete":
                complete_batches(session, [batch_id])
            else:
                decline_batch(session, batch_id, "No")
    after = [row[0] for row in market.rows(family, a=address)]
    if ends[0] == "decline":
        assert after == before
    else:
        [(ended_at,)] = market.rows(
            "SELECT to_jsonb(ended_at) FROM batches WHERE id = :b", b=batch_id
        )
        assert after == [
            {
                **row,
                "locked": False,
                "settled_at": ended_at if row["parent_id"] else None,
                "retired_at": ended_at if row["retired"] else None,
            }
            for row in flight
        ]
    assert held_in(after) == amount


def test_the_release_before_can_do_a_batch_again_that_was_rolled_back(market: Market):
    """It inserts each part that a batch keeps with all of its members, and the table makes the ids."""
    composed(market)
    with market.runtime.database.transaction() as session:
        decline_batch(session, 1, "No")
    kept = "SELECT jsonb_object_keys(undone->'parts'->0) FROM {} ORDER BY 1"
    of_batch = [name for (name,) in market.rows(kept.format("batches"))]
    assert of_batch == sorted(PART_COLUMNS)
    of_rollback = {name for (name,) in market.rows(kept.format("rollbacks"))}
    assert of_rollback == {"id", *PART_COLUMNS}


def test_a_refusal_does_not_decline_a_batch_that_was_posted_since(market: Market):
    """Another worker posts it between our status call and our rollback."""
    market.sandbox.ledger.refuse_next()
    composed(market)
    market.run_batches()
    market.sandbox.ledger.batches(count=1, wait=10)
    asked = market.runtime.ledger.read_ggo

    def posted_meanwhile(address: str) -> object:
        market.rows("UPDATE batches SET posts = posts + 1")
        return asked(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(market.runtime.ledger, "read_ggo", posted_meanwhile)
        market.run_batches()
    assert market.batches()[0][0] == "SUBMITTED"


def test_nul_is_removed_from_a_reason(market: Market):
    market.sandbox.ledger.refuse_next(message="No\0t")
    composed(market)
    market.settle()
    assert_rolled_back(market, "Not")


def test_an_unexpected_answer_delays_only_its_own_batch(market: Market):
    for number in range(3):
        address = market.issue(1000, begin=market.hour(number))
        market.compose(address, transfers=[(1, "bob")])
    market.sandbox.ledger.fault("/batches", status=413, body="too large")
    market.run_batches()
    assert sorted(state for state, _ in market.batches()) == ["PENDING", "SUBMITTED", "SUBMITTED"]
