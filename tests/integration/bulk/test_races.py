"""Bulks and composes at the same time, over the same GGOs and measurements."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from devstack import postgres as embedded
from devstack.postgres import EmbeddedPostgres
from origin.bulk.queries import acceptance
from origin.bulk.rules.plan import Plan
from origin.bulk.service import acceptance as acceptance_service
from origin.bulk.service.planning import Planner
from origin.compose.queries.compose import guard_points
from origin.db.raw_connections import RawConnection
from origin.migrate import upgrade
from sandbox.running import Sandbox
from tests.support.bulk_orders import items, operation, order, retirement, sent, target, transfer
from tests.support.concurrency import at_once
from tests.support.market import CONSUMPTION, OTHER_CONSUMPTION, Market
from tests.support.waiting import eventually

HOURS = 60

# As many GGOs as hours, beside the one that was issued.
FILL = """
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    issue_time, expire_time, issue_gsrn, stored)
SELECT owner_id, '849c0b' || md5(n::text) || md5(n::text), amount, begin + n * interval '1 hour',
    "end" + n * interval '1 hour', sector, technology_code, fuel_code, issue_time, expire_time,
    issue_gsrn, true
FROM ggos, generate_series(1, :hours - 1) AS n
"""

DUE = "UPDATE operations SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL"


def filled(market: Market, hours: int = HOURS) -> list[str]:
    """Issue a GGO of 100 Wh in each hour; return their addresses."""
    market.issue(100)
    market.rows(FILL, hours=hours)
    return [row.address for row in market.rows("SELECT address FROM ggos ORDER BY begin")]


def books(market: Market) -> dict[str, int]:
    """Check that no Wh is lost or spent twice; return the Wh of Alice, Bob, and of retirements."""
    [row] = market.rows(
        """
        SELECT sum(amount) FILTER (WHERE stored AND owner_id = :alice) AS alice,
            sum(amount) FILTER (WHERE stored AND owner_id = :bob) AS bob,
            sum(amount) FILTER (WHERE retired) AS retired,
            sum(amount) FILTER (WHERE parent_id IS NULL) AS issued
        FROM ggos
        """,
        alice=market.alice,
        bob=market.bob,
    )
    found = {name: int(value or 0) for name, value in row._mapping.items()}
    assert found.pop("issued") == sum(found.values())
    split = market.rows(
        """
        SELECT source.id FROM ggos AS source JOIN ggos AS part ON part.parent_id = source.id
        GROUP BY source.id HAVING sum(part.amount) <> source.amount
        """
    )
    assert split == []
    assert market.rows("SELECT ggo_id FROM batches GROUP BY ggo_id HAVING count(*) > 1") == []
    moved = "SELECT coalesce(sum(moved), 0) FROM batches"
    assert market.value(moved) == found["bob"] + found["retired"]
    return found


def test_eight_bulks_and_composes_over_one_stock(market: Market):
    addresses = filled(market)

    def bulk(body: dict[str, Any]) -> Callable[[], tuple[str, int]]:
        return lambda: ("bulk", sent(market, body).status_code)

    def compose(address: str) -> Callable[[], tuple[str, int]]:
        return lambda: ("compose", market.compose(address, transfers=[(7, "bob")]).status_code)

    order_of = ("expiry_first", "newest_first", "largest_first", "oldest_first")
    bodies = [transfer(150, order=order_of[place % 4]) for place in range(6)]
    bodies += [transfer("50", shortfall="partial", select={"address": addresses[5:15]})] * 2
    calls = [bulk(body) for body in bodies] + [compose(each) for each in addresses[::4]]
    answers = at_once(*calls)
    assert all(status in {200, 202, 400, 422} for _, status in answers), answers
    assert [status for kind, status in answers if kind == "bulk"].count(202) >= 6
    # What was contended for too long is queued.
    while market.runtime.bulk_queue.run_due():
        market.rows(DUE)
    totals = market.value("SELECT sum(requested) FROM operations WHERE accepted_at IS NOT NULL")
    assert totals == books(market)["bob"]


def test_composes_and_bulks_share_the_headroom(market: Market):
    """Each hour consumes 60 Wh of each point; all want to retire it at once."""
    addresses = filled(market, 12)
    for gsrn in (CONSUMPTION, OTHER_CONSUMPTION):
        hours = [
            {"gsrn": gsrn, "begin": market.hour(hour).isoformat(), "amount": 60}
            for hour in range(12)
        ]
        market.datahub.control("measurements", {"measurements": hours})

    def bulk(*gsrns: str) -> Callable[[], int]:
        return lambda: sent(market, retirement(None, *gsrns)).status_code

    def compose(address: str, *gsrns: str) -> Callable[[], int]:
        retires = [(20, gsrn) for gsrn in gsrns]
        return lambda: market.compose(address, retires=retires).status_code

    calls: list[Callable[[], int]] = [
        bulk(CONSUMPTION),
        bulk(OTHER_CONSUMPTION),
        bulk(CONSUMPTION, OTHER_CONSUMPTION),
        bulk(OTHER_CONSUMPTION, CONSUMPTION),
        *(compose(each, CONSUMPTION, OTHER_CONSUMPTION) for each in addresses[:4]),
        *(compose(each, OTHER_CONSUMPTION, CONSUMPTION) for each in addresses[4:8]),
    ]
    statuses = at_once(*calls)
    assert all(status in {200, 202, 400, 422} for status in statuses), statuses
    while market.runtime.bulk_queue.run_due():
        market.rows(DUE)
    books(market)
    retired = market.rows(
        "SELECT sum(amount) FROM ggos WHERE retired GROUP BY retire_address ORDER BY 1"
    )
    assert max(amount for (amount,) in retired) <= 60


def test_a_bulk_that_waits_for_a_guard_is_seen_to_write(market: Market):
    """Else a balance's `at` would step back once it writes, behind answers given while it waited."""
    filled(market, 2)
    market.consume(amount=60)
    [(point_id,)] = market.rows("SELECT id FROM metering_points WHERE gsrn = :g", g=CONSUMPTION)
    waiting = (
        "SELECT backend_xid IS NOT NULL FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event = 'advisory'"
    )
    answers: list[int] = []
    with market.runtime.database.raw_connection(transaction=True) as holder:
        guard_points(holder, [point_id])
        bulk = threading.Thread(
            target=lambda: answers.append(sent(market, retirement(None, CONSUMPTION)).status_code)
        )
        bulk.start()
        eventually(lambda: market.rows(waiting) != [], "the bulk waits")
        assert [tuple(row) for row in market.rows(waiting)] == [(True,)]
    bulk.join()
    assert answers == [202]


def test_transfers_to_each_other_do_not_deadlock(market: Market):
    """Alice and Bob send each other GGOs, by bulks and composes, at the same time."""
    filled(market)
    order(market, transfer(None, select={"period": {"from": "2020-01-01", "to": "2020-01-02"}}))
    market.rows("UPDATE ggos SET locked = false")
    calls = []
    for _ in range(4):
        calls.append(lambda: sent(market, transfer(130)).status_code)
        calls.append(lambda: sent(market, transfer(target(130, "alice")), "bob").status_code)
    assert {*at_once(*calls)} <= {202, 422}
    assert market.value("SELECT count(*) FROM operations") >= 7


def test_equal_requests_at_once_make_one_order(market: Market):
    filled(market)
    key = {"Idempotency-Key": "at once"}
    answers = at_once(*[lambda: sent(market, transfer(150), **key)] * 6)
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {202, 409}
    assert {answer.json["code"] for answer in answers if answer.status_code == 409} <= {
        "idempotency_key_in_use"
    }
    assert books(market)["bob"] == 150
    assert market.value("SELECT count(*) FROM operations") == 1


def test_a_plan_that_would_exceed_the_headroom_is_made_anew(market: Market, monkeypatch):
    """A compose retires to the same measurement, after the plan is made and before its locks."""
    first, second = filled(market, 2)
    market.rows(
        """UPDATE ggos SET begin = :begin, "end" = :end""", begin=market.begin, end=market.hour(1)
    )
    market.consume(CONSUMPTION, 60)
    original = acceptance_service.guard_points
    composed: list[int] = []

    def compose_first(*args: Any) -> None:
        if not composed:
            # In another thread: a request has a context of its own.
            [answer] = at_once(lambda: market.compose(second, retires=[(50, CONSUMPTION)]))
            composed.append(answer.status_code)
        original(*args)

    monkeypatch.setattr(acceptance_service, "guard_points", compose_first)
    made = order(market, retirement(None, select={"address": [first]}))
    assert composed == [200]
    assert made["totals"]["planned"] == 10


def test_thousands_of_measurements_need_few_locks(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    """A lock for each of 8,760 measurements would not fit into the lock table of 100 connections."""
    hours = 8_760
    monkeypatch.setitem(embedded._SETTINGS, "max_connections", "100")
    sandbox.reset()
    locks: list[int] = []
    original = acceptance.write

    with EmbeddedPostgres(fsync=False) as server:
        uri = server.create_database("locks")
        upgrade(uri)
        market = Market(uri, sandbox)
        filled(market, hours)
        series = {"begin": market.begin.isoformat(), "seconds": 3600, "amounts": [60] * hours}
        market.datahub.control("series", {"gsrn": CONSUMPTION, **series})

        def write(*args: Any) -> None:
            original(*args)
            locks.append(market.value("SELECT count(*) FROM pg_locks"))

        monkeypatch.setattr(acceptance, "write", write)
        period = {"from": "2020-01-01", "to": "2022-01-01"}
        against = {"gsrn": [CONSUMPTION], "period": period}
        made = order(market, {**retirement(None), "against": against})
        assert market.value("SHOW max_connections") == "100"
        assert market.runtime.bulk_queue.run_due() == 1
        assert operation(market, made["id"])["totals"]["planned"] == 60 * hours
        market.close()
    sandbox.reset()
    assert locks[0] < 500


def test_a_ggo_that_expires_between_plan_and_write_is_replaced(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    market.issue(100)
    market.issue(100, market.hour(1))
    [first, second] = market.rows("SELECT address, expire_time FROM ggos ORDER BY begin")
    soon = "UPDATE ggos SET expire_time = :at WHERE address = :address"
    original = acceptance.entry_time
    times: list[datetime] = []

    def entry_time(connection: RawConnection) -> datetime:
        """The first time is that at which the first GGO expires."""
        times.append(first.expire_time if not times else original(connection))
        return times[-1]

    def plan_again(self: Planner, *arguments: Any, **named: Any) -> Plan:
        if times:
            market.rows(soon, at=market.hour(5), address=first.address)
        return plan(self, *arguments, **named)

    plan = Planner.plan
    monkeypatch.setattr(acceptance, "entry_time", entry_time)
    monkeypatch.setattr(Planner, "plan", plan_again)
    made = order(market, transfer(100))
    [item] = items(market, made["id"])
    assert item["source"]["address"] == second.address
    assert len(times) == 2
