"""Configures logging: JSON lines on stdout, and Azure Application Insights if it is set."""

import logging
import os
import sys
from typing import TYPE_CHECKING

from pydantic import SecretStr

from origin.settings import Settings
from origin.telemetry import context, tracing
from origin.telemetry.formatters import JsonFormatter
from origin.telemetry.otlp_options import ignored_variables, otlp_options, sampling_of
from origin.telemetry.redaction import Redactor

if TYPE_CHECKING:
    from origin.telemetry.otlp import OtlpExport

_CELERYS = ("celery.", "kombu.")
"""How the names of Celery's loggers begin."""
_otlp_exports: list["OtlpExport"] = []
"""This process's, if it has one."""


def configure_logging(settings: Settings, *, to_stderr: bool = False) -> None:
    """Send all logs and spans of this process where the settings say. A second call replaces the first.

    :param to_stderr: Write lines to stderr instead of stdout.
    """
    redactor = Redactor(_secrets(settings))
    handler = logging.StreamHandler(sys.stderr if to_stderr else sys.stdout)
    handler.setFormatter(JsonFormatter(settings.service_name, redactor))
    handlers: list[logging.Handler] = [handler]
    connection_string = settings.azure_app_insights_conn_string.get_secret_value()
    exports: list[tracing.Export] = []
    if connection_string:
        # Imported here, because the import is slow and starts threads.
        from origin.telemetry.azure import log_handler, span_exporter

        handlers.append(log_handler(connection_string, settings.service_name, redactor))
        exports.append(span_exporter(connection_string, settings.service_name))
    for each in handlers:
        each.addFilter(without_redis_traceback)
        each.addFilter(with_short_sentinel_errors)
    exports += _open_otlp(settings)
    tracing.export_to(*exports, statements=bool(_otlp_exports))
    context.sample_by(sampling_of(settings))
    logging.basicConfig(level=settings.log_level, handlers=handlers, force=True)
    logging.captureWarnings(capture=True)
    # Don't collect what our lines don't contain (logging's HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Below WARNING these log URLs, and at DEBUG whole requests.
    for name in ("urllib3", "requests_oauthlib", "authlib", "kombu", "amqp"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Their lines about tasks repeat those of `origin.telemetry.tasks`.
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not settings.tls_verify:
        logging.getLogger(__name__).warning("TLS_VERIFY=0: certificates of peers are not checked")
    for weakness in (*settings.weak_secrets(), *ignored_variables(settings, os.environ.items())):
        logging.getLogger(__name__).warning("%s", weakness)


def _open_otlp(settings: Settings) -> list["OtlpExport"]:
    """Close the OTLP export of an earlier call, and return the new one, if the settings ask for one."""
    while _otlp_exports:
        _otlp_exports.pop().close()
    options = otlp_options(settings)
    if options is not None:
        # Imported here, because the import is slow.
        from origin.telemetry.otlp import OtlpExport

        _otlp_exports.append(OtlpExport(options))
    return _otlp_exports


def without_redis_traceback(record: logging.LogRecord) -> bool:
    """Replace the traceback of a lost connection in Celery's logs by the error's name, and return True.

    Redis may fail at any time, also while a worker acknowledges a message. Celery then logs a
    traceback, which tells operators no more than the error's name.
    """
    error = record.exc_info[1] if record.exc_info else None
    if error is None or not record.name.startswith(_CELERYS):
        return True
    # Imported here, because the import is slow, and processes without Celery need no Redis.
    from redis import RedisError

    # redis-py raises a ValueError if Celery closes the connection that it reads from; the cause is an
    # OSError then.
    if isinstance(error, RedisError) or isinstance(error.__context__, OSError):
        record.msg, record.args = f"{record.getMessage()} ({type(error).__name__})", ()
        record.exc_info = None
    return True


def with_short_sentinel_errors(record: logging.LogRecord) -> bool:
    """Replace redis-py's error "no Sentinel names a primary" by a short sentence, and return True.

    In Celery's logs it shows all options of each connection, and no reason.
    """
    if isinstance(record.args, tuple) and record.args and record.name.startswith(_CELERYS):
        from redis.sentinel import MasterNotFoundError

        record.args = tuple(
            "No Sentinel names the primary; flask doctor says why"
            if isinstance(each, MasterNotFoundError)
            else each
            for each in record.args
        )
    return True


def _secrets(settings: Settings) -> list[str]:
    """Return the values of all secret settings, and the database's password."""
    values = [value for _, value in settings]
    lists = [value for value in values if isinstance(value, list)]
    every = [*values, *(each for value in lists for each in value)]
    secrets = [value.get_secret_value() for value in every if isinstance(value, SecretStr)]
    return [*secrets, *([settings.database_url.password] if settings.database_url.password else [])]
