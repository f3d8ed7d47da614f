"""Idempotency keys, which composes and version 2 share."""

from uuid import UUID

import pytest

from origin.errors import KeyInUse, KeyReused
from origin.maintenance.service import pruning
from origin.operations.rules import Hold, Kind
from origin.operations.service import idempotency
from tests.support.concurrency import at_once
from tests.support.market import Market
from tests.support.operations import BODY, carry_out, found, issue_next, order

KEY = {"Idempotency-Key": "k"}
REUSED = {"success": False, "message": "This Idempotency-Key came before with another body"}


def take(market: Market, body: bytes = BODY, kind: Kind = Kind.TRANSFER, lease_s: float = 60):
    return idempotency.take_for(market.runtime.database, market.alice, "k", body, kind, lease_s)


def a_day_later(market: Market) -> None:
    market.rows("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'")


def test_the_same_order_again_is_the_same_operation_for_ever(market: Market):
    operation_id = order(market, "k")
    assert take(market) == operation_id
    a_day_later(market)
    assert take(market) == operation_id
    pruning.prune(market.runtime.database)
    assert market.value("SELECT count(*) FROM idempotency_keys") == 0
    assert take(market) == operation_id
    for body, kind in ((BODY + b" ", Kind.TRANSFER), (BODY, Kind.RETIREMENT)):
        with pytest.raises(KeyReused):
            take(market, body, kind)
    assert len(found(market, "/v2/operations")["results"]) == 1


def test_accounts_have_keys_of_their_own(market: Market):
    first, second = order(market, "k"), order(market, "k", user_id=market.bob)
    assert first != second
    assert [each["id"] for each in found(market, "/v2/operations", "bob")["results"]] == [
        str(second)
    ]


def test_a_key_in_use_is_told_apart_from_a_reused_one(market: Market):
    hold = take(market)
    assert isinstance(hold, Hold)
    with pytest.raises(KeyInUse):
        take(market)
    with pytest.raises(KeyReused):
        take(market, b"{}")
    idempotency.give_back(market.runtime.database, hold)
    assert isinstance(take(market, b"{}"), Hold)


def test_a_request_that_was_taken_over_writes_nothing(market: Market):
    died = take(market, lease_s=0)
    taken = take(market)
    assert isinstance(died, Hold)
    assert isinstance(taken, Hold)
    with pytest.raises(KeyInUse):
        carry_out(market, died, Kind.TRANSFER)
    assert market.value("SELECT count(*) FROM operations") == 0
    idempotency.give_back(market.runtime.database, died)
    operation_id = carry_out(market, taken, Kind.TRANSFER)
    idempotency.give_back(market.runtime.database, taken)
    assert take(market) == operation_id


def test_many_at_once_make_one_operation(market: Market):
    def try_to_order() -> UUID | None:
        try:
            return order(market, "k")
        except KeyInUse:
            return None

    made = {each for each in at_once(*[try_to_order] * 10) if each}
    assert made == {order(market, "k")}
    assert market.value("SELECT count(*) FROM operations") == 1


def test_a_compose_can_not_have_the_key_of_an_order(market: Market):
    order(market, "k")
    address = issue_next(market)
    for prepare in (
        lambda: None,
        lambda: a_day_later(market),
        lambda: pruning.prune(market.runtime.database),
    ):
        prepare()
        answer = market.compose(address, transfers=[(1, "bob")], **KEY)
        assert (answer.status_code, answer.json) == (422, REUSED)
    assert market.amounts("alice") == [1000]
    # An order that is being accepted has its key already.
    idempotency.take_for(market.runtime.database, market.alice, "other", BODY, Kind.TRANSFER, 60)
    answer = market.compose(address, transfers=[(1, "bob")], **{"Idempotency-Key": "other"})
    assert answer.status_code == 422


@pytest.mark.parametrize("amount", [1, 5000], ids=["accepted", "rejected"])
def test_an_order_can_not_have_the_key_of_a_compose(market: Market, amount: int):
    """A rejection is kept for a day; an accepted compose keeps the key from version 2 for ever."""
    market.compose(issue_next(market), transfers=[(amount, "bob")], **KEY)
    with pytest.raises(KeyReused):
        take(market)
    a_day_later(market)
    if amount == 1:
        with pytest.raises(KeyReused):
            take(market)
        pruning.prune(market.runtime.database)
        with pytest.raises(KeyReused):
            take(market)
    else:
        assert isinstance(take(market), Hold)


def test_a_key_of_a_compose_that_an_old_web_kept_is_not_free_either(market: Market):
    market.compose(issue_next(market), transfers=[(1, "bob")], **KEY)
    market.rows("UPDATE batches SET operation_id = NULL")
    market.rows("UPDATE idempotency_keys SET operation_id = NULL")
    market.rows("DELETE FROM operations")
    for prepare in (lambda: None, lambda: a_day_later(market)):
        prepare()
        with pytest.raises(KeyReused):
            take(market)


def test_composes_may_reuse_a_key_after_a_day_and_all_their_operations_bear_it(market: Market):
    address, other = issue_next(market), issue_next(market)
    first = market.compose(address, transfers=[(1, "bob")], **KEY)
    again = market.compose(address, transfers=[(1, "bob")], **KEY)
    assert again.headers["Location"] == first.headers["Location"]
    a_day_later(market)
    second = market.compose(other, transfers=[(2, "bob")], **KEY)
    assert second.status_code == 200
    listed = found(market, "/v2/operations?idempotencyKey=k")["results"]
    assert [each["links"]["self"] for each in listed] == [
        second.headers["Location"],
        first.headers["Location"],
    ]


def test_only_an_accepted_compose_has_a_location(market: Market):
    address = issue_next(market)
    for _ in range(2):
        answer = market.compose(address, transfers=[(5000, "bob")], **KEY)
        assert answer.status_code == 400
        assert "Location" not in answer.headers


def test_a_replay_of_an_answer_that_an_old_web_kept_has_no_location(market: Market):
    address = issue_next(market)
    first = market.compose(address, transfers=[(1, "bob")], **KEY)
    market.rows("UPDATE idempotency_keys SET operation_id = NULL")
    again = market.compose(address, transfers=[(1, "bob")], **KEY)
    assert (again.status_code, again.json) == (200, first.json)
    assert "Location" not in again.headers


def test_races_of_composes_and_orders_with_one_key_have_one_winner(market: Market):
    addresses = [issue_next(market) for _ in range(4)]

    def compose(address: str) -> str:
        answer = market.compose(address, transfers=[(1, "bob")], **KEY)
        return "compose" if answer.status_code == 200 else str(answer.status_code)

    def order_transfer() -> str:
        try:
            order(market, "k")
        except (KeyInUse, KeyReused) as error:
            return str(error.code)
        return "order"

    calls = [lambda each=each: compose(each) for each in addresses] + [order_transfer] * 4
    outcomes = at_once(*calls)
    winners = {each for each in outcomes if each in {"compose", "order"}}
    assert len(winners) == 1, outcomes
    assert market.value("SELECT count(*) FROM operations") == 1
    assert market.value("SELECT count(*) FROM batches") == (winners == {"compose"})
