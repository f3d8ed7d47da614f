"""What is told of each HTTP request: a log line, its metrics, its span, and its id in the answer."""

import logging
import time

from flask import Flask, Response, g, request

from origin.telemetry import context
from origin.telemetry.metrics import REQUEST_SECONDS, REQUESTS_RUNNING
from origin.telemetry.tracing import Kind, finish

_OF_MACHINES = ("/health/", "/metrics")
"""Asked all the time: neither logged (below DEBUG) nor traced."""
_LONGEST_PATH = 200
_BEGAN = "origin.began"

log = logging.getLogger(__name__)


def watch_requests(app: Flask) -> None:
    """Tell of every request of the app; call it before anything else hooks in."""
    app.before_request(_begin)
    app.after_request(_tell)
    app.teardown_request(_end)


def _begin() -> None:
    request.environ[_BEGAN] = time.perf_counter()
    REQUESTS_RUNNING.inc()
    g.span = context.begin(
        f"{request.method} {_endpoint()}",
        request.headers.get(context.REQUEST_ID_HEADER),
        request.headers.get(context.TRACE_HEADER),
    )


def _endpoint() -> str:
    """The route's pattern: of paths that lead nowhere there are too many."""
    return request.url_rule.rule if request.url_rule else "none"


def _tell(response: Response) -> Response:
    seconds = time.perf_counter() - request.environ[_BEGAN]
    REQUEST_SECONDS.labels(_endpoint(), response.status_code).observe(seconds)
    response.headers[context.REQUEST_ID_HEADER] = context.current_request_id() or ""
    is_of_machines = request.path.startswith(_OF_MACHINES)
    log.log(
        logging.DEBUG if is_of_machines else logging.INFO,
        "%s %s %s",
        request.method,
        # Never the query: a login's has its code in it.
        request.path[:_LONGEST_PATH],
        response.status_code,
        extra={
            "endpoint": _endpoint(),
            "status": response.status_code,
            "ms": round(seconds * 1000, 1),
            **_account(),
        },
    )
    if not is_of_machines:
        is_success = response.status_code < 500
        finish(g.span, Kind.INCOMING, is_success=is_success, status=response.status_code)
    return response


def _account() -> dict[str, int]:
    """The caller by the number of its row: a subject would be a person's name to whoever reads."""
    user = g.get("current_user")
    return {} if user is None else {"user_id": user.id}


def _end(_error: BaseException | None) -> None:
    # Once: a streamed answer ends its context twice.
    if request.environ.pop(_BEGAN, None) is not None:
        REQUESTS_RUNNING.dec()
    context.end()
