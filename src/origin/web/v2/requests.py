"""What views of version 2 read besides body and query: ids in paths, and headers."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import after_this_request, request
from flask.wrappers import Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_list_header

from origin.errors import IdempotencyKeyInvalid, IdempotencyKeyMissing, NotAcceptable, NotFound
from origin.shared.limits import MAX_IDEMPOTENCY_KEY_LENGTH

MAX_WAIT_S = 25
"""The longest wait that `Prefer: wait` gets, in seconds."""

_PRINTABLE = re.compile(rf"[ -~]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_CHARSET = re.compile(r"\s*;\s*charset=\"?utf-8\"?(?=\s*(;|$))", re.IGNORECASE)

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "The caller's name for this order: a repeat makes no second one",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
        "pattern": "^[ -~]+$",
    },
}
"""The header's description, for `@blueprint.doc(parameters=[…])`."""
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": (
        f"`wait=N` (RFC 7240): answer once the operation is final, at the latest after N s "
        f"(at most {MAX_WAIT_S})"
    ),
    "schema": {"type": "string"},
    "example": "wait=10",
}
"""The header's description, for `@blueprint.doc(parameters=[…])`."""


def id_parameter(name: str, description: str) -> dict[str, Any]:
    """Return the description of an id in a path, for `parameters` of `@blueprint.get` and others."""
    schema = {"type": "string", "format": "uuid"}
    return {"name": name, "in": "path", "description": description, "schema": schema}


def id_in_path(text: str) -> UUID:
    """Return the id that a path names.

    :raises NotFound: It is no UUID, so that nothing has it.
    """
    if not _ID.fullmatch(text):
        raise NotFound
    return UUID(text)


def idempotency_key() -> str:
    """Return the request's Idempotency-Key.

    :raises IdempotencyKeyMissing: It has none.
    :raises IdempotencyKeyInvalid: It is not of 1 to 255 printable ASCII characters.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        raise IdempotencyKeyMissing
    if not _PRINTABLE.fullmatch(key):
        raise IdempotencyKeyInvalid(MAX_IDEMPOTENCY_KEY_LENGTH)
    return key


def preferred_wait_s() -> int:
    """Return how many seconds the client will wait: 0 to `MAX_WAIT_S` (RFC 7240, `wait`).

    A preference that can't be read is ignored, and the first of several counts.
    """
    for preference in parse_list_header(", ".join(request.headers.getlist("Prefer"))):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            return _seconds(value.strip().strip('"'))
    return 0


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        return 0
    # Not `int` of thousands of digits.
    return min(int(text[-3:]), MAX_WAIT_S) if len(text.lstrip("0")) <= 3 else MAX_WAIT_S


def negotiated(offered: Sequence[str]) -> str:
    """Return the media type to answer with (RFC 9110, 12.5.1), and say so by `Vary`.

    :param offered: Media types without parameters. The first is for clients that accept all alike.
    :raises NotAcceptable: The client accepts none of them.
    """
    after_this_request(_vary)
    if not request.headers.get("Accept", "").strip():
        return offered[0]
    # All our texts are in UTF-8, so that a client may ask for that.
    accepted = MIMEAccept(
        [(_CHARSET.sub("", each), quality) for each, quality in request.accept_mimetypes]
    )
    # Not `best_match`, which takes `*/*` for a type that the client excludes by `q=0`.
    best = max(offered, key=accepted.quality)
    if accepted.quality(best) <= 0:
        raise NotAcceptable(offered)
    return best


def _vary(response: Response) -> Response:
    response.vary.add("Accept")
    return response
