"""Filters of log records."""

import logging
import sys

import redis
from redis.sentinel import MasterNotFoundError

from origin.telemetry.logs import with_short_sentinel_errors, without_redis_traceback


def _record(error: Exception, name: str = "celery.worker.consumer.consumer") -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.makeLogRecord(
            {"name": name, "msg": "ack of %r failed", "args": (1,), "exc_info": sys.exc_info()}
        )


def test_redis_failures_are_logged_without_traceback():
    record = _record(redis.ConnectionError("Connection closed by server."))
    assert without_redis_traceback(record)
    assert record.exc_info is None
    assert record.getMessage() == "ack of 1 failed (ConnectionError)"


def test_a_connection_that_celery_closes_while_it_is_read_is_logged_without_traceback():
    error = ValueError("I/O operation on closed file.")
    error.__context__ = OSError(9, "File descriptor was closed in another greenlet")
    record = _record(error)
    assert without_redis_traceback(record)
    assert record.exc_info is None
    assert record.getMessage() == "ack of 1 failed (ValueError)"


def test_other_errors_keep_their_traceback():
    ours = _record(redis.ConnectionError("Connection closed by server."), "origin.tasks")
    for record in (_record(ValueError("a bug")), ours):
        assert without_redis_traceback(record)
        assert record.exc_info is not None


def test_an_error_about_sentinels_is_short_in_celerys_logs():
    error = MasterNotFoundError("No master found for 'x' : <redis.client.Redis(<redis.connection.")
    said = {"msg": "Cannot connect to %s: %s.", "args": ("sentinel://a:1", error)}
    record = logging.makeLogRecord({"name": "celery.worker.consumer.consumer", **said})
    assert with_short_sentinel_errors(record)
    assert record.getMessage() == (
        "Cannot connect to sentinel://a:1: No Sentinel names the primary; flask doctor says why."
    )
    ours = logging.makeLogRecord({"name": "origin.tasks", **said})
    assert with_short_sentinel_errors(ours)
    assert "redis.client" in ours.getMessage()
