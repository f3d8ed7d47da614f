"""Responses in JSON."""

import json
from typing import Any

import orjson
from flask import Response


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """Return a JSON response; aware times become ISO 8601."""
    try:
        raw = orjson.dumps(body)
    except orjson.JSONEncodeError:
        # orjson's whole numbers end at 64 bits, and a sum may be larger.
        raw = json.dumps(body).encode()
    return Response(raw, status, mimetype="application/json")
