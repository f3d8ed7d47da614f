"""Writes a log line, metrics and a span for each HTTP request, and sets its id in the response."""

import logging
import time
from typing import cast

from flask import Flask, Request, Response, g, request

from origin.telemetry import context
from origin.telemetry.metrics import REQUEST_SECONDS, REQUESTS_RUNNING
from origin.telemetry.tracing import Attributes, SpanKind, finish, is_wanted

_MACHINE_PATHS = ("/health/", "/metrics")
"""Machines call these all the time: logged only at DEBUG, and not traced."""
_LONGEST_PATH = 200
_BEGAN = "origin.began"
# WSGI's names of the headers in `context`.
_REQUEST_ID = "HTTP_X_REQUEST_ID"
_TRACE_PARENT = "HTTP_TRACEPARENT"
_TRACE_STATE = "HTTP_TRACESTATE"
_METHODS = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"}
)
"""Only these appear in spans' names, which must be few: clients can invent other methods."""

log = logging.getLogger(__name__)


def watch_requests(app: Flask) -> None:
    """Watch all requests of the app. Call this before other hooks are registered."""
    app.before_request(_begin)
    app.after_request(_report)
    app.teardown_request(_end)


def _begin() -> None:
    current = _request()
    current.environ[_BEGAN] = time.perf_counter()
    REQUESTS_RUNNING.inc()
    g.span = context.begin_work(
        _span_name(current),
        current.environ.get(_REQUEST_ID),
        current.environ.get(_TRACE_PARENT),
        current.environ.get(_TRACE_STATE),
    )


def _request() -> Request:
    """Return the request itself. Each access through Flask's proxy takes about 40 times as long."""
    return cast("Request", request._get_current_object())  # type: ignore[attr-defined] # noqa: SLF001 - werkzeug's public API


def _endpoint(current: Request) -> str:
    """Return the route's pattern; `none` for unknown paths, whose number is unlimited."""
    return current.url_rule.rule if current.url_rule else "none"


def _span_name(current: Request) -> str:
    method = current.method if current.method in _METHODS else "HTTP"
    return f"{method} {current.url_rule.rule}" if current.url_rule else method


def _attributes(current: Request, status: int) -> Attributes:
    """Return the attributes of a request's span."""
    is_known = current.method in _METHODS
    attributes: dict[str, str | int] = {
        "http.request.method": current.method if is_known else "_OTHER",
        "http.response.status_code": status,
        "url.scheme": current.scheme,
        # As in the log: without the query.
        "url.path": current.path[:_LONGEST_PATH],
    }
    if not is_known:
        attributes["http.request.method_original"] = current.method[:_LONGEST_PATH]
    if current.url_rule:
        attributes["http.route"] = current.url_rule.rule
    return attributes


def _report(response: Response) -> Response:
    current = _request()
    endpoint, status, path = _endpoint(current), response.status_code, current.path
    seconds = time.perf_counter() - current.environ[_BEGAN]
    REQUEST_SECONDS.labels(endpoint, status).observe(seconds)
    response.headers[context.REQUEST_ID_HEADER] = context.current_request_id() or ""
    is_by_machine = path.startswith(_MACHINE_PATHS)
    log.log(
        logging.DEBUG if is_by_machine else logging.INFO,
        "%s %s %s",
        current.method,
        # Without the query: that of a login contains a secret code.
        path[:_LONGEST_PATH],
        status,
        extra={
            "endpoint": endpoint,
            "status": status,
            "ms": round(seconds * 1000, 1),
            **_account(),
        },
    )
    if not is_by_machine and is_wanted(g.span):
        error = str(status) if status >= 500 else None
        finish(g.span, SpanKind.REQUEST, _attributes(current, status), error)
    return response


def _account() -> dict[str, int]:
    """Return the caller's id in the database. Its subject would identify a person."""
    user = g.get("current_user")
    return {} if user is None else {"user_id": user.id}


def _end(_error: BaseException | None) -> None:
    # Only once: Flask tears a streamed response's context down twice.
    if request.environ.pop(_BEGAN, None) is not None:
        REQUESTS_RUNNING.dec()
    context.end_work()
