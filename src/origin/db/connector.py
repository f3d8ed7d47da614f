"""Opens connections to PostgreSQL within a time limit, in the same way for every process.

libpq ignores its `connect_timeout` if psycopg2 has a wait callback, as under gevent. The timeout never
covers name resolution, which also blocks all greenlets. So this module resolves names itself, in a
thread, and tries each address with a time limit of its own.
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
from origin.db.traced_connections import TracedConnection
from origin.telemetry.tracing import traces_statements

CONNECT_TIMEOUT_S = 4.0
"""Seconds to connect, for all hosts and addresses together."""
_MIN_ADDRESS_TIMEOUT_S = 2.0
"""Seconds for each address at least; libpq has the same minimum."""
_SILENT_HOST_PAUSE_S = 1.0
"""Seconds without new attempts after a host did not respond, so that its callers don't pile up."""


def make_engine(url: URL, limits: Mapping[str, str], **options: Any) -> Engine:
    """Return an engine whose sessions have the settings that the code relies on.

    Whatever the URI names (hosts, sockets, timeouts), connecting fails within `CONNECT_TIMEOUT_S`.

    :param limits: The session's time limits; see `origin.db.session_settings`.
    :param options: SQLAlchemy's options of the engine.
    """
    engine = create_engine(
        url,
        # Parameters hold sealed keys and tokens; errors are logged.
        hide_parameters=True,
        connect_args={
            "options": session_options(url, limits),
            "client_encoding": "UTF8",
            # Detect a dead host within half a minute.
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
    """One address to try. For None, libpq takes its own default."""

    host: str | None
    address: str | None
    port: str | None


class _Connector:
    """Opens the connections of one engine."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def connect(self, parameters: Mapping[str, Any]) -> DriverConnection:
        """Return a connection to the first endpoint that accepts one.

        :raises psycopg2.OperationalError: no endpoint does so in time.
        """
        if time.monotonic() < self._silent_until:
            raise psycopg2.OperationalError("The database did not respond a moment ago")
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        try:
            return _connect(parameters, deadline)
        except psycopg2.OperationalError:
            if time.monotonic() >= deadline - _SILENT_HOST_PAUSE_S:
                self._silent_until = time.monotonic() + _SILENT_HOST_PAUSE_S
            raise


def _connect(parameters: Mapping[str, Any], deadline: float) -> DriverConnection:
    last: psycopg2.OperationalError | None = None
    target_session_attrs = parameters.get("target_session_attrs")
    # Only after all endpoints is it known that there is no standby.
    passes = (
        ["standby", "any"] if target_session_attrs == "prefer-standby" else [target_session_attrs]
    )
    for wanted in passes:
        endpoints = list(_endpoints(parameters, deadline))
        if parameters.get("load_balance_hosts") == "random":
            random.shuffle(endpoints)
        for number, endpoint in enumerate(endpoints):
            left_s = deadline - time.monotonic()
            if last is not None and left_s <= 0:
                raise last
            limit_s = max(left_s / (len(endpoints) - number), min(_MIN_ADDRESS_TIMEOUT_S, left_s))
            try:
                return _connect_to(endpoint, parameters, wanted, limit_s)
            except psycopg2.OperationalError as error:
                last = error
    raise last or psycopg2.OperationalError("The database's host has no address")


def _connect_to(
    endpoint: _Endpoint, parameters: Mapping[str, Any], wanted: str | None, limit_s: float
) -> DriverConnection:
    named = {"host": endpoint.host, "hostaddr": endpoint.address, "port": endpoint.port}
    given = {**parameters, "target_session_attrs": wanted, **named}
    # libpq takes whole seconds, and at least two.
    given["connect_timeout"] = max(ceil(limit_s), ceil(_MIN_ADDRESS_TIMEOUT_S))
    if traces_statements():
        given["connection_factory"] = TracedConnection
    with _bounded(limit_s):
        made: DriverConnection = psycopg2.connect(
            **{name: each for name, each in given.items() if each is not None}
        )
        return made


@contextmanager
def _bounded(limit_s: float) -> Iterator[None]:
    """Limit the block's time under gevent, where libpq ignores `connect_timeout`."""
    if get_wait_callback() is None:
        yield
        return
    over = psycopg2.OperationalError("The database did not answer in time")
    with gevent.Timeout(limit_s, over):
        yield


def _endpoints(parameters: Mapping[str, Any], deadline: float) -> Iterator[_Endpoint]:
    """Yield the endpoints in the URI's order, with all addresses of each name.

    :raises psycopg2.OperationalError: no name could be resolved.
    """
    hosts, addresses, ports = (
        _comma_separated(parameters.get(name)) for name in ("host", "hostaddr", "port")
    )
    if not hosts and not addresses:
        # The host comes from the environment or from a service file.
        yield _Endpoint(None, None, ports[0] if ports else None)
        return
    failed: OSError | None = None
    found = False
    # A single port is valid for all hosts.
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
        raise psycopg2.OperationalError(
            f"The database's host name can't be resolved: {failed}"
        ) from failed


def _comma_separated(value: Any) -> Sequence[str]:
    return [] if value in {None, ""} else [each.strip() for each in str(value).split(",")]


def _resolve(host: str, deadline: float) -> Sequence[str | None]:
    """Return the addresses of a name; `[None]` for the folder of a Unix socket.

    :raises OSError: the name has no address, or was not resolved in time.
    """
    if host.startswith(("/", "@")):
        return [None]
    outcome: Future[list[str | None]] = Future()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - raised again below
            outcome.set_exception(error)
        else:
            outcome.set_result(list(dict.fromkeys(str(each[4][0]) for each in found)))

    # A lookup can't be cancelled, so a hanging thread is abandoned.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        return outcome.result(max(deadline - time.monotonic(), 0.0))
    except UnicodeError as error:
        raise OSError("not a name") from error
