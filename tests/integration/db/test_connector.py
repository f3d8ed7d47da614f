"""A database that can't be reached: told within seconds, in every process and whatever the URI names."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg2
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from devstack.environment import inherited
from origin.db.engine import Database

IN_TIME_S = 6.0
"""Four for connecting, and what a busy machine takes."""


@contextmanager
def _swallowing() -> Iterator[int]:
    """A port whose packets are swallowed: its backlog is full, and so nothing is answered."""
    with ExitStack() as stack:
        server = stack.enter_context(closing(socket.socket()))
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            client = stack.enter_context(closing(socket.socket()))
            client.settimeout(0)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@contextmanager
def _silent() -> Iterator[int]:
    """A port where connections are taken, and nothing is ever said."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=50)) as server:
        yield server.getsockname()[1]


@contextmanager
def _dying() -> Iterator[int]:
    """A port where the server begins to ask for a password, and falls silent in the midst of it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server, ExitStack() as stack:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                stack.enter_context(closing(client))
                if client.recv(8)[4:8] == bytes([4, 210, 22, 47]):  # a request for TLS
                    client.sendall(b"N")
                    client.recv(1000)
                # AuthenticationSASL, without its end.
                client.sendall(b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


HANGING = [_swallowing, _silent, _dying]

# In a process of its own: what gevent patches, stays patched.
_UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
from psycogreen.gevent import patch_psycopg
patch_psycopg()
import sys, time, gevent
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError
from origin.db.engine import Database

database = Database(make_url(sys.argv[1]).set(drivername="postgresql+psycopg2"), 2)
ticks = 0

def tick():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1

def ask():
    try:
        return database.query("SELECT 1", {})
    except SQLAlchemyError as error:
        return type(error).__name__

gevent.spawn(tick)
began = time.monotonic()
# More than the pool has places: none waits for all before it.
asked = [gevent.spawn(ask) for _ in range(8)]
gevent.joinall(asked)
print(time.monotonic() - began, ticks, [each.value for each in asked])
"""


def _under_gevent(uri: str) -> tuple[float, int, str]:
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_GEVENT, uri],
        env={**inherited(), "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seconds, ticks, told = done.stdout.split(maxsplit=2)
    return float(seconds), int(ticks), told


@pytest.mark.parametrize("hang", HANGING)
def test_under_gevent_connecting_ends(hang):
    with hang() as port:
        uri = f"postgresql://a:b@127.0.0.1:{port}/c?connect_timeout=600"
        seconds, ticks, told = _under_gevent(uri)
    assert seconds < IN_TIME_S, told
    assert "Error" in told
    assert "[(1,)]" not in told
    # All else went on meanwhile.
    assert ticks > 20


@pytest.mark.parametrize("hang", HANGING)
def test_without_gevent_connecting_ends(hang):
    """As in Beat, and in commands."""
    with hang() as port:
        url = make_url(f"postgresql+psycopg2://a:b@127.0.0.1:{port}/c?connect_timeout=600")
        database = Database(url, 1)
        began = time.monotonic()
        with pytest.raises(DBAPIError):
            database.query("SELECT 1", {})
        assert time.monotonic() - began < IN_TIME_S
        database.dispose()


@pytest.mark.parametrize("hang", HANGING)
def test_a_migration_ends(hang):
    with hang() as port:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "origin.migrate"],
            env={
                **inherited(),
                "PYTHONPATH": "src",
                "DATABASE_URI": f"postgresql://a:b@127.0.0.1:{port}/c",
            },
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode != 0
    assert time.monotonic() - began < IN_TIME_S + 10  # Python's own start, on a busy machine


def _with_host_before(uri: str, port: int) -> str:
    """The same database, behind another host that the URI names first."""
    url = make_url(uri)
    hosts = [f"127.0.0.1:{port}", f"{url.host}:{url.port}"]
    return (
        url.set(host=None, port=None)
        .update_query_dict({"host": hosts})
        .render_as_string(hide_password=False)
    )


@pytest.mark.parametrize("hang", HANGING)
def test_the_next_host_is_tried_in_time(hang, database_uri: str):
    with hang() as port:
        uri = _with_host_before(database_uri, port)
        seconds, _, told = _under_gevent(uri)
        assert (told.strip(), seconds < IN_TIME_S) == (str([[(1,)]] * 8), True)
        database = Database(make_url(uri).set(drivername="postgresql+psycopg2"), 1)
        assert database.query("SELECT 1", {}) == [(1,)]
        database.dispose()


def test_a_host_by_its_name_a_socket_that_is_not_there_and_no_name():
    for host in ("%2Fno%2Fsuch%2Ffolder", "no.such.host.invalid"):
        url = make_url(f"postgresql+psycopg2://a:b@{host}/c")
        database = Database(url, 1)
        began = time.monotonic()
        with pytest.raises(DBAPIError) as raised:
            database.query("SELECT 1", {})
        assert isinstance(raised.value.orig, psycopg2.OperationalError)
        assert time.monotonic() - began < IN_TIME_S


def test_a_name_is_looked_up(database_uri: str):
    url = make_url(database_uri).set(drivername="postgresql+psycopg2", host="localhost")
    database = Database(url, 1)
    assert database.query("SELECT 1", {}) == [(1,)]
    database.dispose()


def test_a_standby_is_preferred_and_not_needed(database_uri: str):
    """What libpq does with several hosts, each of which is tried by itself here."""
    for wanted, works in (("prefer-standby", True), ("primary", True), ("standby", False)):
        url = make_url(database_uri).set(drivername="postgresql+psycopg2")
        database = Database(url.update_query_dict({"target_session_attrs": wanted}), 1)
        if works:
            assert database.query("SELECT 1", {}) == [(1,)]
        else:
            with pytest.raises(DBAPIError):
                database.query("SELECT 1", {})
        database.dispose()
