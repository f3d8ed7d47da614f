"""Filters of log records."""

import logging
import sys

import redis

from origin.telemetry.logs import without_redis_traceback


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


def test_other_errors_keep_their_traceback():
    ours = _record(redis.ConnectionError("Connection closed by server."), "origin.tasks")
    for record in (_record(ValueError("a bug")), ours):
        assert without_redis_traceback(record)
        assert record.exc_info is not None
