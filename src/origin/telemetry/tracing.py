"""Ends spans and passes them to the exporters, if there are any. Only this package makes spans.

Attributes have the names of OpenTelemetry's semantic conventions. No span contains a query, a login, a
value of an SQL statement, or an error's text: all of these may be secret.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from origin.telemetry import context
from origin.telemetry.metrics import PEER_CALL_SECONDS


class SpanKind(Enum):
    """What a span is about: an incoming request or task, or something that it waits for."""

    REQUEST = "request"
    TASK = "task"
    PEER_CALL = "peer call"
    DELIVERY = "delivery"
    STATEMENT = "statement"


Attributes = Mapping[str, str | int]


@dataclass(frozen=True)
class FinishedSpan:
    """A span that has ended.

    :param ended_ns: Nanoseconds since 1970, by this machine's clock.
    :param error: Why it failed: an HTTP status, an exception's class, or an SQLSTATE; None: it didn't.
    """

    span: context.Span
    kind: SpanKind
    ended_ns: int
    attributes: Attributes
    error: str | None


Export = Callable[[FinishedSpan], None]


@dataclass
class _Exporters:
    """The process's exporters."""

    exports: tuple[Export, ...] = ()
    statements: bool = False


_exporters = _Exporters()


def export_to(*exports: Export, statements: bool = False) -> None:
    """Pass each sampled span that ends to these functions, which must neither block nor raise.

    :param statements: Make spans of SQL statements, too, on connections that are opened from now on.
    """
    _exporters.exports = exports
    _exporters.statements = statements


def traces_statements() -> bool:
    """Return whether SQL statements make spans."""
    return _exporters.statements


def is_wanted(span: context.Span) -> bool:
    """Return whether the span will be exported. If not, it needs no attributes."""
    return span.sampled and bool(_exporters.exports)


def finish(
    span: context.Span, kind: SpanKind, attributes: Attributes, error: str | None = None
) -> None:
    """End a span and export it if it is wanted."""
    if is_wanted(span):
        ended = FinishedSpan(span, kind, time.time_ns(), attributes, error)
        for export in _exporters.exports:
            export(ended)


def begin_statement(name: str) -> context.Span | None:
    """Begin the span of an SQL statement; None if it will not be exported.

    Statements outside of requests and tasks have no span: each would be a trace of its own.
    """
    current = context.current_span()
    if not _exporters.statements or current is None or not current.sampled:
        return None
    return context.child_span(name)


@dataclass
class PeerCall:
    """A call to a peer: the headers to send, and its response's status, which the caller sets."""

    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None


@contextmanager
def peer_call(peer: str, method: str, url: str) -> Iterator[PeerCall]:
    """Measure and trace a call to a peer, which the block makes.

    The span contains only the URL's scheme and server: its login, path and query may be secret.
    """
    began = time.perf_counter()
    span = context.child_span(f"{method} {peer}")
    call = PeerCall(context.outgoing_headers(span))
    failure = None
    try:
        yield call
    except BaseException as error:
        failure = type(error).__name__
        raise
    finally:
        status = "none" if call.status is None else str(call.status)
        PEER_CALL_SECONDS.labels(peer, status).observe(time.perf_counter() - began)
        if is_wanted(span):
            attributes = {**_http_call(method, url, call.status), "service.peer.name": peer}
            finish(span, SpanKind.PEER_CALL, attributes, _failure(call.status, failure))


@contextmanager
def delivery(url: str) -> Iterator[PeerCall]:
    """Trace a webhook's POST to a receiver, which the block makes.

    Receivers are strangers: they get no headers about the trace.
    """
    span = context.child_span("POST receiver")
    call = PeerCall()
    try:
        yield call
    finally:
        if is_wanted(span):
            attributes = _http_call("POST", url, call.status)
            finish(span, SpanKind.DELIVERY, attributes, _failure(call.status, "no response"))


def _failure(status: int | None, otherwise: str | None) -> str | None:
    """Return an HTTP call's error; statuses from 400 on are errors."""
    if status is None:
        return otherwise
    return str(status) if status >= 400 else None


def _http_call(method: str, url: str, status: int | None) -> dict[str, str | int]:
    """Return the attributes of an outgoing HTTP request."""
    scheme, host, *_ = urlsplit(url)
    server = urlsplit(f"{scheme}://{host.rpartition('@')[2]}")
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.full": server.geturl(),
        "server.address": server.hostname or "",
        "server.port": server.port or {"http": 80, "https": 443}.get(scheme, 0),
    }
    return attributes if status is None else attributes | {"http.response.status_code": status}
