"""An unreachable database is an error within seconds, in every process and for every form of URI."""

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
"""Four seconds to connect, and a margin for a busy machine."""


@contextmanager
def _swallowing() -> Iterator[int]:
    """A port that drops packets, because its backlog is full."""
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
    """A port that accepts connections and sends nothing."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=50)) as server:
        yield server.getsockname()[1]


@contextmanager
def _dying() -> Iterator[int]:
    """A port whose server stops in the middle of its password request."""
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
                # An incomplete AuthenticationSASL.
                client.sendall(b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


HANGING = [_swallowing, _silent, _dying]

# In a separate process, because gevent's patches can't be undone.
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
# More than the pool's size: none of them waits for all others.
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
    # Other greenlets ran meanwhile.
    assert ticks > 20


@pytest.mark.parametrize("hang", HANGING)
def test_without_gevent_connecting_ends(hang):
    """As in Beat and commands."""
    with hang() as port:
        url = make_url(f"postgresql+psycopg2://a:b@127.0.0.1:{port}/c?connect_timeout=600")
        database = Database(url, 1)
        began = time.monotonic()
        with pytest.raises(DBAPIError):
            database.query("SELECT 1", {})
        assert time.monotonic() - began < IN_TIME_S
        database.dispose()


@pytest.mark.parametrize("hang", HANGING)
def test_a_migration_fails_in_time(hang):
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
    assert time.monotonic() - began < IN_TIME_S + 10  # for Python's start on a busy machine


def _with_host_before(uri: str, port: int) -> str:
    """Return a URI of the same database that names another host first."""
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


def test_an_unknown_host_a_missing_socket_and_no_host_at_all():
    for host in ("%2Fno%2Fsuch%2Ffolder", "no.such.host.invalid"):
        url = make_url(f"postgresql+psycopg2://a:b@{host}/c")
        database = Database(url, 1)
        began = time.monotonic()
        with pytest.raises(DBAPIError) as raised:
            database.query("SELECT 1", {})
        assert isinstance(raised.value.orig, psycopg2.OperationalError)
        assert time.monotonic() - began < IN_TIME_S


def test_a_host_name_is_resolved(database_uri: str):
    url = make_url(database_uri).set(drivername="postgresql+psycopg2", host="localhost")
    database = Database(url, 1)
    assert database.query("SELECT 1", {}) == [(1,)]
    database.dispose()


def test_a_standby_is_preferred_but_not_required(database_uri: str):
    """As in libpq, although each host is tried separately here."""
    for wanted, works in (("prefer-standby", True), ("primary", True), ("standby", False)):
        url = make_url(database_uri).set(drivername="postgresql+psycopg2")
        database = Database(url.update_query_dict({"target_session_attrs": wanted}), 1)
        if works:
            assert database.query("SELECT 1", {}) == [(1,)]
        else:
            with pytest.raises(DBAPIError):
                database.query("SELECT 1", {})
        database.dispose()
