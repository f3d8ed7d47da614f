"""The request and the trace that the current work belongs to, for each greenlet and thread.

Clients and operators identify a request by its request id. A trace (W3C Trace Context) joins the work
of several services for one request.
"""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

REQUEST_ID_HEADER = "X-Request-ID"
TRACE_HEADER = "traceparent"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_TRACE_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1


@dataclass
class Span:
    """A piece of work with a name, in a trace, with the parent span that caused it."""

    name: str
    trace_id: str
    parent_id: str | None
    sampled: bool
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def header(self) -> str:
        """The `traceparent` header that makes another service's work a child of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_span: ContextVar[Span | None] = ContextVar("span", default=None)


def current_request_id() -> str | None:
    """Return the id of the current request, if any."""
    return _request_id.get()


def current_span() -> Span | None:
    """Return the current span, if any."""
    return _span.get()


def begin_work(name: str, request_id: str | None, trace_parent: str | None) -> Span:
    """Begin a request or task, and return its span.

    An invalid or missing request id or trace is replaced by a new one.
    """
    is_valid = request_id is not None and _REQUEST_ID.fullmatch(request_id)
    _request_id.set(request_id if is_valid else secrets.token_hex(16))
    span = _joined(name, trace_parent)
    _span.set(span)
    return span


def end_work() -> None:
    """End the current request or task."""
    _request_id.set(None)
    _span.set(None)


def child_span(name: str) -> Span:
    """Return a child of the current span. The current span stays current."""
    parent = _span.get()
    if parent is None:
        return _joined(name, None)
    return Span(name, parent.trace_id, parent.span_id, parent.sampled)


def outgoing_headers(span: Span | None) -> dict[str, str]:
    """Return the headers that pass the request id and this span to another service."""
    headers = {}
    if (request_id := _request_id.get()) is not None:
        headers[REQUEST_ID_HEADER] = request_id
    if span is not None:
        headers[TRACE_HEADER] = span.header
    return headers


def _joined(name: str, trace_parent: str | None) -> Span:
    found = _TRACE_PARENT.fullmatch(trace_parent or "")
    if found is None:
        return Span(name, secrets.token_hex(16), None, sampled=True)
    trace_id, parent_id, flags = found.groups()
    return Span(name, trace_id, parent_id, sampled=bool(int(flags, 16) & _SAMPLED))
