"""Formats log records: one JSON object per line, without secrets.

It imports little, because gunicorn's master uses it before gevent patches anything.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from origin.shared.json_codec import encode_json
from origin.shared.release import VERSION
from origin.telemetry.context import current_request_id, current_span
from origin.telemetry.redaction import Redactor

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "taskName", "color_message", "data",
}  # fmt: skip


def fields_of(record: logging.LogRecord, redactor: Redactor) -> dict[str, Any]:
    """Return the record's request id, trace, and the fields passed as `extra`, redacted."""
    entry: dict[str, Any] = {}
    if (request_id := current_request_id()) is not None:
        entry["request_id"] = request_id
    if (span := current_span()) is not None:
        entry |= {"trace_id": span.trace_id, "span_id": span.span_id}
    said = vars(record)
    extra = {name: said[name] for name in sorted(said.keys() - _OWN_ATTRIBUTES)}
    redacted: dict[str, Any] = redactor.value(extra)
    return entry | redacted


class RedactedFormatter(logging.Formatter):
    """Formats the message and the exception as text."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the text without secrets."""
        text = self._redactor.text(super().format(record))
        # Azure's handler reads it if an exception has no traceback.
        record.message = self._redactor.text(record.message)
        return text


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON. What is passed as `extra` becomes fields."""

    def __init__(self, service: str, redactor: Redactor | None = None) -> None:
        super().__init__()
        self._service = service
        self._redactor = redactor or Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "service": self._service,
            "version": VERSION,
            "logger": record.name,
            "message": self._redactor.text(record.getMessage()),
            **fields_of(record, self._redactor),
        }
        if record.exc_info:
            entry["exception"] = self._redactor.text(self.formatException(record.exc_info))
        return encode_json(entry, default=str).decode()
