"""Hydra's endpoints one by one; the integration tests cover the whole flow."""

import base64
import hashlib
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import KeySet

from sandbox.hydra import create_app
from sandbox.hydra.app import Client

BACK = "http://127.0.0.1:9/auth/login/callback"
BASIC = {"Authorization": "Basic " + base64.b64encode(b"me:s3cret%2B").decode()}
ASKED = {
    "client_id": "me",
    "redirect_uri": BACK,
    "response_type": "code",
    "scope": "openid offline profile",
    "state": "a-long-state",
}


@pytest.fixture(scope="module")
def app():
    # Shared, because generating its RSA key takes long.
    return create_app(
        Client("me", "s3cret+"),
        redirect_uris=[BACK],
        public_clients={"page": ["https://page.example/in", "http://127.0.0.1/in"]},
    )


@pytest.fixture
def http(app):
    client = app.test_client()
    client.post("/control/reset")
    return client


def back(answer):
    """Return the query of a redirect to the client."""
    assert answer.status_code == 303, answer.text
    assert answer.location.startswith(BACK + "?")
    return {name: value[0] for name, value in parse_qs(urlsplit(answer.location).query).items()}


def login(http, sub="anna", **more):
    """Return the code of a user who has consented to all scopes."""
    return back(http.get("/oauth2/auth", query_string={**ASKED, "login_hint": sub, **more}))["code"]


def exchange(http, code, headers=BASIC, **more):
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, **more}
    return http.post("/oauth2/token", data=form, headers=headers)


def refresh(http, token, **more):
    form = {"grant_type": "refresh_token", "refresh_token": token, **more}
    return http.post("/oauth2/token", data=form, headers=BASIC)


def introspect(http, token, scope=""):
    return http.post("/oauth2/introspect", data={"token": token, "scope": scope}).json


def test_the_page_shows_the_scopes_and_escapes_what_it_was_given(http):
    answer = http.get("/oauth2/auth", query_string={**ASKED, "nonce": '"><script>'})
    assert answer.status_code == 200
    assert 'value="offline"' in answer.text
    assert "<script>" not in answer.text


def test_the_form_answers_with_code_scope_and_state(http):
    form = {"subject": "anna", "scope": ["openid", "ggo.retire"], "action": "accept"}
    brought = back(http.post("/oauth2/auth", query_string=ASKED, data=form))
    assert brought.pop("code")
    assert brought == {"scope": "openid", "state": "a-long-state"}


def test_declining_is_access_denied(http):
    brought = back(http.post("/oauth2/auth", query_string=ASKED, data={"action": "decline"}))
    assert (brought["error"], brought["state"]) == ("access_denied", "a-long-state")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "openid everything"}, "invalid_scope"),
        ({"state": "short"}, "invalid_state"),
        ({"code_challenge": "x", "code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_a_wrong_request_redirects_with_an_error(http, wrong, error):
    assert back(http.get("/oauth2/auth", query_string={**ASKED, **wrong}))["error"] == error


@pytest.mark.parametrize("wrong", [{"client_id": "you"}, {"redirect_uri": BACK + "/evil"}])
def test_there_is_no_redirect_to_an_unregistered_uri(http, wrong):
    answer = http.get("/oauth2/auth", query_string={**ASKED, **wrong, "login_hint": "anna"})
    assert answer.status_code == 400
    assert answer.location is None


def test_a_code_can_be_redeemed_once(http):
    code = login(http)
    tokens = exchange(http, code).json
    assert tokens["scope"] == "openid offline profile"
    assert introspect(http, tokens["access_token"])["sub"] == "anna"
    again = exchange(http, code)
    assert (again.status_code, again.json["error"]) == (400, "invalid_grant")
    assert introspect(http, tokens["access_token"]) == {"active": False}


def test_the_client_must_authenticate(http):
    wrong = {"Authorization": "Basic " + base64.b64encode(b"me:guess").decode()}
    for headers in ({}, wrong):
        answer = exchange(http, login(http), headers=headers)
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    in_form = exchange(http, login(http), headers={}, client_id="me", client_secret="s3cret+")
    assert in_form.status_code == 401


def test_pkce_is_enforced_where_a_challenge_was_sent(http):
    verifier = "v" * 43
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    sent = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert exchange(http, login(http, **sent)).json["error"] == "invalid_grant"
    assert exchange(http, login(http, **sent), code_verifier="w" * 43).status_code == 400
    assert exchange(http, login(http, **sent), code_verifier=verifier).status_code == 200
    assert exchange(http, login(http), code_verifier=verifier).status_code == 400


def test_the_redirect_uri_must_be_the_same(http):
    answer = exchange(http, login(http), redirect_uri=BACK + "2")
    assert answer.json["error"] == "invalid_grant"


def test_refresh_tokens_rotate_and_reuse_revokes_the_consent(http):
    first = exchange(http, login(http)).json
    second = refresh(http, first["refresh_token"]).json
    assert second["id_token"]
    assert introspect(http, first["access_token"]) == {"active": False}
    assert introspect(http, second["access_token"])["active"]
    stolen = refresh(http, first["refresh_token"])
    assert (stolen.status_code, stolen.json["error"]) == (400, "invalid_grant")
    assert introspect(http, second["access_token"]) == {"active": False}
    assert refresh(http, second["refresh_token"]).status_code == 400


def test_a_refresh_may_narrow_the_scope_but_not_widen_it(http):
    tokens = exchange(http, login(http)).json
    assert refresh(http, tokens["refresh_token"], scope="ggo.read").json["error"] == "invalid_scope"
    narrowed = refresh(http, tokens["refresh_token"], scope="offline profile").json
    assert narrowed["scope"] == "offline profile"
    assert "id_token" not in narrowed


def test_without_offline_there_is_no_refresh_token(http):
    tokens = exchange(http, login(http, scope="openid")).json
    assert "refresh_token" not in tokens
    assert refresh(http, tokens["access_token"]).status_code == 400


def test_introspection_distinguishes_kinds_of_tokens(http):
    tokens = exchange(http, login(http)).json
    access = introspect(http, tokens["access_token"])
    assert access["exp"] - access["iat"] == tokens["expires_in"] == 3600
    assert (access["client_id"], access["iss"]) == ("me", "http://localhost")
    assert (access["token_use"], access["token_type"]) == ("access_token", "Bearer")
    other = introspect(http, tokens["refresh_token"])
    assert (other["token_use"], other["token_type"]) == ("refresh_token", "refresh_token")
    assert introspect(http, tokens["access_token"], "ggo.read") == {"active": False}
    assert introspect(http, "no token") == {"active": False}


def test_introspection_can_require_the_client(http):
    strict = create_app(Client("me", "s3cret+"), introspect_auth=True).test_client()
    assert strict.post("/oauth2/introspect", data={"token": "x"}).status_code == 401
    answer = strict.post("/oauth2/introspect", data={"token": "x"}, headers=BASIC)
    assert answer.json == {"active": False}
    assert http.post("/oauth2/introspect", data={}).status_code == 400


def test_revoking_one_token_revokes_the_consent(http):
    tokens = exchange(http, login(http)).json
    answer = http.post("/oauth2/revoke", data={"token": tokens["refresh_token"]}, headers=BASIC)
    assert answer.status_code == 200
    assert introspect(http, tokens["access_token"]) == {"active": False}


def mint(http, **wish):
    return http.post("/control/tokens", json={"sub": "bo", **wish}).json


def test_tokens_can_be_created_without_a_login(http):
    tokens = mint(http, scope="ggo.read offline", expires_in=5)
    seen = introspect(http, tokens["access_token"])
    assert (seen["sub"], seen["scope"], seen["exp"] - seen["iat"]) == ("bo", "ggo.read offline", 5)
    assert refresh(http, tokens["refresh_token"]).status_code == 200
    assert mint(http, scope="ggo.read")["refresh_token"] is None


def test_tokens_can_be_expired_and_revoked(http):
    one, two = mint(http), mint(http)
    assert http.post("/control/expire", json={"token": one["access_token"]}).json["tokens"] == 1
    assert introspect(http, one["access_token"]) == {"active": False}
    assert introspect(http, two["access_token"])["active"]
    assert http.post("/control/revoke", json={"sub": "bo"}).json["tokens"] == 3
    assert introspect(http, two["refresh_token"]) == {"active": False}


def claims_of(http, token):
    keys = KeySet.import_key_set(http.get("/.well-known/jwks.json").json)
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


def test_the_id_token_has_subject_and_audience(http):
    token = exchange(http, login(http, nonce="n-1")).json["id_token"]
    claims = claims_of(http, token)
    assert (claims["sub"], claims["aud"], claims["nonce"]) == ("anna", ["me"], "n-1")
    assert claims["iss"] == "http://localhost"
    assert claims["iat"] <= time.time() < claims["exp"]


def wrong_id_token(http, mode):
    http.post("/control/id-tokens", json={"mode": mode, "times": 1})
    return exchange(http, login(http, nonce="n-1")).json.get("id_token")


def test_id_tokens_are_faulty_on_demand_and_then_right_again(http):
    assert wrong_id_token(http, "missing") is None
    assert claims_of(http, wrong_id_token(http, "expired"))["exp"] < time.time()
    assert claims_of(http, wrong_id_token(http, "wrong_audience"))["aud"] != ["me"]
    assert claims_of(http, wrong_id_token(http, "wrong_issuer"))["iss"] != "http://localhost"
    assert claims_of(http, wrong_id_token(http, "wrong_nonce"))["nonce"] != "n-1"
    for mode in ("wrong_key", "unsigned"):
        with pytest.raises(BadSignatureError):
            claims_of(http, wrong_id_token(http, mode))
    assert claims_of(http, exchange(http, login(http)).json["id_token"])["aud"] == ["me"]


def test_keys_rotate_with_or_without_the_old_ones(http):
    token = exchange(http, login(http)).json["id_token"]
    http.post("/control/rotate-keys", json={})
    assert claims_of(http, token)["sub"] == "anna"
    http.post("/control/rotate-keys", json={"keep_old": False})
    with pytest.raises((JoseError, ValueError)):
        claims_of(http, token)
    assert claims_of(http, exchange(http, login(http)).json["id_token"])["sub"] == "anna"


def test_faults_work_for_hydra(http):
    http.post("/control/faults", json={"endpoint": "/oauth2/introspect", "status": 503})
    answer = http.post("/oauth2/introspect", data={"token": "x"})
    assert (answer.status_code, answer.json["error"]) == (503, "server_error")
    assert introspect(http, "x") == {"active": False}


VERIFIER = "v" * 43
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)
PUBLIC = {
    **ASKED,
    "client_id": "page",
    "redirect_uri": "http://127.0.0.1:5173/in",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "login_hint": "anna",
}


def redirected(answer):
    assert answer.status_code == 303, answer.text
    return {name: value[0] for name, value in parse_qs(urlsplit(answer.location).query).items()}


def test_a_public_client_gets_tokens_of_its_own_without_a_secret(http):
    code = redirected(http.get("/oauth2/auth", query_string=PUBLIC))["code"]
    sent = {"client_id": "page", "redirect_uri": PUBLIC["redirect_uri"], "code_verifier": VERIFIER}
    tokens = exchange(http, code, headers={}, **sent).json
    assert introspect(http, tokens["access_token"])["client_id"] == "page"
    renewed = http.post(
        "/oauth2/token",
        data={
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "client_id": "page",
        },
    )
    assert introspect(http, renewed.json["access_token"])["active"]


def test_a_public_client_must_use_pkce(http):
    without = {name: PUBLIC[name] for name in PUBLIC if not name.startswith("code_")}
    assert redirected(http.get("/oauth2/auth", query_string=without))["error"] == "invalid_request"


def test_a_public_client_cannot_use_the_codes_of_another(http):
    sent = {"client_id": "page", "code_verifier": VERIFIER}
    assert exchange(http, login(http), headers={}, **sent).json["error"] == "invalid_grant"
    assert exchange(http, login(http), headers={}, client_id="nobody").status_code == 401


@pytest.mark.parametrize(
    "uri",
    [
        "https://page.example:8443/in",
        "http://127.0.0.1:5173/elsewhere",
        "http://localhost:5173/in",
        "http://127.0.0.1@evil.example/in",
        "http://127.0.0.1:5173@127.0.0.1/in",
    ],
)
def test_only_the_port_of_a_loopback_address_may_differ(http, uri):
    answer = http.get("/oauth2/auth", query_string={**PUBLIC, "redirect_uri": uri})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://page.example", True),
        ("http://127.0.0.1:5173", True),
        ("http://page.example", False),
        ("https://page.example.evil.example", False),
        ("null", False),
    ],
)
def test_pages_of_public_clients_may_fetch_tokens(http, origin, allowed):
    for ask in (http.post, http.options):
        answer = ask("/oauth2/token", headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert "Access-Control-Allow-Origin" not in http.post("/oauth2/introspect").headers
