"""Logins by the code flow, and how they fail."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import text

from origin.accounts.service import login
from origin.identity import client as hydra_client
from tests.support.world import APP_URL, PROJECT_URL, World, at_once, query_of


def test_a_login_sends_the_browser_to_hydra(world: World) -> None:
    response = world.client().get("/auth/login", query_string={"returnUrl": f"{APP_URL}/x"})
    assert response.status_code == 303
    assert response.headers["Cache-Control"] == "no-store"
    url = urlsplit(response.location)
    query = parse_qs(url.query)
    assert response.location.startswith(f"{world.hydra.url}/oauth2/auth?")
    assert query["response_type"] == ["code"]
    assert query["client_id"] == ["account-service"]
    assert query["redirect_uri"] == [f"{PROJECT_URL}/auth/login/callback"]
    assert query["scope"] == [hydra_client.SCOPES]
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["state"][0]) >= 43
    assert len(query["nonce"][0]) >= 43
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/auth/login" in cookie
    assert "Secure" not in cookie


def test_cookie_is_secure_behind_https(new_world: Callable[..., World]) -> None:
    world = new_world(project_url="https://accounts.example/v1")
    response = world.client().get("/auth/login", query_string={"returnUrl": APP_URL})
    assert "Secure" in response.headers["Set-Cookie"]
    assert "Path=/v1/auth/login" in response.headers["Set-Cookie"]


@pytest.mark.parametrize("return_url", ["http://evil.example/", "//evil.example", "nothing"])
def test_return_urls_of_other_origins_are_rejected(world: World, return_url: str) -> None:
    response = world.client().get("/auth/login", query_string={"returnUrl": return_url})
    assert response.status_code == 400
    assert response.json == {
        "success": False,
        "message": {"returnUrl": ["Not a URL of an allowed origin."]},
    }
    assert world.value("SELECT count(*) FROM login_states") == 0


def test_return_url_is_required(world: World) -> None:
    response = world.client().get("/auth/login")
    assert response.status_code == 400
    assert response.json["message"] == {"returnUrl": ["Missing data for required field."]}


def test_first_login_makes_a_user(world: World) -> None:
    response = world.login("alice", return_url=f"{APP_URL}/done?a=1&b=%20#part")
    assert response.status_code == 303
    assert response.location == f"{APP_URL}/done?a=1&b=%20&success=1#part"
    assert response.headers["Cache-Control"] == "no-store"
    user = world.rows("SELECT * FROM users")[0]
    assert user.subject == "alice"
    assert user.last_login_at is not None
    assert {row.kind for row in world.rows("SELECT kind FROM datahub_jobs")} == {
        "subscribe_metering_points",
        "subscribe_ggos",
        "import_metering_points",
    }
    assert world.wakeups.datahub_jobs == 1
    assert world.post("/accounts", token=world.token("alice")).json == {
        "success": True,
        "accounts": [{"id": "alice"}],
    }


def test_nothing_secret_is_stored_in_clear(world: World) -> None:
    world.new_user("alice")
    stored = str(world.rows("SELECT * FROM users")) + str(world.rows("SELECT * FROM login_states"))
    assert "xprv" not in stored
    [sealed] = world.rows("SELECT master_key, access_token, refresh_token FROM users")
    assert all(text.startswith("v1.") for text in sealed)


def test_second_login_keeps_the_user(world: World) -> None:
    world.new_user("alice")
    before = world.rows("SELECT id, master_key, access_token FROM users")[0]
    world.new_user("alice")
    after = world.rows("SELECT id, master_key, access_token FROM users")[0]
    assert before[:2] == after[:2]
    assert before.access_token != after.access_token


def test_two_first_logins_at_once_make_one_user(world: World) -> None:
    clients = [world.client() for _ in range(4)]
    paths = [world.consented(client, "alice") for client in clients]
    calls = [
        lambda client=client, path=path: client.get(path)
        for client, path in zip(clients, paths, strict=True)
    ]
    responses = at_once(*calls)
    assert [query_of(response)["success"] for response in responses] == ["1"] * 4
    assert world.value("SELECT count(*) FROM users") == 1
    assert world.value("SELECT count(*) FROM datahub_jobs") == 3


def test_logins_side_by_side_in_one_browser(world: World) -> None:
    client = world.client()
    first, second = world.consented(client, "alice"), world.consented(client, "alice")
    assert query_of(client.get(second))["success"] == "1"
    assert query_of(client.get(first))["success"] == "1"


def test_state_is_used_once(world: World) -> None:
    client = world.client()
    path = world.consented(client, "alice")
    assert client.get(path).status_code == 303
    again = client.get(path)
    assert again.status_code == 400
    assert again.json["message"] == {"state": ["Unknown, used or expired."]}
    assert again.headers["Cache-Control"] == "no-store"


def test_state_used_twice_at_once_works_once(world: World) -> None:
    client = world.client()
    path = world.consented(client, "alice")
    cookie = client.get_cookie("account_service_login", path="/auth/login").value

    def call() -> int:
        other = world.client()
        other.set_cookie("account_service_login", cookie, path="/auth/login")
        return other.get(path).status_code

    assert sorted(at_once(call, call, call)) == [303, 400, 400]


def test_state_belongs_to_one_browser(world: World) -> None:
    client = world.client()
    path = world.consented(client, "alice")
    assert world.client().get(path).status_code == 400
    thief = world.client()
    world.consented(thief, "mallory")
    assert thief.get(path).status_code == 400
    # The browser that began the login can still complete it.
    assert query_of(client.get(path))["success"] == "1"


def test_a_head_request_does_not_use_up_a_login(world: World) -> None:
    """Link checkers and previews send HEAD requests."""
    client = world.client()
    path = world.consented(client, "alice")
    head = client.head(path)
    assert head.status_code == 405
    assert "GET" in head.headers["Allow"]
    assert query_of(client.get(path))["success"] == "1"


def test_a_login_fails_if_its_secret_was_removed_meanwhile(new_world: Callable[..., World]) -> None:
    old = new_world(key_encryption_secrets="old")
    path = old.consented(client := old.client(), "alice")
    cookie = client.get_cookie("account_service_login", path="/auth/login").value
    browser = new_world(key_encryption_secrets="new").client()
    browser.set_cookie("account_service_login", cookie, path="/auth/login")
    answer = browser.get(path)
    assert answer.status_code == 400
    assert answer.json["message"] == {"state": ["Unknown, used or expired."]}


@pytest.mark.parametrize("planted", ["x", "a" * 42, "a" * 44, "a" * 42 + "é", "a" * 42 + "="])
def test_a_cookie_of_another_form_is_replaced(world: World, planted: str) -> None:
    client = world.client()
    client.set_cookie("account_service_login", planted, path="/auth/login")
    client.get("/auth/login", query_string={"returnUrl": APP_URL})
    given = client.get_cookie("account_service_login", path="/auth/login").value
    assert given != planted
    assert len(given) == 43
    client.get("/auth/login", query_string={"returnUrl": APP_URL})
    assert client.get_cookie("account_service_login", path="/auth/login").value == given


def test_state_expires(world: World) -> None:
    client = world.client()
    path = world.consented(client, "alice")
    world.rows("UPDATE login_states SET expires_at = now() - interval '1 second'")
    assert client.get(path).status_code == 400
    assert world.value("SELECT count(*) FROM users") == 0


@pytest.mark.parametrize("query", ["", "state=", "state=forged&code=x", "code=x", "state=%00"])
def test_a_forged_state_is_rejected(world: World, query: str) -> None:
    response = world.client().get(f"/auth/login/callback?{query}")
    assert response.status_code == 400
    assert response.json["success"] is False


def test_declined_consent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    client = world.client()
    begun = client.get("/auth/login", query_string={"returnUrl": f"{APP_URL}/done?success=1&q=1"})
    back = requests.post(
        begun.location, data={"action": "decline"}, allow_redirects=False, timeout=10
    )
    assert "error=access_denied" in back.headers["Location"]
    path = back.headers["Location"].removeprefix(PROJECT_URL)
    response = client.get(path)
    assert response.status_code == 303
    assert query_of(response) == {"q": "1", "success": "0", "msg": "The login was declined"}
    assert response.location.count("success=") == 1
    assert "A login was declined: access_denied" in caplog.text
    assert world.value("SELECT count(*) FROM users") == 0


def test_an_error_code_from_the_browser_is_not_logged_verbatim(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    client = world.client()
    path = world.consented(client, "alice")
    assert query_of(client.get(f"{path}&error=forged%0Aline"))["success"] == "0"
    assert "A login was declined: ?" in caplog.text
    assert "forged" not in caplog.text


def _fail(world: World) -> dict[str, str]:
    response = world.login("alice")
    assert response.status_code == 303
    assert world.value("SELECT count(*) FROM users") == 0
    assert world.value("SELECT count(*) FROM datahub_jobs") == 0
    outcome = query_of(response)
    assert outcome["success"] == "0"
    return outcome


@pytest.mark.parametrize(
    "mode", ["expired", "wrong_audience", "wrong_key", "wrong_nonce", "unsigned", "missing"]
)
def test_wrong_id_token_makes_no_user(world: World, mode: str) -> None:
    world.hydra.control("id-tokens", {"mode": mode})
    assert _fail(world)["msg"]


def test_id_token_that_has_just_expired_makes_no_user(world: World) -> None:
    world.hydra.control("lifetimes", {"id_token": -1})
    assert _fail(world)["msg"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 400, "body": {"error": "invalid_grant"}},
        {"status": 302},
        {"status": 200, "body": "garbage"},
        {"status": 200, "body": []},
        {"status": 200, "body": {"access_token": 1}},
        {"status": 200, "body": {"access_token": "a\nb", "expires_in": 60}},
        {"status": 200, "body": {"access_token": "a", "expires_in": "soon"}},
        {"status": 200, "body": {"access_token": "a", "expires_in": 10**30}},
        {"cut": "before"},
        {"cut": "after"},
    ],
)
def test_failing_exchange_makes_no_user(world: World, fault: dict[str, object]) -> None:
    world.hydra.fault(endpoint="/oauth2/token", times=1, **fault)
    assert _fail(world)["msg"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 200, "body": "x"},
        {"status": 200, "body": {}},
        {"status": 200, "body": {"keys": []}},
        {"status": 200, "body": {"keys": [1]}},
        {"status": 200, "body": {"keys": [{"kty": "RSA", "kid": "k"}]}},
    ],
)
def test_failing_signing_keys_make_no_user(world: World, fault: dict[str, object]) -> None:
    world.hydra.fault(endpoint="/.well-known/jwks.json", times=1, **fault)
    assert _fail(world)["msg"]


def test_a_code_of_another_login_is_rejected(world: World) -> None:
    client = world.client()
    path = world.consented(client, "alice")
    other = world.client()
    stolen = world.consented(other, "bob")
    code = parse_qs(urlsplit(path).query)["code"][0]
    state = parse_qs(urlsplit(stolen).query)["state"][0]
    response = other.get("/auth/login/callback", query_string={"code": code, "state": state})
    # The code verifier belongs to another login.
    assert query_of(response)["success"] == "0"
    assert world.value("SELECT count(*) FROM users") == 0


def test_new_signing_key_is_fetched_at_once(world: World) -> None:
    """Even if the keys were fetched moments ago: users who log in can't wait."""
    world.new_user("alice")
    world.new_user("bob")
    assert world.hydra.call_count("/.well-known/jwks.json") == 1
    for fetched, subject in enumerate(("carol", "dave"), 2):
        world.hydra.control("rotate-keys", {"keep_old": False})
        world.new_user(subject)
        assert world.hydra.call_count("/.well-known/jwks.json") == fetched
    world.new_user("erin")
    assert world.hydra.call_count("/.well-known/jwks.json") == 3


def test_disabled_user_stays_disabled(world: World) -> None:
    world.new_user("alice")
    assert world.post("/auth/disable-user", token=world.token("alice")).json == {"success": True}
    response = world.login("alice")
    assert query_of(response) == {"success": "0", "msg": "The account is disabled"}
    user = world.rows("SELECT * FROM users")[0]
    assert user.disabled_at is not None
    assert user.access_token is None
    assert user.refresh_token is None
    assert world.value("SELECT count(*) FROM datahub_jobs") == 0


def test_login_succeeds_without_datahub(world: World) -> None:
    world.datahub.fault(endpoint="*", times=None, status=503)
    world.new_user("alice")
    world.run_jobs()
    jobs = world.rows("SELECT * FROM datahub_jobs WHERE next_attempt_at > now()")
    assert len(jobs) == 3
    assert all("answered 503" in job.last_error for job in jobs)
    world.datahub.clear_faults()
    world.make_jobs_due()
    world.run_jobs()
    assert world.value("SELECT count(*) FROM datahub_jobs") == 0
    assert len(world.datahub.control("subscriptions", method="GET")["subscriptions"]) == 2


def fill(world: World, count: int, expires_in: str = "30 minutes") -> None:
    """Insert logins under way without a request each; the first expires first."""
    world.rows(
        "INSERT INTO login_states "
        "(state_hash, browser_hash, return_url, nonce, code_verifier, expires_at) "
        "SELECT 'filled ' || number, '', '', '', '', "
        "now() + CAST(:expires_in AS interval) + number * interval '1 ms' "
        "FROM generate_series(1, :count) AS number",
        count=count,
        expires_in=expires_in,
    )


def begin_login(world: World) -> None:
    answer = world.client().get("/auth/login", query_string={"returnUrl": APP_URL})
    assert answer.status_code == 303


def test_a_new_login_deletes_expired_logins(world: World) -> None:
    fill(world, 5000, "-1 hour")
    for _ in range(10):
        begin_login(world)
    assert world.value("SELECT count(*) FROM login_states WHERE expires_at < now()") == 0
    assert world.value("SELECT count(*) FROM login_states") == 10


def test_the_number_of_logins_under_way_is_limited(world: World) -> None:
    """The oldest are deleted first; a login that has just begun can be completed."""
    most = login.MAX_STATES
    fill(world, most + 100)
    client = world.client()
    path = world.consented(client, "alice")
    for _ in range(20):
        begin_login(world)
    assert world.value("SELECT count(*) FROM login_states") == most
    gone = 100 + 1 + 20
    left = world.value("SELECT min(substr(state_hash, 8)::int) FROM login_states WHERE nonce = ''")
    assert left == gone + 1
    assert query_of(client.get(path))["success"] == "1"


def test_logins_that_are_being_completed_are_not_deleted(world: World) -> None:
    """No login waits for another, and the logins that stay are not locked."""
    fill(world, login.MAX_STATES)
    with world.runtime.database.transaction() as session:
        oldest_and_newest = "state_hash IN ('filled 1', :newest)"
        session.execute(
            text(f"SELECT 1 FROM login_states WHERE {oldest_and_newest} FOR UPDATE"),  # noqa: S608
            {"newest": f"filled {login.MAX_STATES}"},
        )
        begin_login(world)
    assert world.value("SELECT count(*) FROM login_states WHERE state_hash = 'filled 1'") == 1
    begin_login(world)
    assert world.value("SELECT count(*) FROM login_states WHERE state_hash = 'filled 1'") == 0
    assert world.value("SELECT count(*) FROM login_states") == login.MAX_STATES


def test_many_logins_can_begin_at_once(world: World) -> None:
    fill(world, login.MAX_STATES)
    at_once(*[lambda: begin_login(world)] * 8)
    begin_login(world)
    assert world.value("SELECT count(*) FROM login_states") == login.MAX_STATES
