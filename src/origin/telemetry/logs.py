"""Logging: JSON lines on stdout; to Azure Application Insights too, where set."""

import logging
import sys

import redis
from pydantic import SecretStr

from origin.settings import Settings
from origin.telemetry import tracing
from origin.telemetry.formatters import JsonFormatter
from origin.telemetry.redaction import Redactor


def configure_logging(settings: Settings) -> None:
    """Send all logs and spans of this process where the settings say; a repeat replaces the first."""
    redactor = Redactor(_secrets(settings))
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(settings.service_name, redactor))
    handlers: list[logging.Handler] = [handler]
    connection_string = settings.azure_app_insights_conn_string.get_secret_value()
    export = None
    if connection_string:
        # Imported where it is used: it starts threads and takes its time.
        from origin.telemetry.azure import log_handler, span_exporter

        handlers.append(log_handler(connection_string, settings.service_name, redactor))
        export = span_exporter(connection_string, settings.service_name)
    tracing.export_to(export)
    logging.basicConfig(level=settings.log_level, handlers=handlers, force=True)
    logging.captureWarnings(capture=True)
    # What no line of ours tells needn't be found out for each (logging's HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the documented way
    # Below WARNING these quote URLs, and at DEBUG whole requests.
    for name in ("urllib3", "requests_oauthlib", "authlib", "kombu", "amqp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("celery.worker.request").addFilter(without_redis_traceback)
    # They tell of every task what `origin.telemetry.tasks` tells.
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not settings.tls_verify:
        logging.getLogger(__name__).warning("TLS_VERIFY=0: certificates of peers are not checked")
    for weakness in settings.weak_secrets():
        logging.getLogger(__name__).warning("%s", weakness)


def without_redis_traceback(record: logging.LogRecord) -> bool:
    """Strip the traceback where Redis failed, and let the record pass.

    A worker that loses Redis while it acknowledges a message says so at CRITICAL with a traceback.
    Redis may be lost at any time: the message names the reason, and the traceback says no more.
    """
    if record.exc_info and isinstance(record.exc_info[1], redis.RedisError):
        record.exc_info = None
    return True


def _secrets(settings: Settings) -> list[str]:
    """The values of all settings that are secret."""
    values = [value for _, value in settings]
    lists = [value for value in values if isinstance(value, list)]
    every = [*values, *(each for value in lists for each in value)]
    secrets = [value.get_secret_value() for value in every if isinstance(value, SecretStr)]
    return [*secrets, *([settings.database_url.password] if settings.database_url.password else [])]
