"""Readiness, and whether work is done: while a part works, is busy, is gone, or hangs."""

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
from origin.tasks.heartbeats import Heartbeat
from origin.web.provided import provided_by
from tests.support.world import World

REFUSING = 9


@pytest.fixture
def hanging() -> Iterator[int]:
    """Return a port that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def ready(
    world: World, path: str = "/health/ready", **changes: object
) -> tuple[int, dict[str, object], float]:
    """Probe an app with the world's settings and these changes: its status, body and seconds."""
    app = create_app(Settings.of({**vars(world.settings), **changes}))
    with app.test_client() as client:
        started = time.monotonic()
        answer = client.get(path)
        return answer.status_code, answer.json, time.monotonic() - started


def at(redis: Redis) -> dict[str, object]:
    """Return the settings that lead to a Redis."""
    return {
        "redis_host": redis.host,
        "redis_port": redis.port,
        "redis_username": redis.username,
        "redis_password": redis.password,
    }


def announce(world: World, *kinds: str) -> None:
    """Let processes of these kinds announce themselves and work."""
    for kind in kinds:
        heartbeat = Heartbeat(world.runtime.database, sweep_interval_s=10)
        heartbeat.process = f"{kind} on a, process 1"
        world.runtime.secret_announcer.announce(heartbeat.process, kind)
        heartbeat.worked()


UP = {"database": "up", "redis": "up"}


def test_work_is_done_while_a_worker_and_beat_work(world: World, valkey: Redis) -> None:
    announce(world, "web", "worker", "beat")
    status, body, _ = ready(world, "/health/work", **at(valkey))
    assert (status, body) == (200, {"success": True, **UP, "workers": 1, "beat": "up"})


@pytest.mark.parametrize(
    ("kinds", "missing"),
    [
        (["web"], {"workers": 0, "beat": "missing"}),
        (["web", "worker"], {"workers": 1, "beat": "missing"}),
        (["web", "beat"], {"workers": 0, "beat": "up"}),
    ],
)
def test_work_is_not_done_while_one_is_missing(
    world: World, valkey: Redis, kinds: list[str], missing: dict[str, object]
) -> None:
    announce(world, *kinds)
    status, body, _ = ready(world, "/health/work", **at(valkey))
    assert (status, body) == (503, {"success": False, **UP, **missing})


def test_work_is_not_done_by_processes_that_have_stopped(world: World, valkey: Redis) -> None:
    announce(world, "worker", "beat")
    world.rows("UPDATE process_secrets SET works_until = now()")
    status, body, _ = ready(world, "/health/work", **at(valkey))
    assert (status, body) == (503, {"success": False, **UP, "workers": 0, "beat": "missing"})


def test_work_is_not_done_without_redis(world: World) -> None:
    announce(world, "worker", "beat")
    status, body, _ = ready(world, "/health/work", redis_port=REFUSING)
    assert status == 503
    assert body == {
        "success": False, "database": "up", "redis": "down", "workers": 1, "beat": "up",
    }  # fmt: skip


def test_without_the_database_nobody_knows_who_works(world: World, valkey: Redis) -> None:
    uri = f"postgresql://a:b@127.0.0.1:{REFUSING}/c"
    status, body, took_s = ready(world, "/health/work", database_uri=uri, **at(valkey))
    assert (status, body) == (503, {"success": False, "database": "down", "redis": "up"})
    assert took_s < 8  # At once, on a quiet machine.


def test_work_is_also_done_in_other_modes(world: World, valkey: Redis) -> None:
    """Workers end their tasks then, too; most of these do nothing."""
    announce(world, "worker", "beat")
    modes = {"ledger_enabled": False, "recovery_mode": True}
    status, body, _ = ready(world, "/health/work", **at(valkey), **modes)
    told = {"ledger": "disabled", "recovery": "under way"}
    assert (status, body) == (200, {"success": True, **UP, "workers": 1, "beat": "up", **told})


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
    uri = f"postgresql://a:b@127.0.0.1:{REFUSING}/c"
    status, body, _ = ready(world, database_uri=uri, **at(valkey))
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
