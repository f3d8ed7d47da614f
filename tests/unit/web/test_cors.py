"""Browsers learn which sites may call (contract: http-api, CORS); other clients need not."""

from collections.abc import Sequence

import pytest
from flask import Flask

from origin.app import _allow_origins

ALLOWED, OTHER = "https://a.example", "https://aXexample"


@pytest.mark.parametrize(
    ("origins", "origin", "answered"),
    [
        ([ALLOWED], ALLOWED, ALLOWED),
        ([ALLOWED], OTHER, None),
        ([ALLOWED], None, None),
        ([], ALLOWED, None),
        (["*"], OTHER, OTHER),
        (["*"], None, "*"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_origins_are_allowed_exactly(
    origins: Sequence[str], origin: str | None, answered: str | None, method: str
):
    app = Flask(__name__)
    _allow_origins(app, origins)
    app.add_url_rule("/accounts", view_func=lambda: "{}", methods=["POST"])
    headers = {} if origin is None else {"Origin": origin}
    # An unknown path too: errors are answers that a browser must be able to read.
    for path in ("/accounts", "/unknown"):
        response = app.test_client().open(path, method=method, headers=headers)
        assert response.headers.get("Access-Control-Allow-Origin") == answered


@pytest.mark.parametrize("origins", [[ALLOWED], ["*"]])
def test_scripts_may_read_the_headers_that_clients_of_version_2_need(origins: Sequence[str]):
    app = Flask(__name__)
    _allow_origins(app, origins)
    found = app.test_client().get("/v2/unknown", headers={"Origin": ALLOWED})
    names = set(found.headers["Access-Control-Expose-Headers"].split(", "))
    assert {"Location", "Idempotency-Replayed", "Retry-After", "X-Request-ID"} <= names
    if origins == [ALLOWED]:
        found = app.test_client().get("/v2/unknown", headers={"Origin": OTHER})
        assert "Access-Control-Expose-Headers" not in found.headers


@pytest.mark.parametrize("origins", [[ALLOWED], ["*"]])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_the_old_api_gains_no_header(origins: Sequence[str], method: str):
    app = Flask(__name__)
    _allow_origins(app, origins)
    for path in ("/ggo/compose", "/unknown", "/v2x"):
        found = app.test_client().open(path, method=method, headers={"Origin": ALLOWED})
        assert "Access-Control-Allow-Origin" in found.headers
        assert "Access-Control-Expose-Headers" not in found.headers
