"""Responses in JSON."""

from typing import Any

from flask import Response

from origin.shared.json_codec import encode_json


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """Return a JSON response; aware times become ISO 8601."""
    return Response(encode_json(body), status, mimetype="application/json")
