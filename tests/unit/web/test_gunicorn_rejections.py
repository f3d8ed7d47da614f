"""Failures outside of the application are answered in the API's shape, without internals."""

import json
import logging
import socket
import ssl

import pytest
from gunicorn.http import errors

from origin.telemetry.context import current_request_id
from origin.web.gunicorn.worker import OriginWorker


def _answer(error: BaseException) -> tuple[int, str]:
    """Return status and message of the answer."""
    worker = OriginWorker.__new__(OriginWorker)
    worker.log = logging.getLogger("gunicorn.error")
    ours, client = socket.socketpair()
    with ours, client:
        worker.handle_error(None, ours, ("192.0.2.1", 1), error)
        ours.close()
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert b"X-Request-ID: " in head
    assert current_request_id() is None
    assert json.loads(body)["success"] is False
    return int(head.split()[1]), json.loads(body)["message"]


@pytest.mark.parametrize(
    "error",
    [KeyError("hush"), errors.ConfigurationProblem("hush"), errors.InvalidResponseHeader("hush")],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_is_a_500_with_its_traceback_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
):
    assert _answer(error) == (500, "Internal Server Error")
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", "Unexpected error at no request")
    assert line.exc_info is not None
    assert line.exc_info[1] is error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidHeader("Authorization Bearer hush"), 400),
        (errors.UnsupportedTransferCoding("hush"), 400),
        (errors.ParseException("hush"), 400),
        (errors.LimitRequestLine(9000, 8190), 414),
        (errors.ExpectationFailed("hush"), 417),
        (errors.LimitRequestHeaders("hush"), 431),
        (ssl.SSLError("hush"), 400),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_ill_formed_request_is_logged_in_one_line_that_quotes_nothing(
    error: Exception, status: int, caplog: pytest.LogCaptureFixture
):
    assert _answer(error)[0] == status
    [line] = caplog.records
    assert line.levelname == "WARNING"
    assert line.getMessage() == f"Rejected: {type(error).__name__}, from 192.0.2.1"
    assert line.exc_info is None
