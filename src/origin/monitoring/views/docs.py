"""The page with the OpenAPI document (contract: http-api, Operations).

It loads its script and style from this service alone, and works without other networks.
"""

import html
from urllib.parse import urlsplit

import flask
from flask import Response

from origin.settings import Settings
from origin.web.blueprint import Blueprint
from origin.web.described import A_GGO_ADDRESS
from origin.web.provided import provided

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
<div id="swagger-ui" data-client-id="{client_id}" data-example-address="{address}"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src {connect}; base-uri 'none'; frame-ancestors 'none'"
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
    """Show the API's description as a page, on which requests can be tried.

    "Authorize" logs in at Hydra, with the client DOCS_CLIENT_ID. Without it, a token can be pasted.
    """
    settings = provided(Settings)
    client_id, connect = settings.docs_client_id, "'self'"
    if client_id:
        hydra = urlsplit(settings.hydra_url)
        connect = f"'self' {hydra.scheme}://{hydra.netloc}"
    page = _PAGE.format(client_id=html.escape(client_id), address=A_GGO_ADDRESS)
    # Tokens come into it: no foreign script may run there.
    policy = {"Content-Security-Policy": _POLICY.format(connect=connect)}
    return Response(page, mimetype="text/html", headers=policy)


@assets.after_request
def _restrict(response: Response) -> Response:
    """Restrict the page that Hydra sends the browser back to: its URL has a code."""
    response.headers["Content-Security-Policy"] = _POLICY.format(connect="'self'")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
