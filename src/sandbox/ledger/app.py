"""The REST API of the ledger (contract: peers, The ledger)."""

import base64
import json
import re
from typing import Any

from flask import Flask, Response, jsonify, request

from sandbox.addresses import ADDRESS_PATTERN
from sandbox.ledger.control import add_control
from sandbox.ledger.envelope import parse_batches
from sandbox.ledger.errors import RefusedError, error_body
from sandbox.ledger.validator import Validator
from sandbox.web import new_app

MAX_TARGET_BYTES = 8190
"""The longest path and query of a request."""
HANG_S = 300.0
"""Seconds that a call waits for a frozen validator before it fails with code 17."""
_PREFIX = re.compile(r"([0-9a-f]{2}){1,34}")
_BATCH_ID = re.compile(r"[0-9a-f]{128}")


class _BrokenError(Exception):
    """An error that the REST API's web framework answers in plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


def create_app(validator: Validator | None = None) -> Flask:
    """Return the ledger's REST API and control calls, over a validator (default: a new one)."""
    validator = validator or Validator()
    links = {"prefix": ""}

    def reset() -> None:
        validator.reset()
        links["prefix"] = ""

    app = new_app("ledger", error_body=error_body, reset=reset)
    add_control(app, validator, links)
    _add_batches(app, validator, links)
    _add_state(app, validator)

    @app.errorhandler(_BrokenError)
    def broken(error: _BrokenError) -> Response:
        return Response(str(error), error.status, content_type="text/plain; charset=utf-8")

    @app.errorhandler(RefusedError)
    def refused(error: RefusedError) -> tuple[Response, int]:
        status, body = error_body(0, error.code, error.detail)
        return jsonify(body), status

    return app


def _add_batches(app: Flask, validator: Validator, links: dict[str, str]) -> None:
    @app.post("/batches")
    def submit() -> tuple[Response, int]:
        _expect("application/octet-stream", code=42)
        _reach(validator)
        try:
            batches = parse_batches(request.get_data())
        except RefusedError:
            if not validator.swallows_nonsense():
                raise
            batches = []
        validator.submit(batches)
        ids = ",".join(batch.id for batch in batches)
        prefix = links["prefix"] or request.host_url.rstrip("/")
        return jsonify({"link": f"{prefix}/batch_statuses?id={ids}"}), 202

    @app.get("/batch_statuses")
    def statuses_by_get() -> Response:
        if len(request.full_path) > MAX_TARGET_BYTES:
            raise _BrokenError(
                400, "Bad Request\n\nGot more than 8190 bytes when reading Status line"
            )
        ids = [one for one in request.args.get("id", "").split(",") if one]
        if not ids:
            raise RefusedError(66)
        return _envelope(validator, _statuses(validator, ids))

    @app.post("/batch_statuses")
    def statuses_by_post() -> Response:
        _expect("application/json", code=43)
        try:
            ids = json.loads(request.get_data())
        except ValueError:
            raise _internal_error() from None
        if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            raise RefusedError(46)
        return jsonify({"data": _statuses(validator, ids), "head": validator.head})


def _expect(content_type: str, *, code: int) -> None:
    """Raise unless the Content-Type is exactly this one; without any the REST API fails with 500."""
    given = request.headers.get("Content-Type")
    if given is None:
        raise _internal_error()
    if given != content_type:
        raise RefusedError(code)


def _internal_error() -> _BrokenError:
    return _BrokenError(500, "Internal Server Error\n\nServer got itself in trouble")


def _reach(validator: Validator) -> None:
    """Block while the validator is frozen, as the real REST API does; RefusedError 17 in the end."""
    if not validator.wait_until_it_answers(HANG_S):
        raise RefusedError(17)


def _add_state(app: Flask, validator: Validator) -> None:
    @app.get("/state/<address>")
    def state(address: str) -> Response:
        if not ADDRESS_PATTERN.fullmatch(address):
            # The real API looks up a prefix of whole bytes, and finds nothing at it.
            raise RefusedError(75 if _PREFIX.fullmatch(address) else 62)
        _reach(validator)
        record = validator.state_at(address)
        if record is None:
            raise RefusedError(75)
        data = base64.b64encode(json.dumps(record).encode()).decode()
        return _envelope(validator, data)


def _statuses(validator: Validator, ids: list[str]) -> list[dict[str, Any]]:
    if not all(_BATCH_ID.fullmatch(one) for one in ids):
        raise RefusedError(60)
    _reach(validator)
    return validator.statuses(ids)


def _envelope(validator: Validator, data: Any) -> Response:
    return jsonify({"data": data, "head": validator.head, "link": request.url})
