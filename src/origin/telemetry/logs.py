"""Logging: one JSON object a line on stdout; to Azure Application Insights too, where set."""

import json
import logging
import sys
from datetime import UTC, datetime

import orjson

from origin.settings import Settings

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One line per record; what is passed as `extra` becomes fields of its own."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The record as a JSON object."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES}
        entry.update(extra)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(entry, default=str).decode()
        except TypeError:
            # A number or a text beyond what the fast encoder takes: slower, but never lost.
            return json.dumps(entry, default=str)


def configure_logging(settings: Settings) -> None:
    """Send all logs of this process where the settings say; a repeat replaces the first."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(settings.service_name))
    handlers: list[logging.Handler] = [handler]
    connection_string = settings.azure_app_insights_conn_string.get_secret_value()
    if connection_string:
        # Imported where it is used: it starts threads and takes its time.
        from opencensus.ext.azure.log_exporter import AzureLogHandler

        handlers.append(AzureLogHandler(connection_string=connection_string))
    logging.basicConfig(level=settings.log_level, handlers=handlers, force=True)
    # Below WARNING these quote URLs, and at DEBUG whole requests.
    for name in ("urllib3", "requests_oauthlib", "authlib", "kombu", "amqp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not settings.tls_verify:
        logging.getLogger(__name__).warning("TLS_VERIFY=0: certificates of peers are not checked")
