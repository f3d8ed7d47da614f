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


def test_scripts_may_read_the_headers_that_clients_need():
    app = Flask(__name__)
    _allow_origins(app, [ALLOWED])
    for origin, exposed in ((ALLOWED, True), (OTHER, False)):
        found = app.test_client().get("/unknown", headers={"Origin": origin})
        names = set(found.headers.get("Access-Control-Expose-Headers", "").split(", "))
        needed = {"Location", "Idempotency-Replayed", "Retry-After", "X-Request-ID"}
        assert (needed <= names) is exposed
