"""Logins at an independent OpenID provider: successful ones, and all kinds of failures."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from origin.identity import client as hydra_client
from origin.identity.client import HydraClient, Tokens
from tests.integration.oidc.browser import Browser, Page, changed
from tests.integration.oidc.provider import Provider
from tests.integration.oidc.service import Service

REFUSED = {"success": "0", "msg": "The login was refused"}
DECLINED = {"success": "0", "msg": "The login was declined"}
NOT_COMPLETED = {"success": "0", "msg": "The login could not be completed"}


def _users(service: Service) -> int:
    return int(service.value("SELECT count(*) FROM users"))


def test_login_makes_a_user(service: Service, browser: Browser, provider: Provider) -> None:
    assert browser.log_in("alice") == {"success": "1"}
    token, refresh_token = service.stored_tokens("alice")
    assert token != refresh_token
    assert provider.introspect(token)["scope"].split() == hydra_client.SCOPES.split()
    assert service.post("/accounts", token=token).json == {
        "success": True,
        "accounts": [{"id": "alice"}],
    }


def test_second_login_keeps_the_user(service: Service, browser: Browser) -> None:
    assert browser.log_in("alice") == {"success": "1"}
    user_id, tokens = service.user_id("alice"), service.stored_tokens("alice")
    assert browser.log_in("alice") == {"success": "1"}
    assert service.user_id("alice") == user_id
    assert not set(service.stored_tokens("alice")) & set(tokens)


def test_two_people_are_two_users(service: Service, new_browser: Callable[[], Browser]) -> None:
    for subject in ("alice", "bob"):
        assert new_browser().log_in(subject) == {"success": "1"}
    for subject in ("alice", "bob"):
        token, _ = service.stored_tokens(subject)
        assert service.post("/accounts", token=token).json["accounts"] == [{"id": subject}]


@pytest.mark.parametrize("page", ["login", "consent"])
def test_declined(service: Service, browser: Browser, page: Page) -> None:
    back = browser.sign_in(browser.begin(), "alice", decline_at=page)
    assert parse_qs(urlsplit(back).query)["error"] == ["access_denied"]
    assert browser.finish(back) == DECLINED
    assert _users(service) == 0
    # The next try works.
    assert browser.log_in("alice") == {"success": "1"}


def test_state_is_used_once(service: Service, browser: Browser) -> None:
    back = browser.sign_in(browser.begin(), "alice")
    assert browser.finish(back) == {"success": "1"}
    again = browser.callback(back)
    assert again.status_code == 400
    assert again.json()["message"] == {"state": ["Unknown, used or expired."]}
    # The service did not use the code a second time: the tokens of the first use are still good.
    token, _ = service.stored_tokens("alice")
    assert service.post("/accounts", token=token).status_code == 200


@pytest.mark.parametrize("state", ["forged", "", None])
def test_forged_state(service: Service, browser: Browser, state: str | None) -> None:
    back = browser.sign_in(browser.begin(), "alice")
    assert browser.callback(changed(back, state=state)).status_code == 400
    assert _users(service) == 0


def test_login_is_tied_to_the_browser(
    service: Service, browser: Browser, new_browser: Callable[[], Browser]
) -> None:
    back = browser.sign_in(browser.begin(), "alice")
    assert new_browser().callback(back).status_code == 400
    assert _users(service) == 0


def test_code_used_twice(
    service: Service, browser: Browser, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider refuses the second use, and revokes the tokens of the first."""
    exchange = HydraClient.exchange_code
    first: list[Tokens] = []

    def exchange_twice(client: HydraClient, code: str, **more: str) -> Tokens:
        first.append(exchange(client, code, **more))
        return exchange(client, code, **more)

    monkeypatch.setattr(HydraClient, "exchange_code", exchange_twice)
    assert browser.log_in("alice") == REFUSED
    assert _users(service) == 0
    assert provider.introspect(first[0].access_token) == {"active": False}


def test_code_used_in_a_second_login(
    service: Service, browser: Browser, provider: Provider
) -> None:
    back = browser.sign_in(browser.begin(), "alice")
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert browser.finish(back) == {"success": "1"}
    other = browser.sign_in(browser.begin(), "alice")
    assert browser.finish(changed(other, code=code)) == REFUSED
    token, _ = service.stored_tokens("alice")
    # The provider checks the code verifier first, so it does not revoke the code's tokens.
    assert provider.introspect(token)["active"]


def test_code_of_another_is_refused(
    service: Service, browser: Browser, new_browser: Callable[[], Browser]
) -> None:
    stolen = parse_qs(urlsplit(browser.sign_in(browser.begin(), "alice")).query)["code"][0]
    thief = new_browser()
    back = thief.sign_in(thief.begin(), "mallory")
    assert thief.finish(changed(back, code=stolen)) == REFUSED
    assert _users(service) == 0


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        # The ID token is another login's: its nonce differs.
        ({"nonce": "another"}, NOT_COMPLETED),
        ({"code_challenge": "A" * 43}, REFUSED),
        # The provider requires both.
        ({"nonce": None}, DECLINED),
        ({"code_challenge": None, "code_challenge_method": None}, DECLINED),
        # Without `openid` there is no ID token.
        ({"scope": "profile"}, DECLINED),
    ],
)
def test_tampered_request(
    service: Service, browser: Browser, changes: dict[str, str | None], outcome: dict[str, str]
) -> None:
    back = browser.sign_in(changed(browser.begin(), **changes), "alice")
    assert browser.finish(back) == outcome
    assert _users(service) == 0


def test_expired_id_token(service: Service, browser: Browser, provider: Provider) -> None:
    back = browser.sign_in(browser.begin(), "alice")
    provider.set_clock(ahead_s=-2 * 3600)
    assert browser.finish(back) == NOT_COMPLETED
    assert _users(service) == 0


def test_id_token_of_tomorrow(service: Service, browser: Browser, provider: Provider) -> None:
    provider.set_clock(ahead_s=24 * 3600)
    assert browser.log_in("alice") == NOT_COMPLETED
    assert _users(service) == 0


def test_expired_code(service: Service, browser: Browser, provider: Provider) -> None:
    back = browser.sign_in(browser.begin(), "alice")
    provider.set_clock(ahead_s=120)
    assert browser.finish(back) == REFUSED
    assert _users(service) == 0


def test_new_signing_key(service: Service, browser: Browser, provider: Provider) -> None:
    assert browser.log_in("alice") == {"success": "1"}
    provider.stop()
    provider.start()
    assert browser.log_in("bob") == {"success": "1"}
    assert _users(service) == 2


def test_provider_that_is_down(service: Service, browser: Browser, provider: Provider) -> None:
    back = browser.sign_in(browser.begin(), "alice")
    provider.stop()
    assert browser.finish(back) == NOT_COMPLETED
    assert _users(service) == 0
    # The begin of a login does not call the provider.
    assert browser.begin().startswith(provider.url)


def test_wrong_client_secret(new_service: Callable[..., Service], browser: Browser) -> None:
    service = new_service(hydra_client_secret="wrong")
    assert browser.log_in("alice") == REFUSED
    assert _users(service) == 0
