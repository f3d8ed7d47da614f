"""Spans reach an OTLP collector, whatever it does; a request never waits for it."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from origin.telemetry import context, otlp, otlp_http
from origin.telemetry.metrics import REGISTRY
from origin.telemetry.otlp import OtlpExport
from origin.telemetry.otlp_http import OtlpSender
from origin.telemetry.otlp_options import OtlpOptions
from origin.telemetry.tracing import FinishedSpan, SpanKind
from tests.support.certificates import loopback_certificate
from tests.support.otlp_collector import Answer, Collector, otlp_collector
from tests.support.waiting import eventually

_TRACE, _PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with otlp_collector() as running:
        yield running


def options_for(url: str, **changes: object) -> OtlpOptions:
    options = OtlpOptions(
        url=f"{url}/v1/traces",
        headers={},
        certificate=None,
        client_certificate=None,
        verify=True,
        is_compressed=False,
        timeout_s=5,
        delay_ms=10,
        queue_size=100,
        batch_size=50,
        resource={"service.name": "accounts"},
    )
    return replace(options, **changes)


@pytest.fixture
def exporting() -> Iterator[Callable[[OtlpOptions], OtlpExport]]:
    """Make exports that are closed after the test."""
    made: list[OtlpExport] = []

    def make(options: OtlpOptions) -> OtlpExport:
        made.append(OtlpExport(options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def finished(kind: SpanKind = SpanKind.REQUEST, error: str | None = None) -> FinishedSpan:
    span = context.Span("GET /ggo", _TRACE, _PARENT, sampled=True, has_remote_parent=True)
    return FinishedSpan(span, kind, span.began_ns + 5, {"a": "text", "b": 2**60}, error)


def dropped() -> float:
    return REGISTRY.get_sample_value("account_service_spans_dropped_total") or 0.0


def test_a_span_arrives_as_it_was(collector: Collector, exporting):
    export = exporting(options_for(collector.url))
    span = finished()
    span.span.state = "a=1,b=2"
    export(span)
    [seen] = eventually(lambda: collector.spans, "it arrives")
    assert collector.paths == ["/v1/traces"]
    assert (seen.name, seen.kind, seen.is_error) == ("GET /ggo", "server", False)
    assert (seen.trace_id, seen.parent_id, seen.span_id) == (_TRACE, _PARENT, span.span.span_id)
    assert seen.attributes == {"a": "text", "b": 2**60}
    assert seen.resource == {"service.name": "accounts"}
    assert seen.raw["traceState"] == "a=1,b=2"
    # Sampled, and the parent is known to be remote.
    assert seen.raw["flags"] == 0x301
    assert seen.raw["startTimeUnixNano"] == str(span.span.began_ns)
    assert seen.raw["endTimeUnixNano"] == str(span.ended_ns)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (SpanKind.REQUEST, "server"),
        (SpanKind.TASK, "consumer"),
        (SpanKind.PEER_CALL, "client"),
        (SpanKind.DELIVERY, "client"),
        (SpanKind.STATEMENT, "client"),
    ],
)
def test_kinds_and_errors(collector: Collector, exporting, kind: SpanKind, told: str):
    exporting(options_for(collector.url))(finished(kind, error="503"))
    [seen] = eventually(lambda: collector.spans, "it arrives")
    assert (seen.kind, seen.is_error, seen.attributes["error.type"]) == (told, True, "503")


def test_a_clock_that_is_set_back_makes_no_negative_times(collector: Collector, exporting):
    span = finished()
    exporting(options_for(collector.url))(replace(span, ended_ns=span.span.began_ns - 1))
    [seen] = eventually(lambda: collector.spans, "it arrives")
    assert seen.raw["startTimeUnixNano"] == seen.raw["endTimeUnixNano"]


def test_tls_headers_and_compression(tmp_path: Path, exporting):
    certificate = loopback_certificate(tmp_path)
    with otlp_collector(certificate) as collector:
        headers = {"authorization": "Bearer abc", "x-scope": "tenant"}
        exporting(
            options_for(
                collector.url, certificate=str(certificate), headers=headers, is_compressed=True
            )
        )(finished())
        eventually(lambda: collector.spans, "it arrives")
    [request] = collector.requests
    assert request.items() >= headers.items()
    assert request["content-encoding"] == "gzip"
    assert request["content-type"] == "application/json"


def test_an_untrusted_collector_gets_nothing(tmp_path: Path):
    with otlp_collector(loopback_certificate(tmp_path)) as collector:
        assert OtlpSender(options_for(collector.url, timeout_s=0.5)).send(b"{}", 3) == 3
    assert collector.requests == []


def test_a_netrc_does_not_replace_the_header(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush")
    monkeypatch.setenv("NETRC", str(netrc))
    options = options_for(collector.url, headers={"authorization": "Bearer abc"})
    collector.always = Answer(400)
    OtlpSender(options).send(b"{}", 1)
    login = collector.url.replace("://", "://me:hush@")
    OtlpSender(options_for(login)).send(b"{}", 1)
    assert [each["authorization"] for each in collector.requests] == [
        "Bearer abc",
        "Basic bWU6aHVzaA==",
    ]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_sent_again(collector: Collector, exporting, status: int):
    collector.answers += [Answer(status, {"Retry-After": "0"})] * 2
    before = dropped()
    exporting(options_for(collector.url))(finished())
    eventually(lambda: collector.spans, "it arrives")
    assert len(collector.requests) == 3
    assert dropped() == before


def test_retry_after_is_honoured_beyond_the_timeout(collector: Collector):
    # A slow machine has most of the timeout left for each of the two requests.
    collector.answers.append(Answer(503, {"Retry-After": "2"}))
    collector.always = Answer(400)
    began = time.monotonic()
    OtlpSender(options_for(collector.url, timeout_s=2)).send(b"{}", 1)
    assert time.monotonic() - began >= 2
    assert len(collector.requests) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 415, 500])
def test_what_the_collector_refuses_is_not_sent_again(collector: Collector, status: int):
    collector.always = Answer(status, {"Location": collector.url, "Retry-After": "0"})
    assert OtlpSender(options_for(collector.url)).send(b"{}", 7) == 7
    assert len(collector.requests) == 1


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        (b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}', 3),
        (b'{"partialSuccess":{"rejectedSpans":3}}', 3),
        (b'{"partialSuccess":{"rejectedSpans":"99"}}', 7),
        (b'{"partialSuccess":{}}', 0),
        (b'{"partialSuccess":null}', 0),
        (b'{"partialSuccess":{"rejectedSpans":"x"}}', 0),
        (b"[]", 0),
        (b"", 0),
        (b"no JSON", 0),
    ],
)
def test_a_partial_success_is_counted(collector: Collector, body: bytes, lost: int):
    collector.always = Answer(202, body=body)
    assert OtlpSender(options_for(collector.url)).send(b"{}", 7) == lost


def test_a_dead_collector_costs_one_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    sender = OtlpSender(options_for("http://127.0.0.1:1", timeout_s=0.2))
    with caplog.at_level(logging.WARNING, otlp_http.__name__):
        for _ in range(3):
            assert sender.send(b"{}", 5) == 5
        assert len(caplog.records) == 1
        monkeypatch.setattr(sender, "_log_at", 0.0)
        sender.send(b"{}", 5)
    first, second = caplog.records
    assert (first.message, first.event, first.spans) == (
        "Spans not exported: ConnectionError",
        "traces.not_exported",
        5,
    )
    # Those that no line told of.
    assert second.spans == 15


def test_a_full_queue_drops_and_nobody_waits(collector: Collector, exporting):
    collector.always = Answer(None)
    export = exporting(options_for(collector.url, queue_size=10, batch_size=10))
    export(finished())
    eventually(lambda: collector.requests, "the export hangs")
    before = dropped()
    began = time.monotonic()
    for _ in range(200):
        export(finished())
    assert time.monotonic() - began < 5
    assert dropped() - before == 190
    collector.is_over.set()


def test_closing_sends_what_waits(collector: Collector, exporting, monkeypatch: pytest.MonkeyPatch):
    # How long it may take is another test's matter.
    monkeypatch.setattr(otlp, "CLOSE_S", 30.0)
    export = exporting(options_for(collector.url, delay_ms=3_600_000))
    for _ in range(60):
        export(finished())
    export.close()
    assert len(collector.spans) == 60


def test_closing_is_bounded(collector: Collector, exporting, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(otlp, "CLOSE_S", 0.2)
    collector.always = Answer(None)
    export = exporting(options_for(collector.url, timeout_s=60))
    export(finished())
    began = time.monotonic()
    export.close()
    assert time.monotonic() - began < 5
    collector.is_over.set()


def test_an_error_of_the_sender_does_not_end_its_thread(collector: Collector, exporting):
    export = exporting(options_for(collector.url, certificate="/no/such/file"))
    before = dropped()
    export(finished())
    # http: needs no certificate.
    eventually(lambda: collector.spans, "it arrives")
    broken = exporting(options_for("https://127.0.0.1:1", certificate="/no/such/file"))
    for number in (1, 2):
        broken(finished())
        eventually(lambda number=number: dropped() - before == number, "it is counted")
