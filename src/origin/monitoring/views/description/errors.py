"""Error responses: one for each status, with its headers and an example (contract: Conventions)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from origin.errors import (
    AccessTokenInvalid,
    BodyNotJson,
    BodyTooLarge,
    BodyTooSlow,
    KeyInUse,
    KeyReused,
    OriginError,
    PeerMisbehaved,
    PeerUnavailable,
    RateLimited,
    ScopeMissing,
    SignatureInvalid,
    TokensSpent,
)
from origin.web.errors import worded

Json = dict[str, Any]


@dataclass(frozen=True)
class _Status:
    """The responses of one status.

    :ivar name: Of the response in the document's components.
    :ivar samples: Errors whose bodies are the examples.
    :ivar unworded: An example's message, where gunicorn or Flask answers and no error of ours.
    :ivar headers: Names of headers that such responses have.
    """

    name: str
    text: str
    samples: tuple[OriginError, ...] = ()
    unworded: str = ""
    headers: tuple[str, ...] = ()


_SCOPE_MISSING = ScopeMissing(frozenset({"ggo.read"}))
_STATUSES = {
    "400": _Status("BadRequest", "Rejected; nothing was changed", (BodyNotJson(),)),
    "401": _Status(
        "InvalidToken",
        "No valid token of an active account",
        (AccessTokenInvalid(),),
        headers=("WWW-Authenticate",),
    ),
    "403": _Status(
        "Forbidden",
        "The token lacks a scope, or the account's holder must log in here again",
        (_SCOPE_MISSING, TokensSpent()),
        headers=("WWW-Authenticate",),
    ),
    "408": _Status(
        "BodyTooSlow", "The body took longer than BODY_TIME_LIMIT to arrive", (BodyTooSlow(30),)
    ),
    "409": _Status(
        "KeyInUse",
        "A request with this Idempotency-Key still runs",
        (KeyInUse(),),
        headers=("Retry-After",),
    ),
    "413": _Status(
        "BodyTooLarge", "The body is longer than MAX_BODY_BYTES", (BodyTooLarge(1024 * 1024),)
    ),
    "414": _Status(
        "UrlTooLong", "The URL is longer than 8,190 bytes", unworded="The first line is too long"
    ),
    "422": _Status(
        "KeyReused", "This Idempotency-Key came before with another body", (KeyReused(),)
    ),
    "429": _Status(
        "TooManyRequests",
        "More than RATE_LIMIT_PER_MINUTE requests",
        (RateLimited(600, 17),),
        headers=("Retry-After",),
    ),
    "431": _Status(
        "HeadersTooLong",
        "The headers are too long, or too many",
        unworded="The headers are too long, or too many",
    ),
    "500": _Status("InternalError", "Unexpected", unworded="Internal Server Error"),
    "502": _Status(
        "PeerFailed",
        "A peer answered what it should not",
        (PeerMisbehaved("DataHubService", ""),),
    ),
    "503": _Status(
        "Unavailable",
        "A peer or the database is unavailable now, or the service is too busy",
        (PeerUnavailable("DataHubService", ""),),
        headers=("Retry-After",),
    ),
}
_WRONG_SIGNATURE = _Status(
    "InvalidSignature",
    "No valid signature",
    (SignatureInvalid(),),
    headers=("WWW-Authenticate",),
)
_ANY_OTHER = _Status(
    "OtherError", "Any other status is an error in the same shape", unworded="Not Found"
)
_MISSING = "Missing data for required field."

HEADERS: Json = {
    "X-Request-ID": {
        "description": "The id of this request in the logs",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
        "example": "0193e0c2-7b1f-7c55-9d0c-6d0a5c2b7f41",
    },
    "Retry-After": {
        "description": "Seconds to wait before the next attempt",
        "schema": {"type": "integer", "format": "int64", "minimum": 0},
        "example": 10,
    },
    "WWW-Authenticate": {
        "description": "What is missing (RFC 6750). A 403 that asks for a new login has none.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="AccountService", error="invalid_token"',
    },
}
SCHEMAS: Json = {
    "Error": {
        "type": "object",
        "description": "Why a request was not done. The old API's errors have no code.",
        "properties": {
            "success": {"type": "boolean", "const": False, "description": "Not done"},
            "message": {
                "description": "A sentence, or messages by field if the body does not fit its schema",
                "anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/FieldErrors"}],
            },
        },
        "required": ["success", "message"],
        "additionalProperties": False,
    },
    "FieldErrors": {
        "type": "object",
        "description": "Messages by field. An item of a list stands under its index.",
        "additionalProperties": {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"$ref": "#/components/schemas/FieldErrors"},
            ]
        },
    },
}


def header(name: str) -> Json:
    """Return a reference to one of `HEADERS`."""
    return {"$ref": f"#/components/headers/{name}"}


def _response(status: _Status, examples: Json) -> Json:
    names = ("X-Request-ID", *status.headers)
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}
    return {
        "description": status.text,
        "headers": {name: header(name) for name in names},
        "content": {"application/json": content},
    }


def _examples(status: _Status) -> Json:
    if status.unworded:
        return {"message": _example({"success": False, "message": status.unworded})}
    return _worded(status.samples)


def _worded(samples: Iterable[OriginError]) -> Json:
    """Return the bodies of these errors, by the errors' codes."""
    answers = [worded(each) for each in samples]
    return {each.code: _example(each.body) for each in answers}


def _example(body: Json) -> Json:
    return {"value": body}


RESPONSES: Json = {
    each.name: _response(each, _examples(each))
    for each in (*_STATUSES.values(), _WRONG_SIGNATURE, _ANY_OTHER)
}
"""All error responses by name."""


def any_other() -> Json:
    """Return the `default` response."""
    return _reference(_ANY_OTHER)


def _reference(status: _Status) -> Json:
    return {"$ref": f"#/components/responses/{status.name}"}


def responses(codes: Iterable[str], *, is_signed: bool) -> Iterator[tuple[str, Json]]:
    """Yield the statuses and their responses.

    :param is_signed: Whether a `401` is about a signature, not about a token.
    """
    for code in codes:
        yield code, _reference(_WRONG_SIGNATURE if code == "401" and is_signed else _STATUSES[code])


def bad_request(body: Mapping[str, Any] | None, samples: Iterable[OriginError]) -> Json:
    """Return the `400` of one operation.

    :param body: The schema of its request, None if it reads no body.
    :param samples: Errors that it raises; their bodies are examples.
    """
    examples = {}
    if body is not None:
        field = next(iter(body.get("required", [])), None)
        message = {field: [_MISSING]} if field else {"size": ["Unknown field."]}
        examples["schema_violated"] = _example({"success": False, "message": message})
        examples |= _worded([BodyNotJson()])
    return _response(_STATUSES["400"], {**examples, **_worded(samples)})
