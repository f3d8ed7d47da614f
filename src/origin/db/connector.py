"""Opens connections to PostgreSQL: the same way for every process, and never for long.

libpq's `connect_timeout` does nothing where psycopg2 has a wait callback, as under gevent, and it
never bounds the look-up of a name, which would stop all greenlets besides. So names are looked up
here, each address is tried by itself, and each has its time.
"""

import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from math import ceil
from typing import Any

import gevent
import psycopg2
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class
from psycopg2.extensions import get_wait_callback
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine

from origin.db.session_settings import session_options

CONNECT_TIMEOUT_S = 4.0
"""How long a connection may take to come about, with all hosts and addresses together."""
_MIN_ADDRESS_TIMEOUT_S = 2.0
"""What each address has at least; libpq itself knows no less."""
_SILENT_HOST_PAUSE_S = 1.0
"""After a host that said nothing, no connection is tried for so long: its waiters are many."""


def make_engine(url: URL, limits: Mapping[str, str], **options: Any) -> Engine:
    """An engine whose sessions are set as the code relies on, with these time limits.

    Whatever the URI names (hosts, sockets, timeouts of its own), connecting fails within seconds.

    :param options: SQLAlchemy's, for the engine.
    """
    engine = create_engine(
        url,
        # Parameters hold sealed keys and tokens; errors are logged.
        hide_parameters=True,
        connect_args={
            "options": session_options(url, limits),
            "client_encoding": "UTF8",
            # A host that is gone is noticed within half a minute.
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "application_name": "account-service",
        },
        **options,
    )
    connector = _Connector()

    def do_connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> Any:
        return connector.connect(parameters)

    event.listen(engine, "do_connect", do_connect)
    return engine


@dataclass(frozen=True)
class _Endpoint:
    """One address to try; None where libpq finds it by itself."""

    host: str | None
    address: str | None
    port: str | None


class _Connector:
    """Connects for one engine."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def connect(self, parameters: Mapping[str, Any]) -> DriverConnection:
        """A connection to the first place that gives one.

        :raises psycopg2.OperationalError: none does, or not in time.
        """
        if time.monotonic() < self._silent_until:
            raise psycopg2.OperationalError("The database said nothing a moment ago")
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        try:
            return _connect(parameters, deadline)
        except psycopg2.OperationalError:
            if time.monotonic() >= deadline - _SILENT_HOST_PAUSE_S:
                self._silent_until = time.monotonic() + _SILENT_HOST_PAUSE_S
            raise


def _connect(parameters: Mapping[str, Any], deadline: float) -> DriverConnection:
    last: psycopg2.OperationalError | None = None
    asked = parameters.get("target_session_attrs")
    # Only among all places can it be told that there is no standby.
    passes = ["standby", "any"] if asked == "prefer-standby" else [asked]
    for wanted in passes:
        places = list(_endpoints(parameters, deadline))
        if parameters.get("load_balance_hosts") == "random":
            random.shuffle(places)
        for number, place in enumerate(places):
            left_s = deadline - time.monotonic()
            if last is not None and left_s <= 0:
                raise last
            limit_s = max(left_s / (len(places) - number), min(_MIN_ADDRESS_TIMEOUT_S, left_s))
            try:
                return _connect_to(place, parameters, wanted, limit_s)
            except psycopg2.OperationalError as error:
                last = error
    raise last or psycopg2.OperationalError("The database's host has no address")


def _connect_to(
    place: _Endpoint, parameters: Mapping[str, Any], wanted: str | None, limit_s: float
) -> DriverConnection:
    named = {"host": place.host, "hostaddr": place.address, "port": place.port}
    given = {**parameters, "target_session_attrs": wanted, **named}
    # libpq's own counts in whole seconds, of which it takes one for two.
    given["connect_timeout"] = max(ceil(limit_s), ceil(_MIN_ADDRESS_TIMEOUT_S))
    with _bounded(limit_s):
        made: DriverConnection = psycopg2.connect(
            **{name: each for name, each in given.items() if each is not None}
        )
        return made


@contextmanager
def _bounded(limit_s: float) -> Iterator[None]:
    """End what the block waits for, where libpq's `connect_timeout` doesn't."""
    if get_wait_callback() is None:
        yield
        return
    over = psycopg2.OperationalError("The database did not answer in time")
    with gevent.Timeout(limit_s, over):
        yield


def _endpoints(parameters: Mapping[str, Any], deadline: float) -> Iterator[_Endpoint]:
    """What to try, in the order of the URI; names by all the addresses that they have.

    :raises psycopg2.OperationalError: no name could be looked up.
    """
    hosts, addresses, ports = (
        _comma_separated(parameters.get(name)) for name in ("host", "hostaddr", "port")
    )
    if not hosts and not addresses:
        # Of the environment, or of a service's file.
        yield _Endpoint(None, None, ports[0] if ports else None)
        return
    failed: OSError | None = None
    found = False
    # One port holds for all hosts.
    same = ports[0] if len(ports) == 1 else None
    for host, address, port in zip_longest(
        hosts, addresses, ports[: max(len(hosts), len(addresses))]
    ):
        try:
            for each in [address] if address or not host else _resolve(host, deadline):
                found = True
                yield _Endpoint(host or None, each or None, port or same)
        except OSError as error:
            failed = error
    if not found and failed is not None:
        raise psycopg2.OperationalError(f"The database's name has no address: {failed}") from failed


def _comma_separated(value: Any) -> Sequence[str]:
    return [] if value in {None, ""} else [each.strip() for each in str(value).split(",")]


def _resolve(host: str, deadline: float) -> Sequence[str | None]:
    """The addresses of a name; `[None]` for a socket's folder, which has none.

    :raises OSError: it has none, or not in time.
    """
    if host.startswith(("/", "@")):
        return [None]
    outcome: Future[list[str | None]] = Future()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - told to who asked
            outcome.set_exception(error)
        else:
            outcome.set_result(list(dict.fromkeys(str(each[4][0]) for each in found)))

    # Nobody can stop a look-up: one that hangs is left behind.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        return outcome.result(max(deadline - time.monotonic(), 0.0))
    except UnicodeError as error:
        raise OSError("not a name") from error
