"""Error responses of version 2: problem details (contract: v2, Conventions)."""

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from origin.errors import (
    AccessTokenInvalid,
    BodyNotJson,
    BodyTooLarge,
    BodyTooSlow,
    IdempotencyKeyMissing,
    KeyInUse,
    KeyReused,
    NotFound,
    OriginError,
    PeerMisbehaved,
    PeerUnavailable,
    RateLimited,
    SchemaViolated,
    ScopeMissing,
    TokensSpent,
)
from origin.monitoring.views.description import errors
from origin.web.v2.problems import (
    MEDIA_TYPE,
    MEMBER_CODES,
    TYPE_PREFIX,
    Problem,
    internal_problem,
    problem_of,
)

Json = dict[str, Any]

_REQUEST_ID = "0193e0c2-7b1f-7c55-9d0c-6d0a5c2b7f41"
_UNKNOWN_PARAMETER = SchemaViolated({"size": ["Unknown parameter."]}, in_query=True)
_WRONG_MEMBER = SchemaViolated({"size": ["Unknown field."]})
_SHARED: dict[str, tuple[str, Sequence[Problem]]] = {
    "400": ("Rejected; nothing was changed", [problem_of(_UNKNOWN_PARAMETER)]),
    "401": ("No valid token of an active account", [problem_of(AccessTokenInvalid())]),
    "403": (
        "The token lacks a scope, or the account's holder must log in here again",
        [problem_of(ScopeMissing(["ggo.read"])), problem_of(TokensSpent())],
    ),
    "404": ("Unknown, or another account's", [problem_of(NotFound())]),
    "408": ("The body took longer than BODY_TIME_LIMIT to arrive", [problem_of(BodyTooSlow(30))]),
    "409": ("The state of things forbids it now", [problem_of(KeyInUse())]),
    "413": ("The body is longer than MAX_BODY_BYTES", [problem_of(BodyTooLarge(1024 * 1024))]),
    "422": ("Well-formed, but impossible; nothing was changed", [problem_of(KeyReused())]),
    "429": ("More than RATE_LIMIT_PER_MINUTE requests", [problem_of(RateLimited(600, 17))]),
    "500": ("Unexpected", [internal_problem()]),
    "502": (
        "A peer answered what it should not",
        [problem_of(PeerMisbehaved("DataHubService", ""))],
    ),
    "503": (
        "A peer or the database is unavailable now, or the service is too busy",
        [problem_of(PeerUnavailable("DataHubService", ""))],
    ),
}
"""What each status means, with examples. Those of others come from `@rejects` alone."""
_HEADERS = {
    "401": ("WWW-Authenticate",),
    "403": ("WWW-Authenticate",),
    "409": ("Retry-After",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}
_OF_GUNICORN = frozenset({"414", "431"})
"""Statuses with which gunicorn answers, before the path is known: in the old API's shape."""

_MEMBERS: Json = {
    name: {
        "type": "integer",
        "format": "int64",
        "description": f"{text}; only of some codes",
    }
    for name, text in {
        "count": "How many there are of what is too many",
        "available": "How many Wh there are",
        "requested": "How many Wh were asked for",
    }.items()
}
"""What some problems have besides, each by its entry in `origin.web.errors`."""

SCHEMAS: Json = {
    "Problem": {
        "type": "object",
        "description": "Why a request was not done (RFC 9457). A code may add members.",
        "properties": {
            "type": {
                "type": "string",
                "format": "uri",
                "description": f"The code as a URI: `{TYPE_PREFIX}` and the code",
            },
            "title": {"type": "string", "description": "The code in words"},
            "status": {
                "type": "integer",
                "format": "int64",
                "description": "The status of the response",
            },
            "detail": {"type": "string", "description": "What is wrong, for people"},
            "code": {
                "type": "string",
                "pattern": "^[a-z0-9_]+$",
                "description": "What is wrong, for programs; it never changes",
            },
            "errors": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/MemberError"},
                "description": "The wrong members of the body; absent if there are none",
            },
            **_MEMBERS,
            "requestId": {"type": "string", "description": "The id of this request in the logs"},
            "success": {"type": "boolean", "const": False, "description": "Not done"},
            "message": errors.SCHEMAS["Error"]["properties"]["message"],
        },
        "required": [
            "type",
            "title",
            "status",
            "detail",
            "code",
            "requestId",
            "success",
            "message",
        ],
    },
    "MemberError": {
        "type": "object",
        "description": "A wrong member of a body",
        "properties": {
            "pointer": {
                "type": "string",
                "description": "Where it stands: a JSON pointer (RFC 6901)",
            },
            "code": {
                "type": "string",
                "description": f"One of {', '.join(MEMBER_CODES)}, or the problem's own",
            },
            "detail": {"type": "string", "description": "What is wrong with it, for people"},
        },
        "required": ["pointer", "code", "detail"],
        "additionalProperties": False,
    },
}


def _response(code: str, own: Iterable[Problem] = ()) -> Json:
    """Return the response of this status; its examples are the shared ones and its own."""
    text, shared = _SHARED.get(code, (HTTPStatus(int(code)).phrase, ()))
    names = ("X-Request-ID", *_HEADERS.get(code, ()))
    examples = {each.code: {"value": each.body(_REQUEST_ID)} for each in (*shared, *own)}
    return {
        "description": text,
        "headers": {name: errors.header(name) for name in names},
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
        },
    }


def _name(code: str) -> str:
    phrase = HTTPStatus(int(code)).phrase
    return "".join(word.capitalize() for word in phrase.split()) + "Problem"


RESPONSES: Json = {_name(code): _response(code) for code in _SHARED}
"""The responses to errors by name."""


def responses(
    codes: Sequence[str], samples: Iterable[OriginError], *, has_body: bool
) -> Iterator[tuple[str, Json]]:
    """Yield the statuses of an operation's errors, and their responses.

    :param codes: Statuses that such an operation may answer.
    :param samples: Errors that its view raises: their bodies are examples, and their statuses are added.
    """
    own: dict[str, list[Problem]] = {}
    for each in samples:
        problem = problem_of(each)
        own.setdefault(str(problem.status), []).append(problem)
    if has_body:
        wrong = [problem_of(_WRONG_MEMBER), problem_of(BodyNotJson())]
        own["400"] = [*wrong, *own.get("400", [])]
    if "422" in codes:
        own["400"] = [*own.get("400", []), problem_of(IdempotencyKeyMissing())]
    for code in sorted({*codes, *own}):
        if code in _OF_GUNICORN:
            yield from errors.responses([code], is_signed=False)
        elif code in own:
            yield code, _response(code, own[code])
        else:
            yield code, {"$ref": f"#/components/responses/{_name(code)}"}
