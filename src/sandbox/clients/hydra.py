"""A client for Hydra's control calls and its login page."""

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from sandbox.clients.base import TIMEOUT, Control, ControlError, Json


class Tokens(NamedTuple):
    """The tokens that `hydra.tokens` returns; `refresh` is None without the scope `offline`."""

    access: str
    refresh: str | None


class HydraClient(Control):
    """Acts as a browser at Hydra, creates tokens, and causes errors."""

    def accept(self, auth_url: str, sub: str, scopes: list[str] | None = None) -> str:
        """Sign in as a browser does, and consent to `scopes` (None: to all that are asked for).

        Return the URL that Hydra redirects to: the client's callback with its query.
        """
        asked = parse_qs(urlsplit(auth_url).query).get("scope", [""])[0].split()
        granted = asked if scopes is None else scopes
        return self._submit(auth_url, {"subject": sub, "scope": granted, "action": "accept"})

    def decline(self, auth_url: str) -> str:
        """Decline consent; return the URL that Hydra redirects to."""
        return self._submit(auth_url, {"action": "decline"})

    def tokens(
        self, sub: str, *, scope: str | None = None, expires_in: float | None = None
    ) -> Tokens:
        """Return tokens for a user without a login (default: all scopes, valid for an hour)."""
        wish: Json = {"sub": sub, "expires_in": expires_in}
        made = self._post("tokens", wish if scope is None else {**wish, "scope": scope})
        return Tokens(made["access_token"], made["refresh_token"])

    def expire(self, *, sub: str | None = None, token: str | None = None) -> int:
        """Expire tokens now: one, a user's, or all. Return how many."""
        return int(self._post("expire", {"sub": sub, "token": token})["tokens"])

    def revoke(self, *, sub: str | None = None, token: str | None = None) -> int:
        """Revoke the consents of these tokens. Return how many tokens were revoked."""
        return int(self._post("revoke", {"sub": sub, "token": token})["tokens"])

    def lifetimes(self, **seconds: float) -> None:
        """Set the lifetimes of new tokens: `access_token`, `refresh_token`, `id_token`."""
        self._post("lifetimes", seconds)

    def id_tokens(self, mode: str, times: int | None = None) -> None:
        """Issue faulty ID tokens; `sandbox.hydra.idtokens.Mode` lists the modes."""
        self._post("id-tokens", {"mode": mode, "times": times})

    def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Sign ID tokens with a new key; `keep_old` keeps the old ones published."""
        self._post("rotate-keys", {"keep_old": keep_old})

    def register(self, redirect_uri: str) -> None:
        """Allow a redirect URI."""
        self._post("redirect-uris", {"uri": redirect_uri})

    def _submit(self, auth_url: str, form: Json) -> str:
        page = self._http.get(auth_url, timeout=TIMEOUT, allow_redirects=False)
        if page.status_code == 200:
            page = self._http.post(auth_url, data=form, timeout=TIMEOUT, allow_redirects=False)
        if "Location" not in page.headers:
            raise ControlError(page.text)
        return page.headers["Location"]
