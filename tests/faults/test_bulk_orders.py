"""Bulk orders while processes are killed, and while many orders want the same GGOs.

Orders of more than three GGOs are planned by workers here.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

import psycopg2
import pytest

from tests.support.concurrency import at_once
from tests.support.live_system import Household, LiveSystem
from tests.support.retrying_client import RetryingClient
from tests.support.waiting import eventually

_DAY = {"from": "2026-01-01", "to": "2026-01-02"}
_WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def _transfer(to: Household, **take: Any) -> tuple[str, dict[str, Any]]:
    targets = [{"account": to.subject, "take": take}]
    return "/v2/transfers", {"select": {}, "targets": targets, "shortfall": "partial"}


def _retirement(home: Household, **take: Any) -> tuple[str, dict[str, Any]]:
    against = {"gsrn": [home.consumption], "period": _DAY}
    return "/v2/retirements", {"select": {}, "against": against, "take": take}


def _issue(system: LiveSystem, home: Household, count: int) -> list[str]:
    """Issue a GGO of 100 Wh in each hour, in which 60 Wh are consumed; return their addresses."""
    for number in range(count):
        system.publish_consumption(home, number, 60)
    return [system.issue(home, number, 100) for number in range(count)]


def _operation(home: Household, made: dict[str, Any]) -> dict[str, Any]:
    return home.api.get(made["links"]["self"])


@contextmanager
def _ggos_are_locked(system: LiveSystem, addresses: list[str]) -> Iterator[Callable[[], object]]:
    """Hold the locks of GGOs; yield what waits until another transaction waits for them."""
    with closing(psycopg2.connect(system.database_uri)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM ggos WHERE address = ANY(%s) FOR UPDATE", (addresses,))
        yield lambda: eventually(lambda: system.rows(_WAITING), "an order waits for the GGOs")


@contextmanager
def _datahub_is_slow(system: LiveSystem, _: list[str]) -> Iterator[Callable[[], object]]:
    """Let DataHub answer nothing; yield what waits until it is asked."""
    datahub = system.sandbox.datahub
    datahub.fault("*", times=None, delay_before=60, cut="before")
    try:
        yield lambda: system.wait_for_fault(datahub)
    finally:
        datahub.clear_faults()


_POINTS = {"it accepts the plan": _ggos_are_locked, "it waits for DataHub": _datahub_is_slow}


@pytest.mark.parametrize("point", _POINTS)
def test_the_worker_is_killed_while(system: LiveSystem, point: str):
    """Another one plans the order, once."""
    anna, bo = system.households("anna", "bo")
    addresses = _issue(system, anna, 5)
    with _POINTS[point](system, addresses) as wait:
        order = _retirement(anna, all=True)
        system.services.worker.pause()
        made = anna.api.order(*order)
        assert made["status"] == "queued"
        system.services.worker.resume()
        wait()
        system.services.worker.kill()
        assert _operation(anna, made)["status"] == "queued"
    system.services.worker.start()
    system.settle_and_audit()
    found = _operation(anna, made)
    assert found["status"] == "completed"
    assert (found["totals"]["completed"], found["totals"]["ggos"]) == (300, 5)
    assert sum(ggo["amount"] for ggo in anna.stored()) == 200
    assert bo.stored() == []


def test_the_web_is_killed_while_it_accepts_an_order(system: LiveSystem):
    """Repeated with its key, the order is carried out once."""
    anna, bo = system.households("anna", "bo")
    addresses = _issue(system, anna, 3)
    client = RetryingClient(system, anna)
    with ThreadPoolExecutor() as pool:
        with _ggos_are_locked(system, addresses) as wait:
            path, body = _transfer(bo, amount=250)
            answer = pool.submit(client.order, path, body, system.lost_data)
            wait()
            system.services.web.kill()
        system.services.web.start()
        made = answer.result().json()
    assert None in client.unanswered
    system.settle_and_audit()
    assert _operation(anna, made)["totals"]["completed"] == 250
    assert sum(ggo["amount"] for ggo in bo.stored()) == 250
    assert len(list(anna.api.get("/v2/operations")["results"])) == 1


def test_eight_bulks_and_composes_race_for_one_stock_while_the_worker_is_killed(
    system: LiveSystem,
):
    """Each Wh goes to one order. The auditor knows the rest."""
    anna, bo = system.households("anna", "bo")
    addresses = _issue(system, anna, 6)
    orders = [_transfer(bo, amount=90), _transfer(bo, percentage="10")] * 2
    orders += [_retirement(anna, amount=70), _retirement(anna, percentage="30")] * 2
    clients = [RetryingClient(system, anna) for _ in range(12)]
    begun = Event()

    def bulk(place: int) -> None:
        begun.set()
        clients[place].order(*orders[place], system.lost_data)

    def compose(place: int) -> None:
        # The others are left to the bulks, whoever is first.
        for address in addresses[:3]:
            clients[place].compose(anna.order(address, transfers=[(10, bo)], retires=[5]))

    def kill() -> None:
        assert begun.wait(30)
        system.services.worker.kill()
        system.redis.flush()
        system.services.worker.start()

    tasks: list[Callable[[], None]] = [kill]
    tasks += [lambda place=place: bulk(place) for place in range(8)]
    tasks += [lambda place=place: compose(place) for place in range(8, 12)]
    at_once(*tasks)
    system.settle_and_audit()
    ordered = [each for client in clients for each in client.operations]
    told = anna.api.get("/v2/operations?limit=1000")["results"]
    assert sorted(ordered) == sorted(each["id"] for each in told)
    sent = sum(ggo["amount"] for ggo in bo.stored())
    kept = anna.api.total_wh(category="stored") + anna.api.total_wh(category="retired")
    assert sent + kept == 600
    assert any(each["kind"] != "compose" and each["totals"]["completed"] for each in told)
