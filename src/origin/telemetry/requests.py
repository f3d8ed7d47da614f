"""What is told of each HTTP request: a log line, its metrics, its span, and its id in the answer."""

import logging
import time
from typing import cast

from flask import Flask, Request, Response, g, request

from origin.telemetry import context
from origin.telemetry.metrics import REQUEST_SECONDS, REQUESTS_RUNNING
from origin.telemetry.tracing import SpanKind, finish

_OF_MACHINES = ("/health/", "/metrics")
"""Asked all the time: neither logged (below DEBUG) nor traced."""
_LONGEST_PATH = 200
_BEGAN = "origin.began"
# As WSGI names the headers of `context`.
_REQUEST_ID = "HTTP_X_REQUEST_ID"
_TRACE_PARENT = "HTTP_TRACEPARENT"

log = logging.getLogger(__name__)


def watch_requests(app: Flask) -> None:
    """Tell of every request of the app; call it before anything else hooks in."""
    app.before_request(_begin)
    app.after_request(_tell)
    app.teardown_request(_end)


def _begin() -> None:
    asked = _asked()
    asked.environ[_BEGAN] = time.perf_counter()
    REQUESTS_RUNNING.inc()
    g.span = context.begin_work(
        f"{asked.method} {_endpoint(asked)}",
        asked.environ.get(_REQUEST_ID),
        asked.environ.get(_TRACE_PARENT),
    )


def _asked() -> Request:
    """The request itself: each look through Flask's proxy costs more than what is looked for."""
    return cast("Request", request._get_current_object())  # type: ignore[attr-defined] # noqa: SLF001 - werkzeug's public API


def _endpoint(asked: Request) -> str:
    """The route's pattern: of paths that lead nowhere there are too many."""
    return asked.url_rule.rule if asked.url_rule else "none"


def _tell(response: Response) -> Response:
    asked = _asked()
    endpoint, status, path = _endpoint(asked), response.status_code, asked.path
    seconds = time.perf_counter() - asked.environ[_BEGAN]
    REQUEST_SECONDS.labels(endpoint, status).observe(seconds)
    response.headers[context.REQUEST_ID_HEADER] = context.current_request_id() or ""
    is_of_machines = path.startswith(_OF_MACHINES)
    log.log(
        logging.DEBUG if is_of_machines else logging.INFO,
        "%s %s %s",
        asked.method,
        # Never the query: a login's has its code in it.
        path[:_LONGEST_PATH],
        status,
        extra={
            "endpoint": endpoint,
            "status": status,
            "ms": round(seconds * 1000, 1),
            **_account(),
        },
    )
    if not is_of_machines:
        finish(g.span, SpanKind.INCOMING, is_success=status < 500, status=status)
    return response


def _account() -> dict[str, int]:
    """The caller by the number of its row: a subject would be a person's name to whoever reads."""
    user = g.get("current_user")
    return {} if user is None else {"user_id": user.id}


def _end(_error: BaseException | None) -> None:
    # Once: a streamed answer ends its context twice.
    if request.environ.pop(_BEGAN, None) is not None:
        REQUESTS_RUNNING.dec()
    context.end_work()
