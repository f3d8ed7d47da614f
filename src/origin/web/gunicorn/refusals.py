"""What gunicorn refuses by itself, answered as all else is (contract: http-api, Conventions)."""

import json
import ssl
from http import HTTPStatus

from gunicorn.http import errors  # type: ignore[import-untyped]

from origin.telemetry.context import REQUEST_ID_HEADER

_ILL_FORMED = (HTTPStatus.BAD_REQUEST, "The request is not well-formed")
# None quotes the request: there may be a token in it.
_SAID = {
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "The first line is too long"),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too long, or too many",
    ),
    errors.ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "What is expected is not known"),
}
_OF_OURS = (
    errors.ConfigurationProblem,
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
)
"""Raised like an ill-formed request, and our mistake."""


def refusal(error: BaseException) -> tuple[HTTPStatus, str] | None:
    """Status and message for what is wrong with a request; None where the fault is ours."""
    is_of_the_request = isinstance(error, errors.ParseException | ssl.SSLError)
    if not is_of_the_request or isinstance(error, _OF_OURS):
        return None
    return _SAID.get(type(error), _ILL_FORMED)


def last_answer(status: HTTPStatus, message: str, request_id: str) -> bytes:
    """An answer as it is sent, after which the connection ends."""
    body = json.dumps({"success": False, "message": message}, separators=(",", ":")).encode()
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"{REQUEST_ID_HEADER}: {request_id}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
