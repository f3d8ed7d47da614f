"""Azure's records keep their names and attributes, which operators' queries use."""

from collections.abc import Callable
from typing import Any

import pytest

from origin.telemetry import azure, context
from origin.telemetry.tracing import Attributes, FinishedSpan, SpanKind

_CALL: Attributes = {
    "http.request.method": "POST",
    "url.full": "http://ledger:8008",
    "server.address": "ledger",
    "server.port": 8008,
    "service.peer.name": "Ledger",
}
_REQUEST: Attributes = {"http.request.method": "GET", "url.scheme": "http", "url.path": "/x"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[[SpanKind, Attributes, str | None], Any]:
    """Return a function that exports a span and returns what the library gets, or None."""
    spans: list[Any] = []

    class Exporter:
        def __init__(self, **_: Any) -> None:
            pass

        def export(self, batch: list[Any]) -> None:
            spans.extend(batch)

    monkeypatch.setattr(azure, "AzureExporter", Exporter)
    export = azure.span_exporter("InstrumentationKey=x", "accounts")

    def send(kind: SpanKind, attributes: Attributes, error: str | None) -> Any:
        span = context.Span("new name", "4bf9" * 8, "00f0" * 4, sampled=True, began_ns=10**18)
        export(FinishedSpan(span, kind, 10**18 + 2_500_000, attributes, error))
        return spans.pop() if spans else None

    return send


@pytest.mark.parametrize(
    ("kind", "attributes", "error", "name", "told", "code"),
    [
        (
            SpanKind.REQUEST,
            {**_REQUEST, "http.route": "/ggo", "http.response.status_code": 404},
            None,
            "GET /ggo",
            {"http.method": "GET", "http.route": "/ggo", "http.status_code": 404},
            0,
        ),
        (
            SpanKind.REQUEST,
            {**_REQUEST, "http.response.status_code": 503},
            "503",
            "GET none",
            {"http.method": "GET", "http.route": "none", "http.status_code": 503},
            2,
        ),
        (
            SpanKind.TASK,
            {"celery.task_name": "origin.batches", "celery.state": "FAILURE"},
            "FAILURE",
            "TASK origin.batches",
            {"http.method": "TASK", "http.route": "origin.batches", "state": "FAILURE"},
            2,
        ),
        (
            SpanKind.PEER_CALL,
            {**_CALL, "http.response.status_code": 404},
            "404",
            "Ledger POST",
            {
                "component": "HTTP",
                "http.url": "http://ledger:8008",
                "peer": "Ledger",
                "http.status_code": 404,
            },
            0,
        ),
        (
            SpanKind.PEER_CALL,
            _CALL,
            "PeerTooSlow",
            "Ledger POST",
            {
                "component": "HTTP",
                "http.url": "http://ledger:8008",
                "peer": "Ledger",
                "status": "none",
            },
            2,
        ),
    ],
)
def test_records_are_as_they_were(
    sent: Callable[..., Any],
    kind: SpanKind,
    attributes: Attributes,
    error: str | None,
    name: str,
    told: Attributes,
    code: int,
):
    span = sent(kind, attributes, error)
    assert (span.name, span.attributes, span.status.canonical_code) == (name, told, code)
    assert (span.start_time, span.end_time) == (
        "2001-09-09T01:46:40.000000Z",
        "2001-09-09T01:46:40.002500Z",
    )


@pytest.mark.parametrize("kind", [SpanKind.STATEMENT, SpanKind.DELIVERY])
def test_it_gets_no_kinds_of_spans_that_it_had_not(sent: Callable[..., Any], kind: SpanKind):
    assert sent(kind, {}, None) is None
