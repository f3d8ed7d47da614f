"""Sends logs and spans to Azure Application Insights. Only this module uses opencensus."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime

from origin.shared.release import VERSION
from origin.telemetry.formatters import RedactedFormatter, fields_of
from origin.telemetry.redaction import Redactor
from origin.telemetry.tracing import FinishedSpan, SpanKind

# Switches off statistics about the exporter itself; the exporter reads this at import.
os.environ["APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"] = "true"

from opencensus.ext.azure.common import utils
from opencensus.ext.azure.log_exporter import AzureLogHandler
from opencensus.ext.azure.trace_exporter import AzureExporter
from opencensus.trace.span import SpanKind as AzureSpanKind
from opencensus.trace.span_context import SpanContext
from opencensus.trace.span_data import SpanData
from opencensus.trace.status import Status

EXPORT_INTERVAL_S = 5.0
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_FAILED = Status(2)
_SUCCEEDED = Status(0)


class _CustomDimensions(logging.Filter):
    """Sets the attributes that the exporter reads, in the context in which the record was logged."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        fields = fields_of(record, self._redactor)
        # The exporter's names for the ids that join a record to its trace.
        record.traceId = fields.pop("trace_id", None)
        record.spanId = fields.pop("span_id", None)
        record.custom_dimensions = {name: str(value) for name, value in fields.items()}
        return True


def log_handler(connection_string: str, service: str, redactor: Redactor) -> logging.Handler:
    """Return a handler that sends records in the background and drops those that can't be sent."""
    _name_the_service(service)
    handler = AzureLogHandler(
        connection_string=connection_string,
        export_interval=EXPORT_INTERVAL_S,
        # Nothing is written to disk.
        enable_local_storage=False,
    )
    # The library's handler has no lock, which logging requires from Python 3.13 on.
    logging.Handler.createLock(handler)
    handler.addFilter(_CustomDimensions(redactor))
    handler.setFormatter(RedactedFormatter(redactor))
    return handler  # type: ignore[no-any-return] # the library has no types


def span_exporter(connection_string: str, service: str) -> Callable[[FinishedSpan], None]:
    """Return a function that sends spans in the background."""
    _name_the_service(service)
    exporter = AzureExporter(
        connection_string=connection_string,
        export_interval=EXPORT_INTERVAL_S,
        enable_local_storage=False,
    )

    def export(ended: FinishedSpan) -> None:
        if ended.kind in _KINDS:
            exporter.export([_span_data(ended)])

    return export


def _name_the_service(service: str) -> None:
    utils.azure_monitor_context["ai.cloud.role"] = service
    utils.azure_monitor_context["ai.application.ver"] = VERSION


_KINDS = {
    SpanKind.REQUEST: AzureSpanKind.SERVER,
    SpanKind.TASK: AzureSpanKind.SERVER,
    SpanKind.PEER_CALL: AzureSpanKind.CLIENT,
}
"""The spans that are sent. Azure's prices go by their number, so statements are not among them."""


def _span_data(ended: FinishedSpan) -> SpanData:
    span = ended.span
    name, attributes = _name_and_attributes(ended)
    # These records have always counted a peer's 4xx as a success.
    is_success = ended.error is None or (
        ended.kind is SpanKind.PEER_CALL and ended.error.startswith("4")
    )
    return SpanData(
        name=name,
        context=SpanContext(trace_id=span.trace_id, span_id=span.span_id),
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        attributes=attributes,
        start_time=_time(span.began_ns),
        end_time=_time(ended.ended_ns),
        child_span_count=None,
        stack_trace=None,
        annotations=[],
        message_events=[],
        links=[],
        status=_SUCCEEDED if is_success else _FAILED,
        same_process_as_parent_span=None,
        span_kind=_KINDS[ended.kind],
    )


def _time(since_1970_ns: int) -> str:
    return datetime.fromtimestamp(since_1970_ns / 1e9, UTC).strftime(_TIME)


def _name_and_attributes(ended: FinishedSpan) -> tuple[str, dict[str, str | int]]:
    """Return the span's name and attributes as this exporter knows them.

    They are older than OpenTelemetry's conventions, and operators' queries use them.
    """
    given = ended.attributes
    if ended.kind is SpanKind.TASK:
        task = str(given["celery.task_name"])
        attributes = {"http.method": "TASK", "http.route": task, "state": given["celery.state"]}
        return f"TASK {task}", attributes
    method = str(given.get("http.request.method_original", given["http.request.method"]))
    code = given.get("http.response.status_code")
    status: dict[str, str | int] = (
        {"status": "none"} if code is None else {"http.status_code": code}
    )
    if ended.kind is SpanKind.REQUEST:
        route = given.get("http.route", "none")
        return f"{method} {route}", {"http.method": method, "http.route": route, **status}
    peer = given["service.peer.name"]
    call = {"component": "HTTP", "http.url": given["url.full"], "peer": peer, **status}
    return f"{peer} {method}", call
