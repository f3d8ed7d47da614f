"""Every error's answer, in one place (contract: http-api, Conventions)."""

import logging

import psycopg2
from flask import Flask, Response, current_app
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import (
    HTTPException,
    RequestEntityTooLarge,
    RequestTimeout,
    TooManyRequests,
)

from origin.db.sqlstates import READ_ONLY, Fault, fault_in, state_of
from origin.errors import (
    CallerGone,
    KeyInUse,
    KeyReused,
    Message,
    PeerError,
    PeerTooSlow,
    PeerUnavailable,
    Recovering,
    Refused,
    TokensSpent,
)
from origin.telemetry.metrics import POOL_TIMEOUTS
from origin.web.refusals import as_json, shortened

RETRY_AFTER_S = "10"
RETRY_AFTER_A_TIMEOUT_S = "60"
"""The peer may still work at what nobody waits for any more."""
_OUT_OF_REACH = "The database is out of reach"
RECOVERED_AFTER_S = "60"

log = logging.getLogger(__name__)


class Unauthorized(Exception):
    """No valid token of an active account (401, RFC 6750)."""

    def __init__(self, message: str, challenge: str = "Bearer") -> None:
        super().__init__(message)
        self.message = message
        self.challenge = challenge


class Forbidden(Exception):
    """The token's scope falls short (403, RFC 6750)."""

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.message = message
        self.challenge = challenge


def failure(status: int, message: Message, **headers: str) -> Response:
    """The answer to what didn't succeed."""
    body = as_json({"success": False, "message": shortened(message)})
    response = Response(body, status, mimetype="application/json")
    response.headers.extend({name.replace("_", "-"): text for name, text in headers.items()})
    return response


def _on_unauthorized(error: Unauthorized) -> Response:
    return failure(401, error.message, WWW_Authenticate=error.challenge)


def _on_forbidden(error: Forbidden) -> Response:
    return failure(403, error.message, WWW_Authenticate=error.challenge)


def _on_caller_gone(_error: CallerGone) -> Response:
    return failure(
        401,
        "The token is not valid",
        WWW_Authenticate='Bearer realm="AccountService", error="invalid_token"',
    )


def _on_refused(error: Refused) -> Response:
    return failure(400, error.message)


def _on_tokens_spent(_error: TokensSpent) -> Response:
    # No challenge, and not 401: the caller's token is good, and a fresh one would not help.
    return failure(
        403,
        "DataHubService takes this account's tokens no more: its holder must log in here again",
    )


def _on_recovering(_error: Recovering) -> Response:
    return failure(503, "The service is being recovered", Retry_After=RECOVERED_AFTER_S)


def _on_key_in_use(_error: KeyInUse) -> Response:
    return failure(409, "A request with this Idempotency-Key still runs", Retry_After="1")


def _on_key_reused(_error: KeyReused) -> Response:
    return failure(422, "This Idempotency-Key came before with another body")


def _on_peer_error(error: PeerError) -> Response:
    log.warning("A peer failed: %s", error)
    if isinstance(error, PeerUnavailable):
        is_slow = isinstance(error, PeerTooSlow)
        retry_after = RETRY_AFTER_A_TIMEOUT_S if is_slow else RETRY_AFTER_S
        return failure(503, f"{error.peer} is out of reach", Retry_After=retry_after)
    return failure(502, f"{error.peer} answered what it should not")


def _on_database_error(error: DBAPIError | psycopg2.Error) -> Response:
    """As the table of SQLSTATEs says (`origin.db.sqlstates`)."""
    fault, state = fault_in(error), state_of(error)
    driver_error = error.orig if isinstance(error, DBAPIError) else error
    if fault is Fault.TRANSIENT:
        log.warning("The database failed: %s (%s)", type(driver_error).__name__, state)
        told = "The database can't be written now" if state == READ_ONLY else _OUT_OF_REACH
        return failure(503, told, Retry_After=RETRY_AFTER_S)
    if fault is Fault.REQUEST:
        # Fields have limits of their own: an operator must hear of what got by them.
        log.error("The database can't hold a value: %s (%s)", type(driver_error).__name__, state)
        return failure(400, "A value is too large, or none that can be stored")
    return _on_unexpected(error)


def _on_pool_timeout(_error: PoolTimeoutError) -> Response:
    log.warning("No database connection became free")
    POOL_TIMEOUTS.inc()
    return failure(503, "Too busy", Retry_After=RETRY_AFTER_S)


def _on_too_large(_error: RequestEntityTooLarge) -> Response:
    limit = current_app.config["MAX_CONTENT_LENGTH"] - 1
    return failure(413, f"The body is longer than {limit} bytes")


def _on_http_exception(error: HTTPException) -> Response:
    # Of these two we say ourselves why.
    ours = isinstance(error, RequestTimeout | TooManyRequests)
    response = failure(error.code or 500, (ours and error.description) or error.name)
    for name, text in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = text
    return response


def _on_unexpected(error: Exception) -> Response:
    log.error("Unexpected error", exc_info=error)
    return failure(500, "Internal Server Error")


def register_error_handlers(app: Flask) -> None:
    """Make every error answer in the contract's shape."""
    app.register_error_handler(Unauthorized, _on_unauthorized)
    app.register_error_handler(Forbidden, _on_forbidden)
    app.register_error_handler(CallerGone, _on_caller_gone)
    app.register_error_handler(Refused, _on_refused)
    app.register_error_handler(TokensSpent, _on_tokens_spent)
    app.register_error_handler(Recovering, _on_recovering)
    app.register_error_handler(KeyInUse, _on_key_in_use)
    app.register_error_handler(KeyReused, _on_key_reused)
    app.register_error_handler(PeerError, _on_peer_error)
    app.register_error_handler(DBAPIError, _on_database_error)
    # Of a connection that was found dead before a statement could be sent on it.
    app.register_error_handler(psycopg2.Error, _on_database_error)
    app.register_error_handler(PoolTimeoutError, _on_pool_timeout)
    app.register_error_handler(RequestEntityTooLarge, _on_too_large)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(Exception, _on_unexpected)
