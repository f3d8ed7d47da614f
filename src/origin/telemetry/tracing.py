"""Ends spans and passes them to the exporter, if there is one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from origin.telemetry import context
from origin.telemetry.metrics import PEER_CALL_SECONDS


class SpanKind(Enum):
    """The kind of a span: an incoming request or task, or a call to a peer."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


@dataclass(frozen=True)
class FinishedSpan:
    """A span that has ended."""

    span: context.Span
    kind: SpanKind
    ended: datetime
    is_success: bool


Export = Callable[[FinishedSpan], None]


@dataclass
class _Collector:
    """The process's exporter, if there is one."""

    export: Export | None = None


_collector = _Collector()


def export_to(export: Export | None) -> None:
    """Pass each sampled span that ends to this function, which must neither block nor raise."""
    _collector.export = export


def finish(span: context.Span, kind: SpanKind, *, is_success: bool, **attributes: Any) -> None:
    """End a span and export it if it is sampled."""
    if _collector.export is not None and span.sampled:
        span.attributes.update(attributes)
        _collector.export(FinishedSpan(span, kind, datetime.now(UTC), is_success))


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
    span = context.child_span(f"{peer} {method}")
    call = PeerCall(context.outgoing_headers(span))
    try:
        yield call
    finally:
        status = "none" if call.status is None else str(call.status)
        PEER_CALL_SECONDS.labels(peer, status).observe(time.perf_counter() - began)
        scheme, host, *_ = urlsplit(url)
        server = f"{scheme}://{host.rpartition('@')[2]}"
        is_success = call.status is not None and call.status < 500
        finish(span, SpanKind.OUTGOING, is_success=is_success, peer=peer, url=server, status=status)
