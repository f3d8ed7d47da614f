"""Errors of version 2: problem details (RFC 9457; contract: v2, Conventions).

Status, message and code come from the table of `origin.web.errors`, as the old API's do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request
from werkzeug.exceptions import HTTPException

from origin.errors import NotFound, OriginError, SchemaViolated
from origin.telemetry.context import current_request_id
from origin.web.errors import wording_of
from origin.web.messages import CodedText, Message, as_json, cut, shortened

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:account-service:"
"""A problem's `type` is this and its code. It is a name, not an address."""
MAX_MEMBER_ERRORS = 50
"""The most wrong members of a body that a problem names."""

MEMBER_CODES: Mapping[str, Sequence[str]] = {
    "missing": ("Missing data for",),
    "unknown": ("Unknown field",),
    "duplicate": (),
    "out_of_range": ("Must be greater", "Must be less"),
    "length": ("Longer than", "Shorter than", "Length must be"),
    "not_allowed": ("Must be one of",),
    "invalid": (),
}
"""The codes of wrong members, and how their messages begin. Those of other messages: `invalid`."""

_MEMBERS_ROOM_BYTES = 10_000
"""Together with the message this stays below the 64 KiB of an answer to a rejected request."""


@dataclass(frozen=True)
class Problem:
    """An answer of version 2 to an error.

    :ivar errors: `pointer`, `code` and `detail` of each wrong member of the body.
    :ivar members: Further members, such as `count`.
    """

    status: int
    code: str
    message: Message
    headers: Mapping[str, str]
    errors: Sequence[Mapping[str, str]] = ()
    members: Mapping[str, Any] | None = None

    def body(self, request_id: str | None) -> dict[str, Any]:
        """Return the problem's JSON. `message` and `success` are there for readers of the old API."""
        return {
            "type": TYPE_PREFIX + self.code,
            "title": title(self.code),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **({"errors": self.errors} if self.errors else {}),
            **(self.members or {}),
            "requestId": request_id,
            "success": False,
            "message": self.message,
        }

    @property
    def detail(self) -> str:
        """The message as one text."""
        if isinstance(self.message, str):
            return self.message
        path, text = next(_leaves(self.message), ((), "The request is not valid."))
        place = _pointer(path) if self.errors else ".".join(map(str, path))
        return f"{cut(place)}: {cut(text)}" if place else cut(text)


def title(code: str) -> str:
    """Return a problem's title, which is its code in words."""
    return code.replace("_", " ").capitalize()


def is_v2() -> bool:
    """Return whether the current request is for version 2, known path or not."""
    return request.path == "/v2" or request.path.startswith("/v2/")


def problem_of(error: OriginError) -> Problem:
    """Return the answer to this error.

    :raises LookupError: The table has no such error: it is not for clients.
    """
    wording = wording_of(error)
    wording = wording.v2 or wording
    assert error.code is not None
    message = wording.message(error)
    if isinstance(error, SchemaViolated):
        errors = [] if error.in_query else list(_member_errors(error.messages))
    else:
        errors = [
            {"pointer": each, "code": error.code, "detail": str(message)}
            for each in wording.pointers(error)
        ]
    return Problem(
        wording.status,
        error.code,
        shortened(message),
        wording.headers(error),
        errors,
        wording.members(error),
    )


def detail_of(error: OriginError) -> str:
    """Return the `detail` of the answer to this error.

    :raises LookupError: As `problem_of`.
    """
    return problem_of(error).detail


def framework_problem(error: HTTPException) -> Problem:
    """Return the answer to an error that Flask raises, such as 405. Its code is the status' name.

    An unknown path gets the answer of an unknown resource.
    """
    if error.code == HTTPStatus.NOT_FOUND:
        return problem_of(NotFound())
    headers = {name: text for name, text in error.get_headers() if name.lower() != "content-type"}
    code = error.name.lower().replace(" ", "_")
    return Problem(error.code or 500, code, error.name, headers)


def internal_problem() -> Problem:
    """Return the answer to an unexpected error. It says nothing about its cause."""
    return Problem(500, "internal_server_error", "Internal Server Error", {})


def problem_response(problem: Problem) -> Response:
    """Return the problem as a response to the current request."""
    body = as_json(problem.body(current_request_id()))
    response = Response(body, problem.status, content_type=MEDIA_TYPE)
    response.headers.extend(problem.headers)
    return response


def _member_errors(messages: Mapping[Any, Any]) -> Iterator[dict[str, str]]:
    """Yield the wrong members of a body, as far as there is room."""
    room = _MEMBERS_ROOM_BYTES
    for number, (path, text) in enumerate(_leaves(messages)):
        found = {"pointer": _pointer(path), "code": _member_code(text), "detail": cut(text)}
        room -= len(orjson.dumps(found)) + 1
        if number == MAX_MEMBER_ERRORS or room < 0:
            return
        yield found


def _leaves(messages: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield each message of a schema with the path to its member."""
    if isinstance(messages, Mapping):
        for name, below in messages.items():
            # marshmallow's name for what is wrong with an object as a whole.
            yield from _leaves(below, path if name == "_schema" else (*path, name))
    elif isinstance(messages, list):
        for each in messages:
            yield from _leaves(each, path)
    else:
        yield path, messages


def _pointer(path: Sequence[Any]) -> str:
    """Return the JSON pointer (RFC 6901); the whole body's is empty. Long names are cut."""
    return "".join("/" + cut(name).replace("~", "~0").replace("/", "~1") for name in path)


def _member_code(text: str) -> str:
    if isinstance(text, CodedText):
        return text.code
    found = (code for code, begins in MEMBER_CODES.items() if text.startswith(tuple(begins)))
    return next(found, "invalid")
