"""Filters of log records."""

import logging
import sys

import redis

from origin.telemetry.logs import without_redis_traceback


def _record(error: Exception) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.makeLogRecord({"msg": "Couldn't ack", "exc_info": sys.exc_info()})


def test_redis_failures_are_logged_without_traceback():
    record = _record(redis.ConnectionError("Connection closed by server."))
    assert without_redis_traceback(record)
    assert record.exc_info is None


def test_other_errors_keep_their_traceback():
    record = _record(ValueError("a bug"))
    assert without_redis_traceback(record)
    assert record.exc_info is not None
