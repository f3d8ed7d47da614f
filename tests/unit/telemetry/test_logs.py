"""What is left of a log record before it is written."""

import logging
import sys

import redis

from origin.telemetry.logs import without_redis_traceback


def _record(error: Exception) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.makeLogRecord({"msg": "Couldn't ack", "exc_info": sys.exc_info()})


def test_a_lost_redis_is_told_without_a_traceback():
    record = _record(redis.ConnectionError("Connection closed by server."))
    assert without_redis_traceback(record)
    assert record.exc_info is None


def test_other_errors_keep_their_traceback():
    record = _record(ValueError("a bug"))
    assert without_redis_traceback(record)
    assert record.exc_info is not None
