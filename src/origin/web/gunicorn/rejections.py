"""Requests that gunicorn itself rejects, answered in the API's shape (contract: http-api, Conventions)."""

import json
import ssl
from http import HTTPStatus

from gunicorn.http import errors  # type: ignore[import-untyped]

from origin.telemetry.context import REQUEST_ID_HEADER

_ILL_FORMED = (HTTPStatus.BAD_REQUEST, "The request is not well-formed")
# No message quotes the request, which may hold a token.
_MESSAGES = {
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "The first line is too long"),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too long, or too many",
    ),
    errors.ExpectationFailed: (HTTPStatus.EXPECTATION_FAILED, "What is expected is not known"),
}
_BUGS = (
    errors.ConfigurationProblem,
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
)
"""Subclasses of ParseException that the service causes, not the client."""


def rejection(error: BaseException) -> tuple[HTTPStatus, str] | None:
    """Return status and message for an ill-formed request; None if the fault is the service's."""
    is_of_the_request = isinstance(error, errors.ParseException | ssl.SSLError)
    if not is_of_the_request or isinstance(error, _BUGS):
        return None
    return _MESSAGES.get(type(error), _ILL_FORMED)


def last_response(status: HTTPStatus, message: str, request_id: str) -> bytes:
    """Return an error's response as bytes; the connection closes after it."""
    body = json.dumps({"success": False, "message": message}, separators=(",", ":")).encode()
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"{REQUEST_ID_HEADER}: {request_id}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
