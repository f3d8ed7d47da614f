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

MAX_IDS_BY_GET = 15
_BATCH_ID = re.compile(r"[0-9a-f]{128}")


def create_app(validator: Validator | None = None) -> Flask:
    """Return the ledger's REST API and control calls, over a validator (default: a new one)."""
    validator = validator or Validator()
    links = {"prefix": ""}

    def reset() -> None:
        validator.reset()
        links["prefix"] = ""

    app, _ = new_app("ledger", error_body=error_body, reset=reset)
    add_control(app, validator, links)
    _add_batches(app, validator, links)
    _add_state(app, validator)

    @app.errorhandler(RefusedError)
    def refused(error: RefusedError) -> tuple[Response, int]:
        status, body = error_body(0, error.code, error.detail)
        return jsonify(body), status

    return app


def _add_batches(app: Flask, validator: Validator, links: dict[str, str]) -> None:
    @app.post("/batches")
    def submit() -> tuple[Response, int]:
        if request.mimetype != "application/octet-stream":
            raise RefusedError(42)
        batches = parse_batches(request.get_data())
        validator.submit(batches)
        ids = ",".join(batch.id for batch in batches)
        prefix = links["prefix"] or request.host_url.rstrip("/")
        return jsonify({"link": f"{prefix}/batch_statuses?id={ids}"}), 202

    @app.get("/batch_statuses")
    def statuses_by_get() -> Response:
        ids = [one for one in request.args.get("id", "").split(",") if one]
        if not 1 <= len(ids) <= MAX_IDS_BY_GET:
            raise RefusedError(66)
        return _statuses(validator, ids)

    @app.post("/batch_statuses")
    def statuses_by_post() -> Response:
        if request.mimetype != "application/json":
            raise RefusedError(43)
        ids = request.get_json(silent=True)
        if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
            raise RefusedError(46)
        return _statuses(validator, ids)


def _add_state(app: Flask, validator: Validator) -> None:
    @app.get("/state/<address>")
    def state(address: str) -> Response:
        if not ADDRESS_PATTERN.fullmatch(address):
            raise RefusedError(62)
        record = validator.state_at(address)
        if record is None:
            raise RefusedError(75)
        data = base64.b64encode(json.dumps(record).encode()).decode()
        return _envelope(validator, data)


def _statuses(validator: Validator, ids: list[str]) -> Response:
    if not all(_BATCH_ID.fullmatch(one) for one in ids):
        raise RefusedError(60)
    return _envelope(validator, validator.statuses(ids))


def _envelope(validator: Validator, data: Any) -> Response:
    return jsonify({"data": data, "head": validator.head, "link": request.url})
