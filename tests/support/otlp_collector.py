"""An OTLP collector that checks and records spans (OTLP/HTTP with JSON), and misbehaves on demand."""

import gzip
import json
import re
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KINDS = {2: "server", 3: "client", 5: "consumer"}
_UINT64 = re.compile(r"0|[1-9][0-9]{0,19}")
_INT64 = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_SPAN_FIELDS = {
    "traceId", "spanId", "traceState", "parentSpanId", "flags", "name", "kind", "startTimeUnixNano",
    "endTimeUnixNano", "attributes", "status",
}  # fmt: skip


@dataclass
class CollectedSpan:
    """A span as the collector has read it."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str | None
    attributes: dict[str, str | int]
    resource: dict[str, str | int]
    is_error: bool
    raw: dict[str, Any] = field(repr=False)


@dataclass
class Answer:
    """What the collector answers; `None` as the status: nothing, until the client gives up."""

    status: int | None = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


@dataclass
class Collector:
    """The requests and spans so far, and the answers to the next requests; then 200."""

    url: str
    spans: list[CollectedSpan] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    """Headers, with names in lower case."""
    bodies: list[bytes] = field(default_factory=list)
    """Decompressed."""
    paths: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """What was wrong with requests."""
    answers: deque[Answer] = field(default_factory=deque)
    always: Answer = field(default_factory=Answer)
    is_over: threading.Event = field(default_factory=threading.Event)

    def of_trace(self, trace_id: str) -> list[CollectedSpan]:
        """Return the spans of this trace."""
        return [each for each in list(self.spans) if each.trace_id == trace_id]

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Read a request's spans, or complain."""
        try:
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            self.bodies.append(body)
            assert headers["content-type"] == "application/json", headers
            self.spans.extend(read_spans(body))
        except (AssertionError, ValueError, KeyError) as error:
            self.complaints.append(f"{error!r} in {body[:2000]!r}")


@contextmanager
def otlp_collector(certificate: Path | None = None) -> Iterator[Collector]:
    """Run a collector on a free port of the loopback address.

    :param certificate: A file with a certificate and its key: the collector then speaks TLS.
    """
    scheme = "http" if certificate is None else "https"
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    collector = Collector(f"{scheme}://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = partial(_Handler, collector)  # type: ignore[assignment] # it is called
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        collector.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert collector.complaints == []


class _Handler(BaseHTTPRequestHandler):
    """Records one connection's requests."""

    protocol_version = "HTTP/1.1"

    def __init__(self, collector: Collector, *arguments: Any) -> None:
        self.collector = collector
        super().__init__(*arguments)

    def do_POST(self) -> None:
        """Read the spans, and answer as the collector is told to."""
        collector = self.collector
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = collector.answers.popleft() if collector.answers else collector.always
        collector.requests.append(headers)
        collector.paths.append(self.path)
        if answer.status is None:
            collector.is_over.wait()
            self.close_connection = True
            return
        if answer.status == 200:
            collector.take(headers, body)
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def read_spans(body: bytes) -> list[CollectedSpan]:
    """Return the spans of an ExportTraceServiceRequest.

    :raises AssertionError: It breaks a rule of OTLP's JSON encoding, or of its proto files.
    """
    document = json.loads(body)
    assert set(document) == {"resourceSpans"}, document.keys()
    found = []
    for of_resource in document["resourceSpans"]:
        assert set(of_resource) == {"resource", "scopeSpans"}, of_resource.keys()
        assert set(of_resource["resource"]) == {"attributes"}
        resource = _attributes(of_resource["resource"]["attributes"])
        for of_scope in of_resource["scopeSpans"]:
            assert set(of_scope) == {"scope", "spans"}, of_scope.keys()
            assert set(of_scope["scope"]) == {"name", "version"}
            found += [_span(each, resource) for each in of_scope["spans"]]
    return found


def _span(span: dict[str, Any], resource: dict[str, str | int]) -> CollectedSpan:
    assert set(span) <= _SPAN_FIELDS, span.keys()
    assert re.fullmatch("(?!0{32})[0-9a-f]{32}", span["traceId"]), span
    assert re.fullmatch("(?!0{16})[0-9a-f]{16}", span["spanId"]), span
    parent = span.get("parentSpanId")
    assert parent is None or re.fullmatch("(?!0{16})[0-9a-f]{16}", parent), span
    assert isinstance(span["name"], str), span
    assert span["name"], span
    assert type(span["kind"]) is type(span["flags"]) is int, span
    assert span["kind"] in KINDS, span
    assert 0 <= span["flags"] < 2**32, span
    assert span["flags"] & 1, "an unsampled span was sent"
    times = [span["startTimeUnixNano"], span["endTimeUnixNano"]]
    assert all(_UINT64.fullmatch(each) for each in times), span
    assert int(times[0]) <= int(times[1]), span
    assert set(span["status"]) <= {"code", "message"}, span
    assert span["status"].get("code", 0) in (0, 1, 2), span
    return CollectedSpan(
        name=span["name"],
        kind=KINDS[span["kind"]],
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=parent,
        attributes=_attributes(span["attributes"]),
        resource=resource,
        is_error=span["status"].get("code") == 2,
        raw=span,
    )


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, str | int]:
    read: dict[str, str | int] = {}
    for pair in pairs:
        assert set(pair) == {"key", "value"}, pair
        assert pair["key"] not in read, f"twice: {pair['key']}"
        [(kind, value)] = pair["value"].items()
        assert kind in {"stringValue", "intValue"}, pair
        # 64-bit integers are strings in JSON.
        assert isinstance(value, str), pair
        if kind == "intValue":
            assert _INT64.fullmatch(value), pair
        read[pair["key"]] = int(value) if kind == "intValue" else value
    return read
