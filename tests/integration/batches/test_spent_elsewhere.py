"""Sources that another operation spent on the ledger: nothing is invented, nothing counts twice."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest

from origin.batches.client.sdk import Split, sign_batch
from origin.keys.derivation import AddressKind, ExtendedKey, period_key
from tests.support.auditor import audit, read_books, read_ledger
from tests.support.market import (
    BOBS_CONSUMPTION,
    CONSUMPTION,
    OTHER_CONSUMPTION,
    PRODUCTION,
    Market,
)
from tests.support.world import at_once

Wishes = dict[str, Sequence[tuple[int, str]]]


def subscribed(market: Market) -> None:
    """Subscribe both users to received GGOs."""
    market.rows(
        "INSERT INTO webhook_subscriptions (user_id, event, url, host, secret) "
        "SELECT id, 'ON_GGO_RECEIVED', 'http://app.example/hook', 'app.example', 's' FROM users"
    )


def restored(market: Market) -> None:
    """Restore the database to a backup from before the first compose."""
    for table in ("webhook_deliveries", "batch_events", "transactions", "batches"):
        market.rows(f"DELETE FROM {table}")  # noqa: S608 - ours
    market.rows("DELETE FROM ggos WHERE parent_id IS NOT NULL")
    market.rows(
        "UPDATE ggos SET stored = true, retired = false, locked = false, "
        "retire_gsrn = NULL, retire_address = NULL"
    )
    market.rows("UPDATE users SET next_trade_index = 0")


def amounts(market: Market, subject: str = "alice") -> dict[str, int]:
    """Return the account's Wh by category."""
    categories = ("issued", "stored", "retired", "expired")
    return {each: market.total(subject, category=each) for each in categories}


_LOST_AND_AGAIN: dict[str, tuple[Wishes, Wishes]] = {
    "another amount": ({"transfers": [(300, "bob")]}, {"transfers": [(100, "bob")]}),
    "retired there, kept here": (
        {"retires": [(500, CONSUMPTION)]},
        {"transfers": [(500, "alice")]},
    ),
    "a split without its retire": (
        {"transfers": [(500, "alice")]},
        {"retires": [(500, CONSUMPTION)]},
    ),
    "retired to another measurement": (
        {"retires": [(500, CONSUMPTION)]},
        {"retires": [(500, OTHER_CONSUMPTION)]},
    ),
    "retired whole to another": (
        {"retires": [(1000, CONSUMPTION)]},
        {"retires": [(1000, OTHER_CONSUMPTION)]},
    ),
    "retired whole, split here": (
        {"retires": [(1000, CONSUMPTION)]},
        {"transfers": [(100, "bob")]},
    ),
}


@pytest.mark.parametrize("case", _LOST_AND_AGAIN)
def test_a_split_to_the_same_addresses_is_not_ours_after_a_restore(market: Market, case: str):
    """The key indexes fell back with the database: the addresses are the same, the operation is not."""
    lost, again = _LOST_AND_AGAIN[case]
    market.consume(amount=1000)
    market.consume(gsrn=OTHER_CONSUMPTION, amount=1000)
    address = market.issue(1000)
    assert market.compose(address, **lost).status_code == 200
    market.settle()
    restored(market)
    subscribed(market)
    assert market.compose(address, **again).status_code == 200
    market.settle()
    [(state, reason)] = market.batches()
    assert state == "DECLINED"
    assert "spent" in str(reason)
    assert market.rows("SELECT * FROM webhook_deliveries") == []
    assert amounts(market) == {"issued": 1000, "stored": 0, "retired": 0, "expired": 0}
    assert amounts(market, "bob") == {"issued": 0, "stored": 0, "retired": 0, "expired": 0}
    assert market.amounts("alice") == []


@pytest.mark.parametrize(
    "wishes",
    [
        {"transfers": [(300, "bob")], "retires": [(50, CONSUMPTION), (20, OTHER_CONSUMPTION)]},
        {"retires": [(1000, CONSUMPTION)]},
    ],
)
def test_the_same_compose_is_completed_after_a_restore(market: Market, wishes: Wishes):
    """It is INVALID as the source is spent, but by this split, part for part."""
    market.consume(amount=1000)
    market.consume(gsrn=OTHER_CONSUMPTION, amount=1000)
    address = market.issue(1000)
    market.compose(address, **wishes)
    market.settle()
    before = [amounts(market, each) for each in ("alice", "bob")]
    restored(market)
    assert market.compose(address, **wishes).status_code == 200
    market.settle()
    assert [state for state, _ in market.batches()] == ["COMPLETED"]
    assert [amounts(market, each) for each in ("alice", "bob")] == before


def spend_by_another_operation(market: Market, begin: datetime | None = None) -> None:
    """Split the GGO of this hour on the ledger, by its key, without the service."""
    point = ExtendedKey.from_base58(market.sandbox.datahub.keys(PRODUCTION)[PRODUCTION])
    key = period_key(point, begin or market.begin)
    target = point.child(7).address(AddressKind.GGO)
    count = len(market.sandbox.ledger.batches())
    market.runtime.ledger.post(sign_batch(key, Split(key, [(target, 1000)]), []).batch_list)
    market.sandbox.ledger.batches(count=count + 1, wait=10)


def complaints(market: Market) -> list[str]:
    """Return what the auditor finds."""
    uri = market.settings.database_uri.get_secret_value().replace("+psycopg2", "")
    return audit(read_books(uri), read_ledger(market.sandbox.urls["ledger"]))


def reconciled(market: Market) -> list[tuple[str, str]]:
    """Reconcile everything; return kind and address of each difference."""
    for _ in market.runtime.reconciliation.run(anew=True, calls_per_second=10_000):
        pass
    return sorted(
        (each.kind, each.address) for each in market.runtime.reconciliation.open_differences()
    )


def test_a_foreign_operation_declines_the_batch_and_blocks_its_source(market: Market):
    market.consume(amount=1000)
    address = market.issue(1000)
    other = market.issue(77, begin=market.hour(1))
    spend_by_another_operation(market)
    wishes: Wishes = {"transfers": [(300, "bob")], "retires": [(50, CONSUMPTION)]}
    assert market.compose(address, **wishes).status_code == 200
    market.settle()
    [(state, reason)] = market.batches()
    assert state == "DECLINED"
    assert str(reason).startswith("another operation spent the source on the ledger; of this batch")
    assert amounts(market) == {"issued": 1077, "stored": 77, "retired": 0, "expired": 0}
    assert market.total("bob") == 0
    assert market.amounts("alice") == [77]
    assert market.amounts("alice", category="issued") == [77]
    again = market.compose(address, transfers=[(1, "bob")])
    assert again.status_code == 400
    assert again.json["message"] == f"GGO not found or is unavailable: {address}"
    assert market.compose(other, transfers=[(7, "bob")]).status_code == 200
    market.settle()
    assert complaints(market) == [f"1000 Wh at {address} were spent elsewhere"]


def test_a_received_ggo_that_was_spent_elsewhere_counts_nowhere(market: Market):
    """Issued to Alice, sent to Bob: Bob's parts are rolled back, and Alice's GGO stays sent."""
    market.consume(gsrn=BOBS_CONSUMPTION, amount=1000)
    market.compose(market.issue(1000), transfers=[(1000, "bob")])
    market.settle()
    [received] = market.listed("bob")
    market.compose(received["address"], retires=[(400, BOBS_CONSUMPTION)], subject="bob")
    forged = {"action": "SPLIT", "addresses": ["849c0b"]}
    record = {**market.sandbox.ledger.state()[received["address"]], "next": forged}
    refused_and_read_as(market, received["address"], record)
    assert [state for state, _ in market.batches()] == ["COMPLETED", "DECLINED"]
    assert amounts(market, "bob") == {"issued": 0, "stored": 0, "retired": 0, "expired": 0}
    assert market.listed("bob") == []
    assert amounts(market)["issued"] == 1000


def refused_and_read_as(market: Market, address: str, record: dict[str, object]) -> None:
    """Run the batch; the ledger refuses it, and gives this state of its source once."""
    market.sandbox.ledger.refuse_next()
    count = len(market.sandbox.ledger.batches())
    market.run_batches()
    market.sandbox.ledger.batches(count=count + 1, wait=10)
    data = base64.b64encode(json.dumps(record).encode()).decode()
    market.sandbox.ledger.fault(f"/state/{address}", status=200, body={"data": data})
    market.run_batches()


def test_a_source_that_was_spent_elsewhere_is_reported_until_it_is_repaired(market: Market):
    """Status, reconciliation and metrics report it at once; `--repair` leaves it alone."""
    address = market.issue(1000)
    spend_by_another_operation(market)
    market.compose(address, transfers=[(300, "bob")])
    market.settle()
    run = market.app.test_cli_runner().invoke
    commands = (
        ["ledger", "status"],
        ["ledger", "reconcile", "--rate", "10000"],
        ["ledger", "reconcile", "--anew", "--repair", "--rate", "10000"],
        ["ledger", "status"],
    )
    for command in commands:
        result = run(args=command)
        assert result.exit_code == 1, result.output
        assert "spent_elsewhere" in result.output
        assert address in result.output
    metrics = market.client().get("/metrics").text
    assert 'account_service_ledger_differences{kind="spent_elsewhere"} 1.0' in metrics
    assert 'account_service_ledger_differences{kind="stranded"} 0.0' in metrics
    assert market.rows("SELECT count(*) FROM ledger_differences") == [(1,)]


def held_up(market: Market, **wishes: Sequence[tuple[int, str]]) -> tuple[str, bytes]:
    """Return a GGO of 1000 Wh whose batch was declined, and the bytes of a POST still on its way."""
    address = market.issue(1000)
    market.sandbox.ledger.refuse_next()
    assert market.compose(address, **wishes).status_code == 200
    market.settle()
    assert [state for state, _ in market.batches()] == ["DECLINED"]
    return address, bytes(market.value("SELECT signed_batch FROM batches"))


def arrives(market: Market, late: bytes) -> None:
    """Deliver the POST to a validator that has restarted since: it executes the batch."""
    market.sandbox.ledger.forget()
    market.runtime.ledger.post(late)
    market.sandbox.ledger.batches(count=1, wait=10)


_HELD_UP: list[Wishes] = [
    {"transfers": [(300, "bob")], "retires": [(50, CONSUMPTION), (20, CONSUMPTION)]},
    {"retires": [(1000, CONSUMPTION)]},
]


@pytest.mark.parametrize("wishes", _HELD_UP)
def test_a_declined_batch_is_done_again_when_its_ggo_was_composed_anew(
    market: Market, wishes: Wishes
):
    """The batch of the second compose is declined, and the first one is completed."""
    market.consume(amount=1000)
    address, late = held_up(market, **wishes)
    arrives(market, late)
    subscribed(market)
    assert market.compose(address, transfers=[(700, "bob")]).status_code == 200
    assert market.total("bob", category="stored") == 700
    market.settle()
    [first, second] = market.batches()
    assert first[0] == "COMPLETED"
    assert second[0] == "DECLINED"
    assert "batch 1, declined before, spent the source" in str(second[1])
    sent = sum(wh for wh, _ in wishes.get("transfers", ()))
    retired = sum(wh for wh, _ in wishes["retires"])
    kept = 1000 - sent - retired
    assert amounts(market) == {"issued": 1000, "stored": kept, "retired": retired, "expired": 0}
    assert market.total("bob", category="stored") == sent
    deliveries = market.rows("SELECT count(*) FROM webhook_deliveries")[0][0]
    assert deliveries == (2 if sent else 0)
    assert complaints(market) == []
    assert reconciled(market) == []


@pytest.mark.parametrize("wishes", _HELD_UP)
def test_reconciliation_does_a_declined_batch_again(market: Market, wishes: Wishes):
    """Without `--repair`, and without another compose."""
    market.consume(amount=1000)
    address, late = held_up(market, **wishes)
    subscribed(market)
    assert reconciled(market) == []
    arrives(market, late)
    assert reconciled(market) == []
    assert [state for state, _ in market.batches()] == ["COMPLETED"]
    assert market.total("alice", category="retired") == sum(wh for wh, _ in wishes["retires"])
    assert market.compose(address, transfers=[(1, "bob")]).status_code == 400
    deliveries = market.rows("SELECT count(*) FROM webhook_deliveries")[0][0]
    assert deliveries == (2 if "transfers" in wishes else 0)
    assert complaints(market) == []


def test_a_batch_is_done_again_while_its_ggo_is_composed(market: Market):
    """In either order the first batch is completed, and nothing counts twice."""
    market.consume(amount=1000)
    address, late = held_up(market, **_HELD_UP[0])
    arrives(market, late)
    _, composed = at_once(
        lambda: reconciled(market), lambda: market.compose(address, transfers=[(700, "bob")])
    )
    market.settle()
    assert reconciled(market) == []
    ended = [state for state, _ in market.batches()]
    assert ended == ["COMPLETED", *(["DECLINED"] if composed.status_code == 200 else [])]
    assert amounts(market)["stored"] + market.total("bob") == 1000 - 70
    assert complaints(market) == []


def test_a_blocked_ggo_is_freed_if_its_batch_stands_on_the_ledger_after_all(market: Market):
    """A node gave the state of another fork; the batch was committed after all."""
    address = market.issue(1000)
    market.compose(address, transfers=[(300, "bob")])
    forged = {"action": "SPLIT", "addresses": ["849c0b"]}
    record = {**market.sandbox.ledger.state()[address], "next": forged}
    refused_and_read_as(market, address, record)
    assert reconciled(market) == [("spent_elsewhere", address)]
    assert market.total("bob") == 0
    arrives(market, bytes(market.value("SELECT signed_batch FROM batches")))
    assert reconciled(market) == []
    assert [state for state, _ in market.batches()] == ["COMPLETED"]
    assert (market.total("bob"), market.total("alice", category="stored")) == (300, 700)
    assert market.value("SELECT repair FROM ledger_differences") is not None
    assert complaints(market) == []


def test_a_batch_that_can_not_be_done_again_does_not_stop_a_run(
    market: Market, caplog: pytest.LogCaptureFixture
):
    """A part's address is taken: that is logged, and the run goes on to its end."""
    address, late = held_up(market, transfers=[(300, "bob")])
    arrives(market, late)
    part = market.value("SELECT undone -> 'parts' -> 0 ->> 'address' FROM batches")
    market.issue(500, begin=market.hour(1))
    market.rows("UPDATE ggos SET address = :part WHERE amount = 500", part=part)
    assert ("spent_there", address) in reconciled(market)
    assert "reconcile.cannot_redo" in [getattr(each, "event", "") for each in caplog.records]
    assert [state for state, _ in market.batches()] == ["DECLINED"]
    assert market.total("alice", category="stored") == 1500


def test_a_later_batch_is_declined_if_the_earlier_one_can_not_be_done_again(market: Market):
    """Nothing of the later batch counts any more, and its source is reported."""
    address, late = held_up(market, transfers=[(300, "bob")])
    arrives(market, late)
    part = market.value("SELECT undone -> 'parts' -> 0 ->> 'address' FROM batches")
    market.issue(500, begin=market.hour(1))
    market.rows("UPDATE ggos SET address = :part WHERE amount = 500", part=part)
    assert market.compose(address, transfers=[(700, "bob")]).status_code == 200
    market.settle()
    assert [state for state, _ in market.batches()] == ["DECLINED", "DECLINED"]
    assert market.total("bob") == 0
    assert market.total("alice", category="stored") == 500
    assert ("spent_elsewhere", address) in reconciled(market)


def test_a_batch_that_can_not_be_judged_stops_no_other(
    market: Market, caplog: pytest.LogCaptureFixture
):
    """The batches behind it in the run are ended."""
    market.consume(amount=1000)
    spent, other = market.issue(1000), market.issue(500, begin=market.hour(1))
    spend_by_another_operation(market)
    assert market.compose(spent, retires=[(1000, CONSUMPTION)]).status_code == 200
    assert market.compose(other, transfers=[(300, "bob")]).status_code == 200
    market.sandbox.ledger.refuse_next(2)
    market.run_batches()
    market.sandbox.ledger.batches(count=3, wait=10)
    market.rows("UPDATE ggos SET retire_address = 'x' WHERE retired")
    market.run_batches()
    assert [state for state, _ in market.batches()] == ["SUBMITTED", "DECLINED"]
    assert "batch.cannot_judge" in [getattr(each, "event", "") for each in caplog.records]


def test_a_blocked_ggo_stays_reported_while_the_ledger_can_not_be_read(market: Market):
    address = market.issue(1000)
    spend_by_another_operation(market)
    market.compose(address, transfers=[(300, "bob")])
    market.settle()
    market.sandbox.ledger.fault(f"/state/{address}", status=200, body={"data": "bm8="}, times=None)
    assert reconciled(market) == [("spent_elsewhere", address), ("unreadable", address)]


def _forgotten(market: Market) -> None:
    market.sandbox.ledger.forget()


def _pending_for_long(market: Market) -> None:
    market.sandbox.ledger.pretend(market.value("SELECT ledger_batch_id FROM batches"), "PENDING")
    market.run_batches()
    assert market.batches()[0][0] == "SUBMITTED"
    market.rows("UPDATE batches SET created_at = now() - interval '7 h'")


@pytest.mark.parametrize("become", [_forgotten, _pending_for_long])
def test_unknown_and_stuck_pending_batches_are_judged_by_state(
    market: Market, become: Callable[[Market], None]
):
    address = market.issue(1000)
    spend_by_another_operation(market)
    market.compose(address, transfers=[(300, "bob")])
    market.run_batches()
    market.sandbox.ledger.batches(count=2, wait=10)
    become(market)
    market.run_batches()
    assert market.batches()[0][0] == "DECLINED"
    assert amounts(market)["stored"] == 0


def test_a_stuck_pending_batch_with_an_unspent_source_waits(market: Market):
    with market.sandbox.ledger.held():
        market.compose(market.issue(1000), transfers=[(300, "bob")])
        market.run_batches()
        market.rows("UPDATE batches SET created_at = now() - interval '7 h'")
        market.run_batches()
        assert market.batches()[0][0] == "SUBMITTED"
    market.settle()
    assert market.batches()[0][0] == "COMPLETED"


def test_a_split_whose_parts_are_missing_on_the_ledger_decides_nothing(
    market: Market, caplog: pytest.LogCaptureFixture
):
    """The state contradicts itself: the reads are of two moments."""
    market.compose(market.issue(1000), transfers=[(300, "bob")])
    market.run_batches()
    [batch] = market.sandbox.ledger.batches(count=1, wait=10)
    market.sandbox.ledger.pretend(batch["id"], "INVALID")
    part = market.value("SELECT address FROM ggos WHERE amount = 300")
    market.sandbox.ledger.fault(f"/state/{part}", status=404, code=75)
    market.run_batches()
    assert market.batches()[0][0] == "SUBMITTED"
    assert "contradicts itself" in caplog.text
    market.settle()
    assert market.batches()[0][0] == "COMPLETED"


@pytest.mark.parametrize("behind_our_back", [False, True])
@pytest.mark.parametrize(
    "unanswered",
    [
        {"cut": "after"},
        {"code": 17, "process": True},
        {"code": 18, "process": True},
        {"code": 19, "process": True},
        {"status": 504, "body": "<html>", "process": True},
    ],
    ids=str,
)
def test_nothing_is_declined_while_a_post_may_be_on_its_way(
    market: Market, unanswered: dict[str, object], behind_our_back: bool
):
    """Until 600 s after it began, by PostgreSQL's clock."""
    address = market.issue(1000)
    if behind_our_back:
        spend_by_another_operation(market)
    else:
        market.sandbox.ledger.refuse_next()
    market.sandbox.ledger.fault("/batches", **unanswered)
    market.compose(address, transfers=[(300, "bob")])
    count = len(market.sandbox.ledger.batches())
    market.run_batches()
    market.sandbox.ledger.batches(count=count + 1, wait=10)
    posts = market.sandbox.ledger.count("POST /batches")
    for age in ("0 s", "599 s"):
        market.rows(f"UPDATE batches SET last_post_at = now() - interval '{age}'")  # noqa: S608
        market.run_batches()
        assert market.batches()[0][0] == "PENDING"
        assert market.total("bob", category="stored") == 300
    market.rows("UPDATE batches SET last_post_at = now() - interval '700 s'")
    market.run_batches()
    assert market.batches()[0][0] == "DECLINED"
    assert market.total("bob") == 0
    assert market.total("alice", category="stored") == (0 if behind_our_back else 1000)
    assert market.sandbox.ledger.count("POST /batches") == posts


@pytest.mark.parametrize("answer", [{"code": 10}, {"code": 31}, {"status": 413, "body": "x"}])
def test_an_answered_post_delays_nothing(market: Market, answer: dict[str, object]):
    market.sandbox.ledger.fault("/batches", **answer)
    market.sandbox.ledger.refuse_next()
    market.compose(market.issue(1000), transfers=[(300, "bob")])
    market.settle()
    assert market.batches()[0][0] == "DECLINED"


def test_a_worker_that_died_before_the_answer_delays_a_rollback(market: Market):
    market.sandbox.ledger.refuse_next()
    market.compose(market.issue(1000), transfers=[(300, "bob")])
    market.run_batches()
    market.sandbox.ledger.batches(count=1, wait=10)
    market.rows("UPDATE batches SET posts = posts + 1, last_post_at = now()")
    market.run_batches()
    assert market.batches()[0][0] == "SUBMITTED"
    market.rows("UPDATE batches SET last_post_at = now() - interval '700 s'")
    market.run_batches()
    assert market.batches()[0][0] == "DECLINED"
