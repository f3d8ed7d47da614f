"""Sends logs and spans to Azure Application Insights. Only this module uses opencensus."""

import logging
import os
from collections.abc import Callable

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
        exporter.export([_span_data(ended)])

    return export


def _name_the_service(service: str) -> None:
    utils.azure_monitor_context["ai.cloud.role"] = service
    utils.azure_monitor_context["ai.application.ver"] = VERSION


def _span_data(ended: FinishedSpan) -> SpanData:
    span = ended.span
    return SpanData(
        name=span.name,
        context=SpanContext(trace_id=span.trace_id, span_id=span.span_id),
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        attributes=_attributes(ended),
        start_time=span.began.strftime(_TIME),
        end_time=ended.ended.strftime(_TIME),
        child_span_count=None,
        stack_trace=None,
        annotations=[],
        message_events=[],
        links=[],
        status=_SUCCEEDED if ended.is_success else _FAILED,
        same_process_as_parent_span=None,
        span_kind=AzureSpanKind.SERVER if ended.kind is SpanKind.INCOMING else AzureSpanKind.CLIENT,
    )


def _attributes(ended: FinishedSpan) -> dict[str, str | int]:
    """Return the span's attributes, with the exporter's names for those that it knows."""
    attributes = dict(ended.span.attributes)
    known: dict[str, str | int] = {}
    if ended.kind is SpanKind.INCOMING:
        method, _, route = ended.span.name.partition(" ")
        known |= {"http.method": method, "http.route": route}
    else:
        known |= {"component": "HTTP", "http.url": attributes.pop("url")}
    if str(attributes.get("status", "")).isdecimal():
        known["http.status_code"] = int(attributes.pop("status"))
    return known | {name: str(value) for name, value in attributes.items()}
