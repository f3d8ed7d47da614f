"""Reading a request's body, within its limits of time and length."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from flask import g, request
from gevent import Timeout
from gevent.monkey import is_module_patched

from origin.errors import BodyTooLarge, BodyTooSlow, PlaceNeeded
from origin.settings import Settings
from origin.web.provided import provided


def raw_body() -> bytes:
    """Return the request's body as it came.

    :raises BodyTooSlow: It took longer than BODY_TIME_LIMIT to arrive.
    :raises PlaceNeeded: Another connection needs this one's place before the body is whole.
    :raises BodyTooLarge: It is longer than MAX_BODY_BYTES. The framework reads a chunked body up to
        its own limit, which is one byte more, and raises nothing.
    """
    known: bytes | None = g.get("raw_body")
    if known is not None:
        return known
    settings = provided(Settings)
    with _in_time(settings.body_time_limit):
        raw = request.get_data()
    if len(raw) > settings.max_body_bytes:
        raise BodyTooLarge(settings.max_body_bytes)
    g.raw_body = raw
    return raw


@contextmanager
def _in_time(limit_s: float) -> Iterator[None]:
    """Bound how long the block may wait for the client."""
    if not is_module_patched("socket"):
        # Without gevent, in development and tests, nothing can interrupt the wait.
        yield
        return
    # Under gunicorn the timeout may be raised early, when another connection needs the place
    # (`origin.web.gunicorn.bodies`).
    waiting = getattr(request.environ["wsgi.input"], "waiting", nullcontext)
    with Timeout(limit_s) as limit:
        try:
            with waiting(limit):
                yield
        except Timeout as over:
            if over is not limit:
                raise
            raise (PlaceNeeded() if limit.pending else BodyTooSlow(limit_s)) from over
