"""Faults on demand, the same for every server of the sandbox.

A fault changes how the next calls to an endpoint are answered: late, with an error, with garbage,
with interim responses first, or by a cut connection, before or after the call is processed.
A WSGI middleware applies faults, so the applications need no code for them.
"""

import errno
import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from werkzeug.exceptions import HTTPException
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.routing import Map

SEND_INTERIM = "sandbox.send_interim"
"""Key in the WSGI environment: a function that sends an interim response with a given status."""

CALLS_KEPT = 10_000
"""How many of the latest calls `/control/calls` lists; its counts include older ones."""


class Fault(BaseModel):
    """One fault. At least one of the delays, `status`, `code`, `body`, `interim`, `cut` is set.

    - `endpoint`: a path (`/batches`) or a pattern (`/state/*`, `*` for all); `method` narrows it.
    - `times`: to how many calls it applies; None: to all until it is cleared.
    - `delay_before`, `delay_after`: seconds to wait before processing, and before answering.
    - `status`, `code`, `body`: replace the answer. `code` is a peer's own error code (Sawtooth).
      Text in `body` is sent as it is, anything else as JSON.
    - `process`: process the call before sending the replaced answer.
    - `cut`: close the connection without an answer, before or after processing.
    - `interim`: statuses of interim responses (102, 103) to send before processing, each followed
      by a pause of `interim_pause` seconds.
    """

    model_config = ConfigDict(extra="forbid")

    endpoint: str = "*"
    method: str | None = None
    times: int | None = Field(default=1, ge=1)
    delay_before: float = Field(default=0, ge=0)
    delay_after: float = Field(default=0, ge=0)
    status: int | None = Field(default=None, ge=200, le=599)
    code: int | None = None
    body: Any = None
    headers: dict[str, str] = Field(default_factory=dict)
    process: bool = False
    cut: Literal["before", "after"] | None = None
    interim: list[Annotated[int, Field(ge=102, le=199)]] = Field(default_factory=list)
    interim_pause: float = Field(default=0.5, ge=0)

    @model_validator(mode="after")
    def _does_something(self) -> "Fault":
        delays = self.delay_before or self.delay_after
        if not (self.answers or self.cut is not None or delays or self.interim):
            raise ValueError("a fault needs a delay, a status, a code, a body, a cut or an interim")
        return self

    @property
    def answers(self) -> bool:
        """Return whether the fault replaces the answer."""
        return self.status is not None or self.code is not None or self.body is not None

    def strikes(self, method: str, path: str) -> bool:
        """Return whether the fault applies to a call."""
        return self.method in (None, method) and fnmatchcase(path, self.endpoint)


ErrorBody = Callable[[int, int | None], tuple[int, Any]]
"""Makes an error's status and JSON from a status (0: the code's own) and a peer's error code."""


class _Active:
    """An active fault: calls left (None: no limit), calls struck, and an event set on clearing."""

    def __init__(self, fault: Fault, cleared: threading.Event) -> None:
        self.fault = fault
        self.left = fault.times
        self.struck = 0
        self.cleared = cleared


class Faults:
    """The active faults of one server, and its recorded calls. Thread-safe."""

    def __init__(self, error_body: ErrorBody) -> None:
        self._error_body = error_body
        self._lock = threading.Lock()
        self._active: list[_Active] = []
        self._cleared = threading.Event()
        self._counts: Counter[str] = Counter()
        self._calls: deque[dict[str, Any]] = deque(maxlen=CALLS_KEPT)

    def add(self, fault: Fault) -> None:
        """Add a fault. If several match a call, the one added first applies."""
        with self._lock:
            self._active.append(_Active(fault, self._cleared))

    def clear(self) -> None:
        """Remove all faults; calls that a fault delays continue at once."""
        with self._lock:
            self._active = []
            self._cleared.set()
            self._cleared = threading.Event()

    def forget_calls(self) -> None:
        """Clear the recorded calls and their counts."""
        with self._lock:
            self._counts.clear()
            self._calls.clear()

    def listing(self) -> list[dict[str, Any]]:
        """Return the active faults, each with `struck` (how often it applied) and `left`."""
        with self._lock:
            return [
                {**active.fault.model_dump(), "left": active.left, "struck": active.struck}
                for active in self._active
            ]

    def calls(self) -> dict[str, Any]:
        """Return `counts` by `METHOD /rule`, and the latest `calls`, oldest first."""
        with self._lock:
            return {"counts": dict(self._counts), "calls": list(self._calls)}

    def take(self, method: str, path: str) -> _Active | None:
        """Return the fault that applies to this call, or None, and count the application."""
        with self._lock:
            for active in self._active:
                if not active.fault.strikes(method, path):
                    continue
                active.struck += 1
                if active.left is not None:
                    active.left -= 1
                    if active.left == 0:
                        self._active.remove(active)
                return active
        return None

    def note_call(self, rule: str, method: str, path: str) -> dict[str, Any]:
        """Record a call as it arrives; the caller sets `status` later (None: connection cut)."""
        call: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(),
            "method": method,
            "path": path,
            "status": None,
        }
        with self._lock:
            self._counts[f"{method} {rule}"] += 1
            self._calls.append(call)
        return call

    def answer(self, fault: Fault) -> Response:
        """Return the answer that a fault puts in place of the real one."""
        status, body = self._error_body(fault.status or 0, fault.code)
        if fault.body is not None:
            body = fault.body
        if isinstance(body, str):
            return Response(body, status, fault.headers, content_type="text/html")
        return Response(json.dumps(body), status, fault.headers, content_type="application/json")


class FaultMiddleware:
    """WSGI middleware that applies faults to all calls but control calls."""

    def __init__(self, app: "WSGIApplication", faults: Faults, url_map: "Map") -> None:
        self._app = app
        self._faults = faults
        self._urls = url_map.bind("sandbox")

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one call, with a fault applied if one matches."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path.startswith("/control/"):
            return self._app(environ, start_response)
        call = self._faults.note_call(self._rule(method, path), method, path)
        active = self._faults.take(method, path)
        response = self._true_answer(environ) if active is None else self._struck(active, environ)
        call["status"] = response.status_code
        return response(environ, start_response)

    def _rule(self, method: str, path: str) -> str:
        try:
            rule, _ = self._urls.match(path, method, return_rule=True)
        except HTTPException:
            return path
        return str(rule.rule)

    def _true_answer(self, environ: "WSGIEnvironment") -> Response:
        # Buffered, so that a delay or a cut after processing comes before the first byte.
        body, status, headers = run_wsgi_app(self._app, environ, buffered=True)
        return Response(body, status, headers)

    def _struck(self, active: _Active, environ: "WSGIEnvironment") -> Response:
        fault = active.fault
        if fault.delay_before:
            active.cleared.wait(fault.delay_before)
        for status in fault.interim:
            environ[SEND_INTERIM](status)
            active.cleared.wait(fault.interim_pause)
        if fault.cut == "before":
            _cut()
        response = None
        if fault.process or not fault.answers:
            response = self._true_answer(environ)
        if fault.delay_after:
            active.cleared.wait(fault.delay_after)
        if fault.cut == "after":
            _cut()
        if response is None or fault.answers:
            return self._faults.answer(fault)
        return response


def _cut() -> None:
    # gevent's server closes the connection silently after a broken pipe.
    raise BrokenPipeError(errno.EPIPE, "cut off by a fault")


def status_phrase(status: int) -> str:
    """Return the reason phrase of an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
