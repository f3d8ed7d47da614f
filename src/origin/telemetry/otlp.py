"""Sends spans to an OTLP collector. Only this module and `otlp_json` use OpenTelemetry's SDK.

The SDK's processor keeps a bounded queue and sends batches from a thread of its own (under gevent, a
greenlet). A request never waits for the collector: if the queue is full, the span is dropped and counted.
"""

import atexit
import threading
from collections.abc import Sequence

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from origin.telemetry.context import Span
from origin.telemetry.metrics import SPANS_DROPPED
from origin.telemetry.otlp_http import OtlpSender
from origin.telemetry.otlp_json import encoded
from origin.telemetry.otlp_options import OtlpOptions
from origin.telemetry.tracing import FinishedSpan
from origin.telemetry.tracing import SpanKind as OurKind

CLOSE_S = 2.0
"""Seconds that the end of a process may take to send what waits."""

_KINDS = {
    OurKind.REQUEST: SpanKind.SERVER,
    OurKind.TASK: SpanKind.CONSUMER,
    OurKind.PEER_CALL: SpanKind.CLIENT,
    OurKind.DELIVERY: SpanKind.CLIENT,
    OurKind.STATEMENT: SpanKind.CLIENT,
}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_ERROR = Status(StatusCode.ERROR)
_UNSET = Status(StatusCode.UNSET)


class OtlpExport:
    """The export of this process's spans. Call it with each span that ends.

    Make it after a fork: it starts threads.
    """

    def __init__(self, options: OtlpOptions) -> None:
        # The SDK's queue drops spans without saying so. These places count them first.
        self._places = threading.BoundedSemaphore(options.queue_size)
        self._sender = OtlpSender(options)
        self._resource = Resource(options.resource)
        self._processor = BatchSpanProcessor(
            _Exporter(self._sender, self._places, options.resource),
            max_queue_size=options.queue_size,
            schedule_delay_millis=options.delay_ms,
            max_export_batch_size=options.batch_size,
            meter_provider=NoOpMeterProvider(),
        )
        self._is_over = threading.Event()
        # Started now: an interpreter that is shutting down can't start threads.
        self._closer = threading.Thread(target=self._close, name="otlp-closer", daemon=True)
        self._closer.start()
        atexit.register(self.close)

    def __call__(self, ended: FinishedSpan) -> None:
        """Queue a span, or drop it if the queue is full."""
        if self._places.acquire(blocking=False):
            self._processor.on_end(_readable(ended, self._resource))
        else:
            SPANS_DROPPED.inc()

    def close(self) -> None:
        """Send what waits, for `CLOSE_S` at most. Spans that end afterwards are lost."""
        atexit.unregister(self.close)
        self._is_over.set()
        self._closer.join(CLOSE_S)

    def _close(self) -> None:
        self._is_over.wait()
        self._sender.hurry()
        self._processor.shutdown()  # type: ignore[no-untyped-call] # it has no types


class _Exporter(SpanExporter):
    """Sends the processor's batches."""

    def __init__(
        self, sender: OtlpSender, places: threading.BoundedSemaphore, resource: dict[str, str]
    ) -> None:
        self._sender = sender
        self._places = places
        self._resource = resource

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, and count what was lost. It doesn't raise."""
        self._places.release(len(spans))
        lost = self._sender.send(encoded(self._resource, spans), len(spans))
        SPANS_DROPPED.inc(lost)
        return SpanExportResult.FAILURE if lost else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Do nothing: the sender keeps nothing."""


def _readable(ended: FinishedSpan, resource: Resource) -> ReadableSpan:
    """Return the span as the SDK's processor takes it."""
    span = ended.span
    failure = {} if ended.error is None else {"error.type": ended.error}
    return ReadableSpan(
        name=span.name,
        context=_context(span, span.span_id, is_remote=False),
        parent=_context(span, span.parent_id, is_remote=span.has_remote_parent)
        if span.parent_id
        else None,
        # Without one, the SDK would detect a resource for each span.
        resource=resource,
        attributes={**ended.attributes, **failure},
        kind=_KINDS[ended.kind],
        status=_UNSET if ended.error is None else _ERROR,
        start_time=span.began_ns,
        # The clock may have been set back meanwhile.
        end_time=max(span.began_ns, ended.ended_ns),
    )


def _context(span: Span, span_id: str, *, is_remote: bool) -> SpanContext:
    state = TraceState.from_header([span.state]) if span.state else None
    return SpanContext(int(span.trace_id, 16), int(span_id, 16), is_remote, _SAMPLED, state)
