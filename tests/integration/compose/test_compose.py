"""Compose through the API, up to what the ledger holds in the end."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import make_url, text

from origin.compose import queries
from origin.identity import authentication
from origin.identity.queries import active_user_id
from tests.support.database import rows
from tests.support.market import (
    BEGIN,
    BOBS_CONSUMPTION,
    CONSUMPTION,
    OTHER_CONSUMPTION,
    PRODUCTION,
    Market,
)
from tests.support.world import at_once

SPENT = {
    "success": False,
    "message": "DataHubService takes this account's tokens no more: its holder must log in here again",
}
DONE = {"success": True, "message": None}


def test_a_compose_is_visible_at_once_and_settles_later(market: Market):
    """Transfer 100 and 250, retire 50, keep 600."""
    measurement = market.consume(amount=70)
    address = market.issue(1000)
    answer = market.compose(
        address, transfers=[(100, "bob"), (250, "bob")], retires=[(50, CONSUMPTION)]
    )
    assert (answer.status_code, answer.json) == (200, DONE)

    assert market.total("alice", category="stored") == 600
    assert market.total("alice", category="retired") == 50
    assert market.total("alice", retireGsrn=[CONSUMPTION], retireAddress=[measurement]) == 50
    assert market.total("bob", category="stored") == 350
    assert market.amounts("alice") == market.amounts("bob") == []

    market.settle()
    assert market.batches() == [("COMPLETED", None)]
    assert market.amounts("alice", category="stored") == [600]
    assert market.amounts("alice", category="retired") == [50]
    assert market.amounts("alice", category="issued") == [1000]
    assert market.amounts("bob") == [100, 250]


def test_the_ledger_holds_what_the_accounts_say(market: Market):
    """Each part stands on the ledger at its own address; the source leads to all of them."""
    measurement = market.consume(amount=70)
    address = market.issue(1000)
    market.compose(address, transfers=[(100, "bob")], retires=[(50, CONSUMPTION)])
    market.settle()
    state = market.sandbox.ledger.state()
    rows = market.rows(
        "SELECT address, amount, stored, retired FROM ggos WHERE parent_id IS NOT NULL"
    )
    assert state[address]["next"]["action"] == "SPLIT"
    assert sorted(state[address]["next"]["addresses"]) == sorted(row.address for row in rows)
    for row in rows:
        assert state[row.address]["amount"] == row.amount
        assert (state[row.address]["next"] is not None) == row.retired
    settlements = [entry for entry in state.values() if "parts" in entry]
    retired = next(row for row in rows if row.retired)
    parts = [{"ggo": retired.address, "amount": 50}]
    assert settlements == [{"measurement": measurement, "parts": parts}]


def test_a_child_keeps_what_its_parent_was(market: Market):
    address = market.issue(1000, emissions={"CO2": 1.5, "SO2": 0})
    market.compose(address, transfers=[(1000, "bob")])
    market.settle()
    token = market.tokens["bob"]
    [child] = market.post("/ggo", {"filters": {}}, token).json["results"]
    assert child.pop("address").startswith("849c0b")
    assert child == {
        "sector": "DK1",
        "begin": "2020-01-01T12:00:00+00:00",
        "end": "2020-01-01T13:00:00+00:00",
        "amount": 1000,
        "technology": None,
        "technologyCode": "T020001",
        "fuelCode": "F01050100",
        "emissions": {"CO2": 1.5, "SO2": 0},
        "issueGsrn": None,
    }


def test_a_received_ggo_can_be_composed_in_turn(market: Market):
    """Bob retires what he got, Alice splits her remainder: keys m/0/k sign."""
    market.consume(BOBS_CONSUMPTION, 300)
    market.compose(market.issue(1000), transfers=[(300, "bob")])
    market.settle()
    [received] = market.listed("bob")
    [kept] = [ggo for ggo in market.listed("alice") if ggo["amount"] == 700]
    whole = market.compose(received["address"], retires=[(300, BOBS_CONSUMPTION)], subject="bob")
    split = market.compose(kept["address"], transfers=[(1, "alice"), (2, "bob")])
    assert whole.json == split.json == DONE
    market.settle()
    assert [state for state, _ in market.batches()] == ["COMPLETED"] * 3
    assert market.amounts("bob", category="retired") == [300]
    assert market.amounts("bob", category="stored") == [2]
    assert sorted(market.amounts("alice", category="stored")) == [1, 697]


def test_a_retire_of_the_whole_needs_no_split(market: Market):
    market.consume(amount=1000)
    address = market.issue(1000)
    assert market.compose(address, retires=[(1000, CONSUMPTION)]).json == DONE
    market.settle()
    assert market.rows("SELECT count(*) FROM ggos")[0][0] == 1
    [(state, next_)] = [
        (row[0], market.sandbox.ledger.state()[address]["next"]["action"])
        for row in market.batches()
    ]
    assert (state, next_) == ("COMPLETED", "RETIRE")
    assert market.amounts("alice", category="retired") == [1000]


def test_several_retires_in_one_compose(market: Market):
    """Two to one measurement, one to another: each a transaction, all in one batch."""
    market.consume(amount=100)
    market.consume(OTHER_CONSUMPTION, 100)
    retires = [(60, CONSUMPTION), (40, CONSUMPTION), (100, OTHER_CONSUMPTION)]
    assert market.compose(market.issue(1000), retires=retires).json == DONE
    market.settle()
    assert [state for state, _ in market.batches()] == ["COMPLETED"]
    assert market.total("alice", category="retired") == 200


def refused(market: Market, address: str, message: Any, **order: Any) -> None:
    """The compose is refused in these words and leaves no trace."""
    before = market.snapshot()
    answer = market.compose(address, **order)
    assert (answer.status_code, answer.json) == (400, {"success": False, "message": message})
    assert market.snapshot() == before


def test_refusals_leave_no_trace(market: Market):
    address = market.issue(1000)
    market.consume(amount=10)
    refused(market, address, "Nothing to transfer/retire")
    refused(
        market,
        address,
        "Requested amount exceeds available amount",
        transfers=[(1000, "bob")],
        retires=[(1, CONSUMPTION)],
    )
    refused(
        market,
        address,
        {"transfers": {"1": {"account": ["No user exists with subject: carol"]}}},
        transfers=[(1, "bob"), (1, "carol")],
    )
    least = ["Must be greater than or equal to 1."]
    refused(market, address, {"transfers": {"0": {"amount": least}}}, transfers=[(0, "bob")])
    for gsrn in (PRODUCTION, BOBS_CONSUMPTION, "unknown"):
        refused(market, address, f"MeteringPoint unavailable (GSRN: {gsrn})", retires=[(1, gsrn)])
    refused(
        market,
        address,
        f"No measurement available at {BEGIN.isoformat()} for GSRN {OTHER_CONSUMPTION}",
        retires=[(1, OTHER_CONSUMPTION)],
    )
    refused(
        market,
        address,
        "Can only retire up to 4 (you tried to retire 5)",
        retires=[(6, CONSUMPTION), (5, CONSUMPTION)],
    )
    unavailable = "GGO not found or is unavailable: "
    refused(market, address, unavailable + address, transfers=[(1, "bob")], subject="bob")
    refused(market, "849c0b", unavailable + "849c0b", transfers=[(1, "bob")])


def test_a_disabled_account_receives_nothing(market: Market):
    address = market.issue(1000)
    market.post("/auth/disable-user", None, market.tokens["bob"])
    refused(market, address, "Account unavailable (bob)", transfers=[(1, "bob")])


def test_another_sector_can_not_be_retired_to(market: Market):
    gsrn = "571313180400000555"
    market.sandbox.datahub.add_meteringpoint("alice", gsrn, "consumption", "DK2", webhooks="none")
    market.point("alice", gsrn, type="consumption", sector="DK2")
    while market.run_jobs():
        pass
    measurement = market.consume(gsrn, 100)
    message = f"Can not retire GGO to measurement {measurement}"
    refused(market, market.issue(1000), message, retires=[(1, gsrn)])


def test_what_is_in_flight_counts_against_the_measurement(market: Market):
    market.consume(amount=100)
    assert market.compose(market.issue(1000), retires=[(60, CONSUMPTION)]).json == DONE
    market.settle()
    [kept] = [ggo for ggo in market.listed("alice") if ggo["amount"] == 940]
    message = "Can only retire up to 40 (you tried to retire 41)"
    refused(market, kept["address"], message, retires=[(41, CONSUMPTION)])
    assert market.compose(kept["address"], retires=[(40, CONSUMPTION)]).json == DONE


def test_a_body_that_is_no_order_is_refused(market: Market):
    before = market.snapshot()
    bearer = {"Authorization": f"Bearer {market.tokens['alice']}"}
    for body in (
        b"",
        b"  ",
        b"nope",
        b"[]",
        b"1",
        b'{"address": 1}',
        b'{"address": "\\u0000"}',
        b"\xff",
    ):
        answer = market.client().post("/compose", data=body, headers=bearer)
        assert (answer.status_code, answer.json["success"]) == (400, False), body
    assert market.snapshot() == before


def test_a_content_type_is_not_held_against_json(market: Market):
    address = market.issue(10)
    answer = market.client().post(
        "/compose",
        data=f'{{"address": "{address}", "retires": null, '
        '"transfers": [{"amount": 1, "account": "bob", "reference": null}]}',
        headers={
            "Authorization": f"Bearer {market.tokens['alice']}",
            "Content-Type": "text/plain",
        },
    )
    assert answer.json == DONE


def test_ten_composes_of_one_ggo_at_once_and_one_wins(market: Market):
    address = market.issue(1000)
    order = {"transfers": [(100, "bob")]}
    answers = at_once(*[lambda: market.compose(address, **order)] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
    market.settle()
    assert (market.total("alice", category="stored"), market.total("bob")) == (900, 100)


def test_two_composes_that_retire_to_one_measurement_at_once(market: Market):
    """Never above what was measured: one of 80 and 90 fits into 100, not both."""
    market.consume(amount=100)
    market.compose(market.issue(1000), transfers=[(500, "alice")])
    market.settle()
    halves = [ggo["address"] for ggo in market.listed("alice") if ggo["amount"] == 500]
    first, second = halves
    answers = at_once(
        lambda: market.compose(first, retires=[(80, CONSUMPTION)]),
        lambda: market.compose(second, retires=[(90, CONSUMPTION)]),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert market.total("alice", category="retired") in {80, 90}


def test_the_roles_own_isolation_is_no_matter(database_uri: str, new_market: Callable[..., Market]):
    """With REPEATABLE READ, each of those who wait would still see nothing retired."""
    url = make_url(database_uri)
    rows(
        database_uri,
        f'ALTER ROLE "{url.username}" IN DATABASE "{url.database}" '
        "SET default_transaction_isolation = 'repeatable read'",
    )
    market = new_market()
    market.consume(amount=40)
    market.compose(market.issue(100), transfers=[(25, "alice")] * 4)
    market.settle()
    parts = [ggo["address"] for ggo in market.listed("alice") if ggo["amount"] == 25]
    answers = at_once(
        *[lambda a=address: market.compose(a, retires=[(25, CONSUMPTION)]) for address in parts]
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert market.total("alice", category="retired") == 25


def test_many_small_retires_at_once_fill_the_measurement_exactly(market: Market):
    market.consume(amount=50)
    market.compose(market.issue(1000), transfers=[(100, "alice")] * 9)
    market.settle()
    parts = [ggo["address"] for ggo in market.listed("alice") if ggo["amount"] == 100]
    answers = at_once(
        *[lambda a=address: market.compose(a, retires=[(10, CONSUMPTION)]) for address in parts]
    )
    assert [answer.status_code for answer in answers].count(200) == 5
    assert market.total("alice", category="retired") == 50
    market.settle()
    assert {state for state, _ in market.batches()} == {"COMPLETED"}


def test_composes_that_share_recipients_do_not_lock_each_other_out(market: Market):
    """Each hands out keys of both accounts."""
    market.compose(market.issue(1000), transfers=[(100, "alice")] * 9)
    market.settle()
    parts = [ggo["address"] for ggo in market.listed("alice") if ggo["amount"] == 100]
    both = {"transfers": [(10, "bob"), (10, "alice")]}
    answers = at_once(*[lambda a=address: market.compose(a, **both) for address in parts])
    assert {answer.status_code for answer in answers} == {200}


def test_key_indexes_are_never_used_twice(market: Market):
    """Not even after a rollback."""
    address = market.issue(1000)
    for _ in range(3):
        market.sandbox.ledger.refuse_next()
        assert market.compose(address, transfers=[(1, "bob")]).json == DONE
        market.settle()
    market.compose(address, transfers=[(1, "bob")])
    indexes = market.rows("SELECT owner_id, key_index FROM ggos WHERE parent_id IS NOT NULL")
    assert sorted(indexes) == sorted([(market.alice, 3), (market.bob, 3)])


def test_datahub_down_is_a_passing_matter(market: Market):
    address = market.issue(1000)
    before = market.snapshot()
    market.datahub.fault(endpoint="/measurements/consumed", status=500)
    answer = market.compose(address, retires=[(1, CONSUMPTION)])
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert market.snapshot() == before


@pytest.mark.parametrize("body", [{"what": 1}, {"success": True}, {"success": True, "x": None}])
def test_datahubs_oddity_is_no_refusal(market: Market, body: dict[str, Any]):
    """A `400` would be final for the client."""
    address = market.issue(1000)
    before = market.snapshot()
    market.datahub.fault(endpoint="/measurements/consumed", status=200, body=body, times=1)
    assert market.compose(address, retires=[(1, CONSUMPTION)]).status_code == 502
    assert market.snapshot() == before


def test_the_same_key_and_body_is_answered_once(market: Market):
    address = market.issue(1000)
    key = {"Idempotency-Key": "one"}
    first = market.compose(address, transfers=[(100, "bob")], **key)
    again = market.compose(address, transfers=[(100, "bob")], **key)
    assert (again.status_code, again.json) == (first.status_code, first.json) == (200, DONE)
    assert market.total("bob") == 100
    other = market.compose(address, transfers=[(101, "bob")], **key)
    assert other.status_code == 422


def test_a_refusal_is_repeated_under_its_key(market: Market):
    key = {"Idempotency-Key": "one"}
    first = market.compose("849c0b", transfers=[(100, "bob")], **key)
    assert first.status_code == 400
    assert market.compose("849c0b", transfers=[(100, "bob")], **key).json == first.json


def test_a_passing_failure_is_not_kept_under_its_key(market: Market):
    address = market.issue(1000)
    market.consume(amount=100)
    key = {"Idempotency-Key": "one"}
    market.datahub.fault(endpoint="/measurements/consumed", status=500)
    assert market.compose(address, retires=[(1, CONSUMPTION)], **key).status_code == 503
    assert market.compose(address, retires=[(1, CONSUMPTION)], **key).json == DONE


def test_spent_tokens_of_the_account_are_no_fault_of_the_callers_token(market: Market):
    """A new login cures it, also under the same Idempotency-Key; another token wouldn't."""
    address = market.issue(1000)
    market.consume(amount=100)
    key = {"Idempotency-Key": "one"}
    market.hydra.control("revoke", {"sub": "alice"})
    market.tokens["alice"] = market.token("alice")
    before = market.snapshot()
    for headers in ({}, key, key):
        answer = market.compose(address, retires=[(1, CONSUMPTION)], **headers)
        assert (answer.status_code, answer.json) == (403, SPENT), answer.text
        assert "WWW-Authenticate" not in answer.headers
    assert market.rows("SELECT * FROM idempotency_keys") == before["idempotency_keys"]
    assert market.amounts("alice") == [1000]
    market.login("alice")
    assert market.compose(address, retires=[(1, CONSUMPTION)], **key).json == DONE


def test_the_same_key_ten_times_at_once_composes_once(market: Market):
    """The others are told to wait, or get the answer: never a second compose."""
    address = market.issue(1000)
    key = {"Idempotency-Key": "one"}
    order = {"transfers": [(100, "bob")]}
    answers = at_once(*[lambda: market.compose(address, **order, **key)] * 10)
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert market.compose(address, **order, **key).json == DONE
    assert len(market.batches()) == 1


def test_a_key_whose_request_died_is_taken_over_when_its_lease_ends(market: Market):
    address = market.issue(1000)
    key = {"Idempotency-Key": "one"}
    market.compose(address, transfers=[(100, "bob")], **key)
    # As a process leaves it that dies before its transaction.
    market.rows("UPDATE idempotency_keys SET status = NULL, response = NULL")
    assert market.compose(address, transfers=[(100, "bob")], **key).status_code == 409
    with market.runtime.database.transaction() as session:
        session.execute(text("UPDATE idempotency_keys SET lease_until = now()"))
    assert market.compose(address, transfers=[(100, "bob")], **key).status_code == 400


def test_an_account_that_is_disabled_meanwhile_receives_nothing(market: Market):
    """Between the first look and the transaction, while DataHub is asked."""
    market.consume(amount=10)
    address = market.issue(1000)
    ask = market.runtime.datahub.consumed_measurement

    def disabled_meanwhile(*arguments: Any) -> Any:
        market.post("/auth/disable-user", None, market.tokens["bob"])
        return ask(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(market.runtime.datahub, "consumed_measurement", disabled_meanwhile)
        answer = market.compose(address, transfers=[(1, "bob")], retires=[(1, CONSUMPTION)])
    assert (answer.status_code, answer.json["message"]) == (400, "Account unavailable (bob)")
    assert market.batches() == []


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}])
def test_a_caller_who_is_disabled_after_authentication_composes_nothing(
    market: Market, key: dict[str, str]
) -> None:
    address = market.issue(1000)

    def disable_after(database: Any, subject: str) -> int | None:
        user_id = active_user_id(database, subject)
        with market.runtime.database.transaction() as session:
            session.execute(text("UPDATE users SET disabled_at = now() WHERE subject = 'alice'"))
        return user_id

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication, "active_user_id", disable_after)
        answer = market.compose(address, transfers=[(1, "bob")], **key)
    assert (answer.status_code, answer.json["message"]) == (401, "The token is not valid")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert market.batches() == []


def test_too_many_parts_are_refused(market: Market):
    answer = market.compose(market.issue(2000), transfers=[(1, "bob")] * 1001)
    assert (answer.status_code, list(answer.json["message"])) == (400, ["transfers"])


def test_key_indexes_are_handed_out_once_to_whoever_asks_at_the_same_time(market: Market):
    """By many for users that they share, in all orders: none is handed out twice, nobody waits in a circle."""
    with market.runtime.database.transaction() as session:
        insert = text(
            "INSERT INTO users (subject, master_key) SELECT 'u' || n, '' FROM generate_series(1, 12) n "
            "RETURNING id"
        )
        ids = list(session.scalars(insert))

    def allocate(seed: int) -> Counter[tuple[int, int]]:
        chance, found = random.Random(seed), Counter[tuple[int, int]]()
        for _ in range(25):
            counts = {
                each: chance.randint(1, 3) for each in chance.sample(ids, chance.randint(1, 12))
            }
            with market.runtime.database.raw_connection() as link:
                first = queries.allocate_trade_indexes(link, counts)
            found.update((each, first[each] + n) for each in counts for n in range(counts[each]))
        return found

    with ThreadPoolExecutor(8) as pool:
        handed_out = sum(pool.map(allocate, range(8)), Counter())
    assert set(handed_out.values()) == {1}
    following = market.rows("SELECT id, next_trade_index FROM users WHERE master_key = ''")
    assert Counter(each for each, _ in handed_out) == dict(map(tuple, following))
