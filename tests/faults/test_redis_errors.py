"""Redis answers, and what it says is that it won't: worker and Beat wait, and go on."""

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
    """A primary that was demoted: READONLY."""
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def _master_down(client: Client) -> Iterator[None]:
    """A replica that has lost its primary, and doesn't serve what is stale: MASTERDOWN."""
    client.config_set("replica-serve-stale-data", "no")
    try:
        with _read_only(client):
            yield
    finally:
        client.config_set("replica-serve-stale-data", "yes")


@contextmanager
def _no_replicas(client: Client) -> Iterator[None]:
    """Too few replicas to write: NOREPLICAS."""
    client.config_set("min-replicas-to-write", "1")
    try:
        yield
    finally:
        client.config_set("min-replicas-to-write", "0")


@contextmanager
def _not_permitted(client: Client) -> Iterator[None]:
    """An operator has taken rights away: NOPERM."""
    me = client.acl_whoami()
    client.execute_command("ACL", "SETUSER", me, "-@list", "-@set", "-@hash", "-@sortedset")
    try:
        yield
    finally:
        client.execute_command("ACL", "SETUSER", me, "+@all")


@contextmanager
def _out_of_memory(client: Client) -> Iterator[None]:
    """Nothing more can be held: OOM."""
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
    """How often a worker has come to Redis in vain."""
    return len(re.findall("Connection to broker lost|Cannot connect to redis", log))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_redis_that_refuses_is_waited_for(
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
            eventually(lambda: _says_redis(system) == "down", "the web tells")
            eventually(
                # A full Redis still hands out what it holds: only who sends notices.
                # Several times: it has found out that waiting once didn't help.
                lambda: (
                    trouble is _out_of_memory
                    or worker.pid is None
                    or _failures(worker.output()) >= before + 2
                ),
                "the worker notices",
            )
            assert (worker.pid, beat.pid) == pids
    finally:
        client.close()
    eventually(lambda: _says_redis(system) == "up", "Redis is up again")
    system.settle_and_audit()
    assert [ggo["amount"] for ggo in bo.stored()] == [30]
    assert (worker.pid, beat.pid) == pids
    # What earlier tests broke isn't this test's: the same worker serves all of them.
    assert "Traceback" not in worker.output().removeprefix(said_before)


def test_a_clients_errors_are_of_the_kind_that_is_waited_for():
    """What a real server can't be brought to say here is of the same kinds in the client."""
    for name in ("ClusterDownError", "ReadOnlyError", "NoPermissionError", "OutOfMemoryError"):
        assert issubclass(getattr(redis.exceptions, name), redis.ResponseError)
    assert issubclass(redis.BusyLoadingError, redis.ConnectionError)
