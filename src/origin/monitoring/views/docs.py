"""The page with the OpenAPI document (contract: http-api, Operations).

It loads its script and style from this service alone, and works without other networks.
"""

import flask
from flask import Response

from origin.web.blueprint import Blueprint

blueprint = Blueprint("docs", __name__)
assets = flask.Blueprint("docs_assets", __name__, static_folder="assets", static_url_path="/docs")
"""The page's script and style, which are no part of the API."""

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AccountService: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@blueprint.get("/docs")
@blueprint.response(
    200,
    {"type": "string"},
    description="The page",
    content_type="text/html",
    example="<!doctype html>…",
)
def get_docs() -> Response:
    """Show the API's description as a page, on which requests can be tried."""
    # Users type tokens into it: no foreign script may run there.
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})
