"""What is told of each HTTP request: its metrics."""

import time

from flask import Flask, Response, g, request

from origin.telemetry.metrics import REQUEST_SECONDS, REQUESTS_RUNNING


def watch_requests(app: Flask) -> None:
    """Measure every request of the app; call it before anything else hooks in."""
    app.before_request(_begin)
    app.after_request(_measure)
    app.teardown_request(_end)


def _begin() -> None:
    g.request_began = time.perf_counter()
    REQUESTS_RUNNING.inc()


def _measure(response: Response) -> Response:
    # By its pattern: of paths that lead nowhere there are too many.
    endpoint = request.url_rule.rule if request.url_rule else "none"
    seconds = time.perf_counter() - g.request_began
    REQUEST_SECONDS.labels(endpoint, response.status_code).observe(seconds)
    return response


def _end(_error: BaseException | None) -> None:
    if "request_began" in g:
        REQUESTS_RUNNING.dec()
