"""Redis answers with errors: worker and Beat wait, and continue when it works again."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import requests

from devstack.valkey import EmbeddedValkey
from tests.support.live_system import LiveSystem
from tests.support.waiting import eventually

Client = Any


@contextmanager
def _read_only(client: Client) -> Iterator[None]:
    """READONLY: a demoted primary."""
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def _master_down(client: Client) -> Iterator[None]:
    """MASTERDOWN: a replica without its primary that doesn't serve stale data."""
    client.config_set("replica-serve-stale-data", "no")
    try:
        with _read_only(client):
            yield
    finally:
        client.config_set("replica-serve-stale-data", "yes")


@contextmanager
def _no_replicas(client: Client) -> Iterator[None]:
    """NOREPLICAS: too few replicas to accept writes."""
    client.config_set("min-replicas-to-write", "1")
    try:
        yield
    finally:
        client.config_set("min-replicas-to-write", "0")


@contextmanager
def _not_permitted(client: Client) -> Iterator[None]:
    """NOPERM: missing permissions."""
    me = client.acl_whoami()
    client.execute_command("ACL", "SETUSER", me, "-@list", "-@set", "-@hash", "-@sortedset")
    try:
        yield
    finally:
        client.execute_command("ACL", "SETUSER", me, "+@all")


@contextmanager
def _out_of_memory(client: Client) -> Iterator[None]:
    """OOM: out of memory."""
    client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


TROUBLES = [_read_only, _master_down, _no_replicas, _not_permitted, _out_of_memory]


def _says_redis(system: LiveSystem) -> str:
    answer = requests.get(f"{system.stack.url}/health/ready", timeout=30)
    return str(answer.json()["redis"])


def _failures(log: str) -> int:
    """Return how often a worker failed to connect to Redis."""
    return len(re.findall("Connection to broker lost|Cannot connect to redis", log))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_processes_wait_while_redis_answers_with_errors(
    system: LiveSystem, own_valkey: EmbeddedValkey, trouble: Callable[[Client], Any]
):
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 100)
    worker, beat = system.services.worker, system.services.beat
    pids = worker.pid, beat.pid
    said_before = worker.output()
    before = _failures(said_before)
    client = own_valkey.client()
    try:
        with trouble(client):
            assert anna.compose(address, transfers=[(30, bo)]).status_code == 200
            eventually(lambda: _says_redis(system) == "down", "the web reports Redis as down")
            eventually(
                # Reading from a full Redis still works, so the worker notices nothing.
                # Two failures: the worker has waited and tried again.
                lambda: (
                    trouble is _out_of_memory
                    or worker.pid is None
                    or _failures(worker.output()) >= before + 2
                ),
                "the worker notices the error",
            )
            assert (worker.pid, beat.pid) == pids
    finally:
        client.close()
    eventually(lambda: _says_redis(system) == "up", "Redis is up again")
    system.settle_and_audit()
    assert [ggo["amount"] for ggo in bo.stored()] == [30]
    assert (worker.pid, beat.pid) == pids
    # Without the output of earlier tests, which use the same worker.
    assert "Traceback" not in worker.output().removeprefix(said_before)


def test_other_redis_errors_have_the_same_base_classes():
    """Errors that a real server can't be made to give here have the same classes in the client."""
    for name in ("ClusterDownError", "ReadOnlyError", "NoPermissionError", "OutOfMemoryError"):
        assert issubclass(getattr(redis.exceptions, name), redis.ResponseError)
    assert issubclass(redis.BusyLoadingError, redis.ConnectionError)
