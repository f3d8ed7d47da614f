"""The OpenAPI document, as the service publishes it (contract: http-api, Operations)."""

import orjson
from flask import Response, current_app

from origin.monitoring.views.description import document
from origin.web.blueprint import Blueprint

blueprint = Blueprint("openapi", __name__)

_EXTENSION = "origin_openapi"


@blueprint.get("/openapi.json")
@blueprint.response(
    200,
    {"type": "object"},
    description="The description",
    content_type="application/json",
    example={"openapi": "3.1.0"},
)
def get_openapi() -> Response:
    """Describe the whole API, as OpenAPI 3.1."""
    made = current_app.extensions.get(_EXTENSION)
    if made is None:
        made = current_app.extensions[_EXTENSION] = orjson.dumps(document(current_app))
    return Response(made, mimetype="application/json")
