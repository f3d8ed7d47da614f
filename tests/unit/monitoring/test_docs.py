"""The documentation page: what it may load, and with which client it logs in."""

import pytest
from flask import Response
from flask.testing import FlaskClient

from devstack.openapi_document import SETTINGS
from origin.app import create_app
from origin.settings import Settings


def _client(**changes: str) -> FlaskClient:
    return create_app(Settings.of({**SETTINGS, **changes})).test_client()


def _connects_to(response: Response) -> str:
    policy = response.headers["Content-Security-Policy"]
    [found] = [each for each in policy.split("; ") if each.startswith("connect-src")]
    return found.removeprefix("connect-src ")


def test_without_a_client_it_asks_this_service_alone():
    page = _client().get("/docs")
    assert _connects_to(page) == "'self'"
    assert 'data-client-id=""' in page.text


def test_with_a_client_it_fetches_tokens_from_hydra():
    page = _client(docs_client_id='d"ocs', hydra_url="https://login.example:444/hydra/").get(
        "/docs"
    )
    assert _connects_to(page) == "'self' https://login.example:444"
    assert 'data-client-id="d&quot;ocs"' in page.text


@pytest.mark.parametrize("name", ["oauth2-redirect.html", "oauth2-redirect.js", "start.js"])
def test_what_it_loads_is_restricted_too(name: str):
    with _client().get(f"/docs/{name}") as found:
        assert found.status_code == 200
        assert _connects_to(found) == "'self'"
        assert "script-src 'self';" in found.headers["Content-Security-Policy"]
        assert found.headers["Referrer-Policy"] == "no-referrer"


def test_switched_off_nothing_of_it_is_there():
    client = _client(docs_enabled="0")
    assert client.get("/docs").status_code == 404
    assert client.get("/docs/start.js").status_code == 404
