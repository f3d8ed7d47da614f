"""PostgreSQL or Redis is down for a while: answers stay true, and no one must intervene."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import requests

from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.live_system import LiveSystem
from tests.support.retrying_client import RetryingClient
from tests.support.waiting import eventually


def test_a_compose_without_redis_settles_when_it_is_back(
    system: LiveSystem, own_valkey: EmbeddedValkey
):
    """The web's and Beat's wake-ups are lost, and the worker's connection breaks."""
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 100)
    own_valkey.stop()
    try:
        assert anna.compose(address, transfers=[(30, bo)]).status_code == 200
        assert bo.api.total_wh(category="stored") == 30
        ready = requests.get(f"{system.stack.url}/health/ready", timeout=30)
        assert (ready.status_code, ready.json()["redis"]) == (200, "down")
    finally:
        own_valkey.start()
    system.settle_and_audit()
    assert [ggo["amount"] for ggo in bo.stored()] == [30]


def test_postgres_restarts_while_composing(system: LiveSystem, own_postgres: EmbeddedPostgres):
    """Calls are answered 503 meanwhile; repeated with the same key, they succeed exactly once."""
    anna, bo = system.households("anna", "bo")
    addresses = [system.issue(anna, number, 100) for number in range(12)]
    clients = [RetryingClient(system, anna), RetryingClient(system, anna)]
    stopped, halves = Event(), (addresses[:6], addresses[6:])

    def compose(client: RetryingClient, sources: list[str]) -> None:
        for number, address in enumerate(sources):
            if number == 3:
                assert stopped.wait(30)
            assert client.compose(anna.order(address, transfers=[(30, bo)])).status_code == 200

    with ThreadPoolExecutor() as pool:
        work = [pool.submit(compose, *each) for each in zip(clients, halves, strict=True)]
        own_postgres.kill()
        stopped.set()
        try:
            eventually(
                lambda: all(client.unanswered for client in clients), "both got a 503 or no answer"
            )
        finally:
            own_postgres.start()
        for each in work:
            each.result(60)
    assert {status for client in clients for status in client.unanswered} <= {503, 409, None}
    system.settle_and_audit()
    # The web finds its broken connections one by one, each with a 503, so this read is retried, too.
    assert [ggo["amount"] for ggo in RetryingClient(system, bo).stored()] == [30] * 12
    assert (
        len(
            system.rows(
                "SELECT id FROM batches WHERE user_id = (SELECT id FROM users WHERE subject = %s)",
                anna.subject,
            )
        )
        == 12
    )
