"""Spans: begun and ended here, and handed to where traces are collected, if anywhere."""

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
    """What a span is of: a request or task that came in, or a call to a peer."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


@dataclass(frozen=True)
class FinishedSpan:
    """A span that is over."""

    span: context.Span
    kind: SpanKind
    ended: datetime
    is_success: bool


Export = Callable[[FinishedSpan], None]


@dataclass
class _Collector:
    """Where spans go; one for each process, as for logs."""

    export: Export | None = None


_collector = _Collector()


def export_to(export: Export | None) -> None:
    """Hand every sampled span that ends to this function, which must neither block nor raise."""
    _collector.export = export


def finish(span: context.Span, kind: SpanKind, *, is_success: bool, **attributes: Any) -> None:
    """End a span."""
    if _collector.export is not None and span.sampled:
        span.attributes.update(attributes)
        _collector.export(FinishedSpan(span, kind, datetime.now(UTC), is_success))


@dataclass
class PeerCall:
    """A call to a peer: the headers that it should carry, and (to be set) its answer's status."""

    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None


@contextmanager
def peer_call(peer: str, method: str, url: str) -> Iterator[PeerCall]:
    """Measure and trace a call to a peer.

    Of the URL only the server is told: a subscriber's path or query may be its secret, as a login is.
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
