"""Flask's error handlers. They answer each error with its entry in `origin.web.errors`.

Paths of version 2 are answered by problem details, all others in the old API's shape.
"""

import logging

import psycopg2
from flask import Flask, Response, current_app
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from origin.db.sqlstates import READ_ONLY, Fault, fault_in, state_of
from origin.errors import (
    BodyTooLarge,
    DatabaseReadOnly,
    DatabaseUnavailable,
    NoConnectionFree,
    OriginError,
    PeerError,
    ValueNotStorable,
)
from origin.telemetry.metrics import POOL_TIMEOUTS
from origin.web.errors import worded
from origin.web.messages import as_json
from origin.web.v2.problems import (
    framework_problem,
    internal_problem,
    is_v2,
    problem_of,
    problem_response,
)

log = logging.getLogger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Answer every error in the contract's shape."""
    app.register_error_handler(OriginError, _on_origin_error)
    app.register_error_handler(DBAPIError, _on_database_error)
    # Raised when a connection is found dead before a statement is sent on it.
    app.register_error_handler(psycopg2.Error, _on_database_error)
    app.register_error_handler(PoolTimeoutError, _on_pool_timeout)
    app.register_error_handler(RequestEntityTooLarge, _on_too_large)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(Exception, _on_unexpected)


def _failure(status: int, body: object) -> Response:
    return Response(as_json(body), status, mimetype="application/json")


def _on_origin_error(error: OriginError) -> Response:
    try:
        answer = worded(error)
    except LookupError:
        return _on_unexpected(error)
    if isinstance(error, PeerError):
        log.warning("A peer failed: %s", error)
    if is_v2():
        return problem_response(problem_of(error))
    response = _failure(answer.status, answer.body)
    response.headers.extend(answer.headers)
    return response


def _on_database_error(error: DBAPIError | psycopg2.Error) -> Response:
    """Answer by the error's SQLSTATE (`origin.db.sqlstates`): transient errors become 503."""
    fault, state = fault_in(error), state_of(error)
    driver_error = error.orig if isinstance(error, DBAPIError) else error
    if fault is Fault.TRANSIENT:
        log.warning("The database failed: %s (%s)", type(driver_error).__name__, state)
        return _on_origin_error(DatabaseReadOnly() if state == READ_ONLY else DatabaseUnavailable())
    if fault is Fault.REQUEST:
        # An error, not a warning: a schema should have rejected the value.
        log.error("The database can't hold a value: %s (%s)", type(driver_error).__name__, state)
        return _on_origin_error(ValueNotStorable())
    return _on_unexpected(error)


def _on_pool_timeout(_error: PoolTimeoutError) -> Response:
    log.warning("No database connection became free")
    POOL_TIMEOUTS.inc()
    return _on_origin_error(NoConnectionFree())


def _on_too_large(_error: RequestEntityTooLarge) -> Response:
    # The framework's limit is one byte more than MAX_BODY_BYTES.
    return _on_origin_error(BodyTooLarge(current_app.config["MAX_CONTENT_LENGTH"] - 1))


def _on_http_exception(error: HTTPException) -> Response:
    if is_v2():
        return problem_response(framework_problem(error))
    response = _failure(error.code or 500, {"success": False, "message": error.name})
    for name, text in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = text
    return response


def _on_unexpected(error: Exception) -> Response:
    log.error("Unexpected error", exc_info=error)
    if is_v2():
        return problem_response(internal_problem())
    return _failure(500, {"success": False, "message": "Internal Server Error"})
