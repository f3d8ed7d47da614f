"""Readiness while a part works, is busy, is gone, or hangs."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from devstack.configured import Redis
from origin.app import create_app
from origin.monitoring.service.probes import Probes
from origin.settings import Settings
from origin.shared.release import VERSION
from origin.web.provided import provided_by
from tests.support.world import World

REFUSING = 9


@pytest.fixture
def hanging() -> Iterator[int]:
    """Return a port that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def ready(world: World, **changes: object) -> tuple[int, dict[str, object], float]:
    """Probe an app with the world's settings and these changes: its status, body and seconds."""
    app = create_app(Settings.of({**vars(world.settings), **changes}))
    with app.test_client() as client:
        started = time.monotonic()
        answer = client.get("/health/ready")
        return answer.status_code, answer.json, time.monotonic() - started


def test_alive_with_its_version(world: World) -> None:
    answer = world.client().get("/health/live")
    assert (answer.status_code, answer.json) == (200, {"success": True, "version": VERSION})


def test_a_busy_pool_is_no_failure(new_world: Callable[..., World]) -> None:
    world = new_world(database_conn_poll_size=1)
    with world.runtime.database.transaction():
        answer = world.client().get("/health/ready")
    assert answer.json == {"success": True, "database": "up", "redis": "down"}
    assert answer.status_code == 200


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "hanging"])
def test_without_redis_it_is_ready(world: World, hanging: int, is_gone: bool) -> None:
    """Every request works without Redis: a load balancer must keep the webs."""
    status, body, took_s = ready(world, redis_port=REFUSING if is_gone else hanging)
    assert (status, body) == (200, {"success": True, "database": "up", "redis": "down"})
    assert took_s < 8  # About two, on a quiet machine.


def test_without_the_database_it_is_not_ready(world: World, valkey: Redis) -> None:
    status, body, _ = ready(
        world,
        database_uri=f"postgresql://a:b@127.0.0.1:{REFUSING}/c",
        redis_host=valkey.host,
        redis_port=valkey.port,
        redis_username=valkey.username,
        redis_password=valkey.password,
    )
    assert (status, body) == (503, {"success": False, "database": "down", "redis": "up"})


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "hanging"])
def test_a_probe_ends_within_seconds(world: World, hanging: int, is_gone: bool) -> None:
    port = REFUSING if is_gone else hanging
    status, body, took_s = ready(
        world, database_uri=f"postgresql://a:b@127.0.0.1:{port}/c", redis_port=port
    )
    assert (status, body) == (503, {"success": False, "database": "down", "redis": "down"})
    assert took_s < 8  # About two, on a quiet machine.


def test_a_part_that_hangs_is_probed_once_for_all_requests(world: World, hanging: int) -> None:
    uri = f"postgresql://a:b@127.0.0.1:{hanging}/c"
    app = create_app(Settings.of({**vars(world.settings), "database_uri": uri}))
    running = provided_by(app, Probes)._running
    probes = []
    for _ in range(2):
        with app.test_client() as client:
            assert client.get("/health/ready").status_code == 503
        probes.append(running["database"])
    assert probes[0] is probes[1] or probes[0].done()
