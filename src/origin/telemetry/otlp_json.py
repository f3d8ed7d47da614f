"""Encodes spans as OTLP's JSON (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding").

It differs from the JSON form of Protocol Buffers: ids are hexadecimal. Numbers of 64 bits are strings,
enums are numbers.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from origin.shared.release import VERSION

_SCOPE = {"name": "origin", "version": VERSION}
_REMOTE_IS_KNOWN = 0x100
_IS_REMOTE = 0x200


def encoded(resource: Mapping[str, Any], spans: Iterable[ReadableSpan]) -> bytes:
    """Return the body of a request that exports these spans of one process.

    :param resource: The attributes of the process.
    """
    scope = {"scope": _SCOPE, "spans": [_span(span) for span in spans]}
    whole = {"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}
    return orjson.dumps({"resourceSpans": [whole]})


def _span(span: ReadableSpan) -> dict[str, Any]:
    context, parent = span.context, span.parent
    assert context is not None
    flags = context.trace_flags | _REMOTE_IS_KNOWN
    encoded = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "name": span.name,
        # The SDK's enum begins with 0, OTLP's with 1; 0 says that the kind isn't given.
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "status": {}
        if span.status.status_code is StatusCode.UNSET
        else {"code": span.status.status_code.value},
    }
    if context.trace_state:
        encoded["traceState"] = context.trace_state.to_header()
    if parent is not None:
        encoded["parentSpanId"] = f"{parent.span_id:016x}"
        flags |= _IS_REMOTE if parent.is_remote else 0
    encoded["flags"] = flags
    return encoded


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: str | int) -> dict[str, str]:
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
