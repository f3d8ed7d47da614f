"""Tokens of an independent OpenID provider: introspected, refreshed, revoked, expired."""

from collections.abc import Callable

import pytest

from origin.errors import PeerUnauthorized, PeerUnavailable, TokensSpent
from tests.integration.oidc.browser import Browser, changed
from tests.integration.oidc.provider import Provider
from tests.integration.oidc.service import Service


@pytest.fixture
def alice(service: Service, browser: Browser) -> int:
    """Log a user in; return her id in the database."""
    assert browser.log_in("alice") == {"success": "1"}
    user_id = service.user_id("alice")
    assert user_id is not None
    return user_id


def _status(service: Service, token: str) -> int:
    return service.post("/accounts", token=token).status_code


def _is_refused(service: Service) -> bool:
    return service.value("SELECT tokens_refused_at FROM users") is not None


def test_refresh_tokens_rotate(service: Service, alice: int) -> None:
    seen = [service.stored_tokens("alice")]
    for _ in range(2):
        service.runtime.user_tokens.refresh_now(alice)
        seen.append(service.stored_tokens("alice"))
        assert _status(service, seen[-1][0]) == 200
    assert len({token for pair in seen for token in pair}) == 6


@pytest.mark.usefixtures("alice")
def test_due_tokens_are_refreshed(service: Service) -> None:
    before = service.stored_tokens("alice")
    assert service.runtime.user_tokens.refresh_due() == 1
    assert not set(service.stored_tokens("alice")) & set(before)


def test_refresh_token_that_someone_else_has_used(
    service: Service, browser: Browser, provider: Provider, alice: int
) -> None:
    """A provider with rotating refresh tokens treats a second use as theft, and revokes all."""
    token, refresh_token = service.stored_tokens("alice")
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    assert provider.as_client("/oauth2/token", **form).status_code == 200
    with pytest.raises(TokensSpent):
        service.runtime.user_tokens.refresh_now(alice)
    assert _is_refused(service)
    assert _status(service, token) == 401
    assert browser.log_in("alice") == {"success": "1"}
    assert not _is_refused(service)
    service.runtime.user_tokens.refresh_now(alice)


@pytest.mark.parametrize("which", ["access", "refresh"])
def test_revoked_token(service: Service, provider: Provider, alice: int, which: str) -> None:
    """This provider revokes the other token with it."""
    token, refresh_token = service.stored_tokens("alice")
    assert _status(service, token) == 200
    provider.revoke(token if which == "access" else refresh_token)
    assert _status(service, token) == 401
    with pytest.raises(TokensSpent):
        service.runtime.user_tokens.refresh_now(alice)
    assert _is_refused(service)
    # The refusal is final: the token is not refreshed again.
    assert service.runtime.user_tokens.refresh_due() == 0


def test_expired_access_token(service: Service, provider: Provider, alice: int) -> None:
    token, _ = service.stored_tokens("alice")
    provider.set_clock(ahead_s=2 * 3600)
    assert _status(service, token) == 401

    def datahub(given: str) -> str:
        if not provider.introspect(given)["active"]:
            raise PeerUnauthorized("DataHubService", "answered 401")
        return given

    fresh = service.runtime.user_tokens.with_user_token(alice, datahub)
    assert fresh == service.stored_tokens("alice")[0] != token
    assert _status(service, fresh) == 200


def test_expired_refresh_token(service: Service, provider: Provider, alice: int) -> None:
    provider.set_clock(ahead_s=2 * 86400)
    with pytest.raises(TokensSpent):
        service.runtime.user_tokens.refresh_now(alice)
    assert _is_refused(service)


@pytest.mark.usefixtures("alice")
def test_refresh_token_posing_as_access_token(service: Service, provider: Provider) -> None:
    _, refresh_token = service.stored_tokens("alice")
    # It differs from an access token in missing members alone.
    said = provider.introspect(refresh_token)
    assert said["active"]
    assert said["sub"] == "alice"
    assert "profile" in said["scope"].split()
    assert not {"token_type", "token_use"} & set(said)
    assert _status(service, refresh_token) == 401


@pytest.mark.usefixtures("alice")
def test_id_token_posing_as_access_token(service: Service, provider: Provider) -> None:
    _, refresh_token = service.stored_tokens("alice")
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    fresh = provider.as_client("/oauth2/token", **form).json()
    assert _status(service, fresh["access_token"]) == 200
    # This provider answers 400, and only a 200 is a verdict (contract: peers, Hydra).
    assert _status(service, fresh["id_token"]) == 503


def test_token_of_the_client_itself(service: Service, provider: Provider) -> None:
    """It has the scope, but no user."""
    form = {"grant_type": "client_credentials", "scope": "profile"}
    token = provider.as_client("/oauth2/token", **form).json()["access_token"]
    assert provider.introspect(token)["token_type"] == "Bearer"
    assert _status(service, token) == 401


def test_unknown_token(service: Service) -> None:
    assert _status(service, "unknown") == 401


def test_consent_to_less(service: Service, browser: Browser, provider: Provider) -> None:
    narrowed = changed(browser.begin(), scope="openid offline profile")
    assert browser.finish(browser.sign_in(narrowed, "alice")) == {"success": "1"}
    token, _ = service.stored_tokens("alice")
    assert provider.introspect(token)["scope"] == "openid offline profile"
    assert _status(service, token) == 200
    assert service.post("/ggo", {"filters": {}}, token).status_code == 403


def test_provider_that_is_down(service: Service, provider: Provider, alice: int) -> None:
    before = service.stored_tokens("alice")
    provider.stop()
    response = service.post("/accounts", token=before[0])
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.json["success"] is False
    with pytest.raises(PeerUnavailable):
        service.runtime.user_tokens.refresh_now(alice)
    assert service.stored_tokens("alice") == before
    assert not _is_refused(service)


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    "settings", [{"hydra_client_secret": "wrong"}, {"hydra_introspect_auth": False}]
)
def test_introspection_without_the_right_credentials(
    service: Service, new_service: Callable[..., Service], settings: dict[str, object]
) -> None:
    """An operator's mistake says nothing about the token."""
    token, _ = service.stored_tokens("alice")
    assert _status(new_service(**settings), token) == 503
