"""The request and the trace that the current work belongs to, for each greenlet and thread.

Clients and operators identify a request by its request id. A trace (W3C Trace Context) joins the work
of several services for one request.
"""

import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

REQUEST_ID_HEADER = "X-Request-ID"
TRACE_HEADER = "traceparent"
TRACE_STATE_HEADER = "tracestate"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
# Versions after 00 may append fields.
_TRACE_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_SAMPLED = 1
_TRACE_STATE_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_*/@-]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MAX_TRACE_STATE_MEMBERS = 32
_MAX_TRACE_STATE_LENGTH = 512


@dataclass(frozen=True)
class Sampling:
    """Which traces are exported.

    :param ratio: The share of new traces, from 0 to 1. Services that sample by trace ids with the same
        share choose the same traces.
    :param follows_parent: Whether the caller's decision counts, if there is one.
    """

    ratio: float = 1.0
    follows_parent: bool = True

    def includes(self, trace_id: str, *, parent_sampled: bool | None) -> bool:
        """Decide about a trace.

        :param parent_sampled: The caller's decision; None: no caller has made one.
        """
        if parent_sampled is not None and self.follows_parent:
            return parent_sampled
        return int(trace_id[16:], 16) < round(self.ratio * 2**64)


@dataclass
class Span:
    """A piece of work with a name, in a trace, with the parent span that caused it."""

    name: str
    trace_id: str
    parent_id: str | None
    sampled: bool
    state: str = ""
    """The `tracestate` of the trace, which other services have set."""
    has_remote_parent: bool = False
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    began_ns: int = field(default_factory=time.time_ns)
    """Nanoseconds since 1970, by this machine's clock."""

    @property
    def header(self) -> str:
        """The `traceparent` header that makes another service's work a child of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_span: ContextVar[Span | None] = ContextVar("span", default=None)


_sampling = Sampling()


def sample_by(sampling: Sampling) -> None:
    """Decide about this process's traces by this rule from now on."""
    global _sampling  # noqa: PLW0603 - like the exporters, it is the process's
    _sampling = sampling


def current_request_id() -> str | None:
    """Return the id of the current request, if any."""
    return _request_id.get()


def current_span() -> Span | None:
    """Return the current span, if any."""
    return _span.get()


def begin_work(
    name: str,
    request_id: str | None,
    trace_parent: str | None,
    trace_state: str | None = None,
) -> Span:
    """Begin a request or task, and return its span.

    An invalid or missing request id or trace is replaced by a new one. An invalid `tracestate` is
    dropped.
    """
    is_valid = request_id is not None and _REQUEST_ID.fullmatch(request_id)
    _request_id.set(request_id if is_valid else secrets.token_hex(16))
    span = _joined(name, trace_parent, trace_state)
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
        return _joined(name, None, None)
    return Span(name, parent.trace_id, parent.span_id, parent.sampled, parent.state)


def outgoing_headers(span: Span | None) -> dict[str, str]:
    """Return the headers that pass the request id and this span to another service."""
    headers = {}
    if (request_id := _request_id.get()) is not None:
        headers[REQUEST_ID_HEADER] = request_id
    if span is not None:
        headers[TRACE_HEADER] = span.header
        if span.state:
            headers[TRACE_STATE_HEADER] = span.state
    return headers


def _joined(name: str, trace_parent: str | None, trace_state: str | None) -> Span:
    found = _TRACE_PARENT.fullmatch(trace_parent or "")
    if found is None or (found[1] == "00" and found[5]):
        trace_id = secrets.token_hex(16)
        return Span(name, trace_id, None, _sampling.includes(trace_id, parent_sampled=None))
    _, trace_id, parent_id, flags, _ = found.groups()
    sampled = _sampling.includes(trace_id, parent_sampled=bool(int(flags, 16) & _SAMPLED))
    state = _valid_state(trace_state) if trace_state else ""
    return Span(name, trace_id, parent_id, sampled, state, has_remote_parent=True)


def _valid_state(text: str) -> str:
    """Return a `tracestate` without spaces between its members; the empty string if it is invalid."""
    members = [each for each in (part.strip(" \t") for part in text.split(",")) if each]
    found = [_TRACE_STATE_MEMBER.fullmatch(each) for each in members]
    keys = {each[1] for each in found if each is not None}
    state = ",".join(members)
    is_valid = len(keys) == len(members) <= _MAX_TRACE_STATE_MEMBERS
    return state if is_valid and len(state) <= _MAX_TRACE_STATE_LENGTH else ""
