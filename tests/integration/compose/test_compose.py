"""Compose through the API, until the ledger has committed it."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import make_url, text

from origin.compose.queries import compose as queries
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


def test_a_compose_is_visible_at_once_and_committed_later(market: Market):
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


def test_ledger_and_accounts_agree(market: Market):
    """Each part has its own address on the ledger, and the source's split names all of them."""
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


def test_a_part_inherits_its_sources_attributes(market: Market):
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


def test_a_received_ggo_can_be_composed_again(market: Market):
    """Bob retires his part, and Alice splits her remainder: the keys m/0/k sign."""
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


def test_a_retire_of_the_whole_ggo_makes_no_split(market: Market):
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
    """Two to one measurement and one to another are three transactions in one batch."""
    market.consume(amount=100)
    market.consume(OTHER_CONSUMPTION, 100)
    retires = [(60, CONSUMPTION), (40, CONSUMPTION), (100, OTHER_CONSUMPTION)]
    assert market.compose(market.issue(1000), retires=retires).json == DONE
    market.settle()
    assert [state for state, _ in market.batches()] == ["COMPLETED"]
    assert market.total("alice", category="retired") == 200


def rejected(market: Market, address: str, message: Any, **order: Any) -> None:
    """Check that the compose is rejected with this message and changes nothing."""
    before = market.snapshot()
    answer = market.compose(address, **order)
    assert (answer.status_code, answer.json) == (400, {"success": False, "message": message})
    assert market.snapshot() == before


def test_rejected_composes_change_nothing(market: Market):
    address = market.issue(1000)
    market.consume(amount=10)
    rejected(market, address, "Nothing to transfer/retire")
    rejected(
        market,
        address,
        "Requested amount exceeds available amount",
        transfers=[(1000, "bob")],
        retires=[(1, CONSUMPTION)],
    )
    rejected(
        market,
        address,
        {"transfers": {"1": {"account": ["No user exists with subject: carol"]}}},
        transfers=[(1, "bob"), (1, "carol")],
    )
    least = ["Must be greater than or equal to 1."]
    rejected(market, address, {"transfers": {"0": {"amount": least}}}, transfers=[(0, "bob")])
    for gsrn in (PRODUCTION, BOBS_CONSUMPTION, "unknown"):
        rejected(market, address, f"MeteringPoint unavailable (GSRN: {gsrn})", retires=[(1, gsrn)])
    rejected(
        market,
        address,
        f"No measurement available at {BEGIN.isoformat()} for GSRN {OTHER_CONSUMPTION}",
        retires=[(1, OTHER_CONSUMPTION)],
    )
    rejected(
        market,
        address,
        "Can only retire up to 4 (you tried to retire 5)",
        retires=[(6, CONSUMPTION), (5, CONSUMPTION)],
    )
    unavailable = "GGO not found or is unavailable: "
    rejected(market, address, unavailable + address, transfers=[(1, "bob")], subject="bob")
    rejected(market, "849c0b", unavailable + "849c0b", transfers=[(1, "bob")])


def test_a_disabled_account_receives_nothing(market: Market):
    address = market.issue(1000)
    market.post("/auth/disable-user", None, market.tokens["bob"])
    rejected(market, address, "Account unavailable (bob)", transfers=[(1, "bob")])


def test_a_ggo_cannot_be_retired_to_another_sector(market: Market):
    gsrn = "571313180400000555"
    market.sandbox.datahub.add_meteringpoint("alice", gsrn, "consumption", "DK2", webhooks="none")
    market.point("alice", gsrn, type="consumption", sector="DK2")
    while market.run_jobs():
        pass
    measurement = market.consume(gsrn, 100)
    message = f"Can not retire GGO to measurement {measurement}"
    rejected(market, market.issue(1000), message, retires=[(1, gsrn)])


def test_retires_in_flight_count_against_the_measurement(market: Market):
    market.consume(amount=100)
    assert market.compose(market.issue(1000), retires=[(60, CONSUMPTION)]).json == DONE
    market.settle()
    [kept] = [ggo for ggo in market.listed("alice") if ggo["amount"] == 940]
    message = "Can only retire up to 40 (you tried to retire 41)"
    rejected(market, kept["address"], message, retires=[(41, CONSUMPTION)])
    assert market.compose(kept["address"], retires=[(40, CONSUMPTION)]).json == DONE


def test_an_invalid_body_is_rejected(market: Market):
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


def test_json_is_accepted_with_any_content_type(market: Market):
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


def test_of_ten_composes_of_one_ggo_at_once_one_succeeds(market: Market):
    address = market.issue(1000)
    order = {"transfers": [(100, "bob")]}
    answers = at_once(*[lambda: market.compose(address, **order)] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
    market.settle()
    assert (market.total("alice", category="stored"), market.total("bob")) == (900, 100)


def test_two_composes_that_retire_to_one_measurement_at_once(market: Market):
    """80 or 90 of 100 measured Wh can be retired, but not both."""
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


def test_the_roles_default_isolation_is_overridden(
    database_uri: str, new_market: Callable[..., Market]
):
    """Under REPEATABLE READ every compose that waited would see nothing retired."""
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


def test_many_small_retires_at_once_use_the_headroom_exactly(market: Market):
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


def test_composes_that_share_recipients_do_not_deadlock(market: Market):
    """Each allocates key indexes of both accounts."""
    market.compose(market.issue(1000), transfers=[(100, "alice")] * 9)
    market.settle()
    parts = [ggo["address"] for ggo in market.listed("alice") if ggo["amount"] == 100]
    both = {"transfers": [(10, "bob"), (10, "alice")]}
    answers = at_once(*[lambda a=address: market.compose(a, **both) for address in parts])
    assert {answer.status_code for answer in answers} == {200}


def test_key_indexes_are_never_used_twice(market: Market):
    """Not even after a declined batch."""
    address = market.issue(1000)
    for _ in range(3):
        market.sandbox.ledger.refuse_next()
        assert market.compose(address, transfers=[(1, "bob")]).json == DONE
        market.settle()
    market.compose(address, transfers=[(1, "bob")])
    indexes = market.rows("SELECT owner_id, key_index FROM ggos WHERE parent_id IS NOT NULL")
    assert sorted(indexes) == sorted([(market.alice, 3), (market.bob, 3)])


def test_a_failing_datahub_becomes_503(market: Market):
    address = market.issue(1000)
    before = market.snapshot()
    market.datahub.fault(endpoint="/measurements/consumed", status=500)
    answer = market.compose(address, retires=[(1, CONSUMPTION)])
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert market.snapshot() == before


@pytest.mark.parametrize("body", [{"what": 1}, {"success": True}, {"success": True, "x": None}])
def test_an_odd_response_of_datahub_becomes_502(market: Market, body: dict[str, Any]):
    """A `400` would be final for the client."""
    address = market.issue(1000)
    before = market.snapshot()
    market.datahub.fault(endpoint="/measurements/consumed", status=200, body=body, times=1)
    assert market.compose(address, retires=[(1, CONSUMPTION)]).status_code == 502
    assert market.snapshot() == before


def test_the_same_key_and_body_compose_once(market: Market):
    address = market.issue(1000)
    key = {"Idempotency-Key": "one"}
    first = market.compose(address, transfers=[(100, "bob")], **key)
    again = market.compose(address, transfers=[(100, "bob")], **key)
    assert (again.status_code, again.json) == (first.status_code, first.json) == (200, DONE)
    assert market.total("bob") == 100
    other = market.compose(address, transfers=[(101, "bob")], **key)
    assert other.status_code == 422


def test_a_rejection_is_repeated_under_its_key(market: Market):
    key = {"Idempotency-Key": "one"}
    first = market.compose("849c0b", transfers=[(100, "bob")], **key)
    assert first.status_code == 400
    assert market.compose("849c0b", transfers=[(100, "bob")], **key).json == first.json


def test_a_transient_failure_is_not_stored_under_its_key(market: Market):
    address = market.issue(1000)
    market.consume(amount=100)
    key = {"Idempotency-Key": "one"}
    market.datahub.fault(endpoint="/measurements/consumed", status=500)
    assert market.compose(address, retires=[(1, CONSUMPTION)], **key).status_code == 503
    assert market.compose(address, retires=[(1, CONSUMPTION)], **key).json == DONE


def test_spent_tokens_of_the_account_become_403(market: Market):
    """A new login helps, also under the same Idempotency-Key; a new access token would not."""
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
    """The others get 409 or the stored response; none composes a second time."""
    address = market.issue(1000)
    key = {"Idempotency-Key": "one"}
    order = {"transfers": [(100, "bob")]}
    answers = at_once(*[lambda: market.compose(address, **order, **key)] * 10)
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert market.compose(address, **order, **key).json == DONE
    assert len(market.batches()) == 1


def test_a_key_is_taken_over_when_the_lease_of_a_dead_request_ends(market: Market):
    address = market.issue(1000)
    key = {"Idempotency-Key": "one"}
    market.compose(address, transfers=[(100, "bob")], **key)
    # The state that a process leaves if it dies before its transaction.
    market.rows("UPDATE idempotency_keys SET status = NULL, response = NULL")
    assert market.compose(address, transfers=[(100, "bob")], **key).status_code == 409
    with market.runtime.database.transaction() as session:
        session.execute(text("UPDATE idempotency_keys SET lease_until = now()"))
    assert market.compose(address, transfers=[(100, "bob")], **key).status_code == 400


def test_an_account_that_is_disabled_during_the_compose_receives_nothing(market: Market):
    """Between the first read and the transaction, while DataHub is asked."""
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


def test_too_many_parts_are_rejected(market: Market):
    answer = market.compose(market.issue(2000), transfers=[(1, "bob")] * 1001)
    assert (answer.status_code, list(answer.json["message"])) == (400, ["transfers"])


def test_concurrent_allocations_never_share_a_key_index(market: Market):
    """Many allocate for the same users in all orders: no index is used twice, and none deadlocks."""
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
        allocated = sum(pool.map(allocate, range(8)), Counter())
    assert set(allocated.values()) == {1}
    next_indexes = market.rows("SELECT id, next_trade_index FROM users WHERE master_key = ''")
    assert Counter(each for each, _ in allocated) == dict(map(tuple, next_indexes))
