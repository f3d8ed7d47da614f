"""Sentinels name the primary, also after a failover."""

import gc
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from devstack.ports import free_port
from devstack.valkey import EmbeddedSentinel, EmbeddedValkey
from origin.identity.service import rate_limits
from origin.identity.service.rate_limits import RateLimits
from origin.monitoring.service.probes import Probes
from origin.redis_servers import redis_client
from origin.settings import Settings
from origin.tasks import sending
from origin.tasks.celery import BATCHES, RECONCILIATION, create_celery
from origin.tasks.sending import WakeupSender
from tests.support.example_settings import redis_settings
from tests.support.waiting import eventually

QUEUE = "celery"


@dataclass(frozen=True)
class Cluster:
    """A primary with a replica, and a Sentinel."""

    primary: EmbeddedValkey
    replica: EmbeddedValkey
    sentinel: EmbeddedSentinel


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with (
        EmbeddedValkey() as primary,
        EmbeddedValkey(primary=primary) as replica,
        EmbeddedSentinel("accounts", primary) as sentinel,
        sentinel.client() as client,
    ):
        eventually(
            lambda: client.sentinel_masters()["accounts"]["num-slaves"] == 1,
            "the Sentinel knows the replica",
        )
        eventually(
            lambda: redis_client(redis_settings(replica), 0, 5).role()[3] == b"connected",
            "the replica follows",
        )
        yield Cluster(primary, replica, sentinel)


def _settings(cluster: Cluster, **changes: Any) -> Settings:
    """Return settings whose first Sentinel is out of reach."""
    sentinel = cluster.sentinel
    of_sentinel = {
        "redis_host": "",
        "redis_port": "",
        "redis_sentinels": f"127.0.0.1:{free_port()},{sentinel.host}:{sentinel.port}",
        "redis_sentinel_master": "accounts",
        "redis_sentinel_username": sentinel.username,
        "redis_sentinel_password": sentinel.password,
    }
    return redis_settings(cluster.primary, **{**of_sentinel, **changes})


def _redis_is_up(settings: Settings) -> bool:
    database: Any = SimpleNamespace(probe=lambda: None)
    return Probes(database, settings).are_up()["redis"]


def _role(server: EmbeddedValkey) -> bytes | None:
    """Return a server's role; None if the Sentinel has just closed its clients' connections."""
    try:
        with server.client() as client:
            return bytes(client.role()[0])
    except redis.ConnectionError:
        return None


def _is_counted(limits: RateLimits) -> bool:
    return limits.wait_s(1) > 0


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "demoted"])
def test_everything_follows_the_primary(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, is_killed: bool
):
    """Clients that were connected to the old one find the new one by themselves."""
    monkeypatch.setattr(sending, "_PAUSE_S", 0)
    monkeypatch.setattr(rate_limits, "_PAUSE_S", 0)
    settings = _settings(cluster)
    sender, limits, app = WakeupSender(settings), RateLimits(settings), create_celery(settings)
    assert sender.send(BATCHES)
    eventually(lambda: _is_counted(limits), "requests are counted")
    app.backend.store_result("id", "before", "SUCCESS")
    assert _redis_is_up(settings)
    with cluster.primary.client() as client:
        assert (client.llen(QUEUE), client.exists("requests:1")) == (1, 1)

    if is_killed:
        cluster.primary.kill()
    else:
        with cluster.sentinel.client() as client:
            client.sentinel_failover("accounts")
            eventually(
                lambda: client.sentinel_masters()["accounts"]["port"] == cluster.replica.port,
                "the Sentinel names the replica",
            )
        # The Sentinel would do it within ten seconds. It would also close the clients' connections;
        # so they must notice by themselves.
        with cluster.primary.client() as client:
            client.execute_command("REPLICAOF", cluster.replica.host, cluster.replica.port)
    eventually(lambda: sender.send(RECONCILIATION), "a wake-up is sent to the new primary")
    eventually(lambda: sender.send(BATCHES), "a wake-up is counted by the new primary")
    eventually(lambda: _is_counted(limits), "requests are counted by the new primary")
    eventually(lambda: _redis_is_up(settings), "the new primary is up")
    app.backend.store_result("id", "after", "SUCCESS")
    assert _role(cluster.replica) == b"master"
    with cluster.replica.client() as client:
        assert client.exists("requests:1", "celery-task-meta-id") == 2
    with app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
        tasks = [queue.get(timeout=10).headers["task"] for _ in range(2)]
    assert set(tasks) <= {RECONCILIATION, BATCHES}


def test_a_closed_client_leaves_no_connection_to_a_sentinel(cluster: Cluster):
    """Not even until the garbage collector runs: each probe of readiness makes a client."""
    settings = _settings(cluster)
    gc.disable()
    try:
        with cluster.sentinel.client() as sentinel:
            before = len(sentinel.client_list())
            for _ in range(5):
                with redis_client(settings, 0, 5) as client:
                    client.ping()
            eventually(lambda: len(sentinel.client_list()) <= before, "no connection is left")
    finally:
        gc.enable()


def test_a_silent_sentinel_does_not_keep_redis_down(cluster: Cluster):
    """A machine that is switched off doesn't refuse connections. Each probe makes a new client."""
    there = f"{cluster.sentinel.host}:{cluster.sentinel.port}"
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        first = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = _settings(cluster, redis_sentinels=f"{first},{there}")
        eventually(lambda: _redis_is_up(settings), "Redis is up")


@pytest.mark.usefixtures("patience")
def test_a_wrong_password_of_the_sentinel_is_named_without_its_value(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
):
    settings = _settings(cluster, redis_sentinel_password="not the secret")
    assert not _redis_is_up(settings)
    assert not WakeupSender(settings).send(BATCHES)
    assert "MasterNotFoundError: No primary named 'accounts' (127.0.0.1:" in caplog.text
    assert "invalid username-password pair" in caplog.text
    assert "not the secret" not in caplog.text
    assert cluster.primary.password not in caplog.text
    caplog.clear()
    assert not _redis_is_up(_settings(cluster, redis_sentinel_master="other"))
    assert f"No primary named 'other' ({cluster.sentinel.host}" in caplog.text
