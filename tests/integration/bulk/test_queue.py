"""Orders that a worker plans: they survive kills, and end for good."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from origin.bulk.queries import acceptance
from origin.bulk.rules import limits
from origin.bulk.service.queue import BulkQueue
from tests.support.bulk_orders import (
    got,
    operation,
    order,
    plan_of,
    retirement,
    sent,
    shown_items,
    target,
    transfer,
)
from tests.support.market import Market
from tests.support.world import at_once

BOB = "bob"


@pytest.fixture(autouse=True)
def _few_in_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GGO is few, two are many."""
    monkeypatch.setattr(limits, "MAX_CANDIDATES_IN_REQUEST", 1)


def queued(market: Market, body: dict[str, Any], subject: str = "alice") -> str:
    """Send an order that is queued; return the operation's id."""
    made = order(market, body, subject)
    assert (made["status"], made["acceptedAt"], made["totals"]["planned"]) == ("queued", None, 0)
    return str(made["id"])


def issue_three(market: Market) -> None:
    for hour in range(3):
        market.issue(100, market.hour(hour))


def run(market: Market) -> int:
    """Plan what is due."""
    return market.runtime.bulk_queue.run_due()


def make_due(market: Market) -> None:
    """Let leases and pauses end."""
    market.rows("UPDATE operations SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL")


def refusal(market: Market, operation_id: str) -> str:
    """Check that an operation is refused, and that nothing has happened; return the code."""
    found = operation(market, operation_id)
    assert found["status"] == "refused"
    assert found["completedAt"] is not None
    assert found["refusal"]["detail"]
    assert (found["acceptedAt"], found["totals"]["planned"], found["totals"]["ggos"]) == (
        None,
        0,
        0,
    )
    assert market.value("SELECT count(*) FROM batches") == 0
    return str(found["refusal"]["code"])


def test_a_large_order_is_queued_and_planned_by_a_worker(market: Market):
    issue_three(market)
    body = transfer(250)
    plan = plan_of(market, body)
    made = queued(market, {**body, "expect": {"planDigest": plan["planDigest"]}})
    assert market.wakeups.bulk == 1
    # It holds nothing.
    assert market.total("alice", category="stored") == 300
    assert run(market) == 1
    found = operation(market, made)
    assert (found["status"], found["totals"]["planned"]) == ("pending", 250)
    assert found["acceptedAt"] > found["createdAt"]
    assert len(shown_items(market, made)) == 3
    assert run(market) == 0
    market.settle()
    assert operation(market, made)["status"] == "completed"
    assert market.amounts(BOB) == [100, 100, 50]


def test_planning_finds_the_order_impossible(market: Market):
    issue_three(market)
    too_much, expects, empty = (
        queued(market, transfer(301)),
        queued(market, {**transfer(10), "expect": {"planDigest": "sha256:0"}}),
        queued(market, transfer("0.1")),
    )
    assert run(market) == 3
    assert refusal(market, too_much) == "insufficient"
    assert refusal(market, expects) == "plan_changed"
    assert refusal(market, empty) == "nothing_selected"
    detail = operation(market, too_much)["refusal"]["detail"]
    assert detail == "Only 300 of 301 Wh are available"
    assert [each["id"] for each in got(market, "/v2/operations?status=refused")["results"]] == [
        empty,
        expects,
        too_much,
    ]


def test_accounts_that_are_disabled_meanwhile(market: Market):
    issue_three(market)
    to_bob = queued(market, transfer(10))
    market.rows("UPDATE users SET disabled_at = now() WHERE subject = 'bob'")
    run(market)
    assert refusal(market, to_bob) == "account_unavailable"
    market.rows("UPDATE users SET disabled_at = NULL")
    from_alice = queued(market, transfer(10))
    market.rows("UPDATE users SET disabled_at = now() WHERE subject = 'alice'")
    run(market)
    market.rows("UPDATE users SET disabled_at = NULL")
    assert refusal(market, from_alice) == "account_unavailable"


def test_datahub_away_for_a_day(market: Market):
    issue_three(market)
    market.consume()
    made = queued(market, retirement(None))
    market.datahub.fault(endpoint="/measurements", status=500, times=None)
    for _ in range(2):
        assert run(market) == 1
        assert operation(market, made)["status"] == "queued"
        assert run(market) == 0
        make_due(market)
    market.rows("UPDATE operations SET created_at = created_at - interval '23 hours 59 minutes'")
    run(market)
    assert operation(market, made)["status"] == "queued"
    make_due(market)
    market.rows("UPDATE operations SET created_at = created_at - interval '2 minutes'")
    run(market)
    assert refusal(market, made) == "measurements_unavailable"
    market.datahub.clear_faults()


def test_datahub_comes_back(market: Market):
    issue_three(market)
    market.consume()
    made = queued(market, retirement(None))
    market.datahub.fault(endpoint="/measurements", status=500, times=None)
    run(market)
    market.datahub.clear_faults()
    market.rows("UPDATE operations SET created_at = created_at - interval '25 hours'")
    make_due(market)
    run(market)
    assert operation(market, made)["totals"]["planned"] == 100


def test_tokens_are_spent(market: Market):
    issue_three(market)
    made = queued(market, retirement(None))
    market.rows("UPDATE users SET access_token = NULL")
    run(market)
    assert refusal(market, made) == "login_required"


def test_a_cancelled_order_is_not_planned(market: Market):
    issue_three(market)
    made = queued(market, transfer(250))
    path, token = f"/v2/operations/{made}/cancel", market.tokens["alice"]
    answer = market.post(path, None, token)
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert run(market) == 0
    assert market.post(path, None, token).json["code"] == "already_final"
    planned = queued(market, transfer(250))
    run(market)
    answer = market.post(f"/v2/operations/{planned}/cancel", None, token)
    assert (answer.status_code, answer.json["code"]) == (409, "already_planned")


def _meanwhile(
    monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object], times: int = 1
) -> None:
    """Act right before the next calls of this function of `acceptance`."""
    original = getattr(acceptance, name)
    left = iter(range(times))

    def acting(*args: Any, **named: Any) -> Any:
        if next(left, None) is not None:
            act()
        return original(*args, **named)

    monkeypatch.setattr(acceptance, name, acting)


def test_a_cancel_wins_against_a_plan_that_is_not_written(market: Market, monkeypatch):
    issue_three(market)
    made = queued(market, transfer(250))
    token = market.tokens["alice"]

    def cancel() -> None:
        answer = market.post(f"/v2/operations/{made}/cancel", None, token)
        assert answer.json["status"] == "cancelled"

    _meanwhile(monkeypatch, "lock_active_accounts", cancel)
    assert run(market) == 1
    assert operation(market, made)["status"] == "cancelled"
    assert market.value("SELECT count(*) FROM batches") == 0
    assert market.total("alice", category="stored") == 300


@pytest.mark.parametrize("step", ["lock_active_accounts", "entry_time", "write"])
def test_a_worker_that_dies_leaves_the_order_queued(market: Market, monkeypatch, step):
    """After its lease, the order is planned once."""
    issue_three(market)
    made = queued(market, transfer(250))

    def die() -> None:
        raise SystemExit

    _meanwhile(monkeypatch, step, die)
    with pytest.raises(SystemExit):
        run(market)
    assert operation(market, made)["status"] == "queued"
    assert market.total("alice", category="stored") == 300
    # The lease of the dead worker runs.
    assert run(market) == 0
    make_due(market)
    assert run(market) == 1
    market.settle()
    assert operation(market, made)["status"] == "completed"
    assert market.amounts(BOB) == [100, 100, 50]


def test_two_workers_plan_an_order_once(market: Market, monkeypatch):
    """The second claims it because the first one's lease has ended, and both come to write."""
    issue_three(market)
    made = queued(market, transfer(250))
    both = threading.Barrier(2)

    def claim_too() -> None:
        both.wait(60)

    _meanwhile(monkeypatch, "lock_active_accounts", claim_too, times=2)
    queue = market.runtime.bulk_queue
    other = BulkQueue(
        **{
            name: getattr(queue, name)
            for name in ("settings", "database", "planner", "acceptance", "read_order", "detail_of")
        }
    )

    def second() -> int:
        while not market.value("SELECT attempts FROM operations"):
            pass
        make_due(market)
        return other.run_due()

    # The first may be the one that claims it again.
    assert sum(at_once(queue.run_due, second)) == 2
    assert operation(market, made)["status"] == "pending"
    assert market.value("SELECT count(*) FROM batches") == 3
    assert market.value("SELECT sum(amount) FROM ggos WHERE stored") == 300


def test_a_ggo_that_goes_meanwhile_is_replaced_by_the_next(market: Market, monkeypatch):
    issue_three(market)
    address = market.value("SELECT address FROM ggos ORDER BY begin LIMIT 1")
    made = queued(market, transfer(150))

    def compose() -> None:
        assert market.compose(address, transfers=[(100, "bob")]).status_code == 200

    _meanwhile(monkeypatch, "lock_spendable", compose)
    assert run(market) == 1
    items = got(market, f"/v2/operations/{made}/items")["results"]
    assert [item["source"]["amount"] for item in items] == [100, 100]
    assert address not in {item["source"]["address"] for item in items}


def test_a_user_with_many_orders_does_not_hold_up_another(market: Market):
    """Bob's order comes after one of Alice's, though five were first."""
    issue_three(market)
    order(market, transfer(None, select={"period": {"from": "2020-01-01", "to": "2020-01-02"}}))
    run(market)
    market.settle()
    for hour in range(3, 6):
        market.issue(100, market.hour(hour))
    first = [queued(market, transfer(1)) for _ in range(5)]
    bobs = queued(market, transfer(target(1, "alice")), BOB)
    claimed = [market.runtime.bulk_queue._claim() for _ in range(4)]
    assert [str(each.id) for each in claimed if each] == [first[0], bobs, first[1], first[2]]


def test_a_repeat_of_a_queued_order(market: Market):
    issue_three(market)
    body, key = transfer(250), {"Idempotency-Key": "order 4"}
    first = sent(market, body, **key)
    again = sent(market, body, **key)
    assert first.json == again.json
    assert again.headers["Idempotency-Replayed"] == "true"
    run(market)
    assert sent(market, body, **key).json["status"] == "pending"
    assert market.value("SELECT count(*) FROM operations") == 1


def test_a_lease_is_renewed_while_an_order_is_planned(new_market, monkeypatch):
    market = new_market(lease_seconds=1)
    issue_three(market)
    made = queued(market, transfer(250))
    renewed = threading.Event()
    original = BulkQueue._renew

    def renew(self: BulkQueue, order: Any) -> None:
        original(self, order)
        renewed.set()

    monkeypatch.setattr(BulkQueue, "_renew", renew)
    _meanwhile(monkeypatch, "lock_active_accounts", lambda: renewed.wait(20))
    run(market)
    assert operation(market, made)["status"] == "pending"
    assert market.value("SELECT attempts FROM operations") == 1
