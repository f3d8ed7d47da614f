"""Authorization codes, tokens, their lifetimes and revocation."""

import base64
import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from sandbox.hydra.errors import OAuthError

CODE_LIFETIME = 600
"""Seconds for which an authorization code can be redeemed."""

WANTED_SCOPES = (
    "openid",
    "offline",
    "profile",
    "email",
    "disclosure",
    "meteringpoints.read",
    "measurements.read",
    "ggo.read",
    "ggo.transfer",
    "ggo.retire",
)
"""All known scopes (contract: peers, Hydra)."""


@dataclass(frozen=True)
class AuthRequest:
    """A validated request to the authorization endpoint; `challenge` is PKCE's, method S256."""

    client_id: str
    redirect_uri: str
    scope: tuple[str, ...]
    state: str
    nonce: str | None = None
    challenge: str | None = None


@dataclass
class Family:
    """A consent. Revoking it revokes all tokens issued under it."""

    client_id: str
    sub: str
    nonce: str | None = None
    revoked: bool = False


@dataclass
class Token:
    """An access or refresh token; times are Unix seconds."""

    value: str
    use: Literal["access_token", "refresh_token"]
    family: Family
    scope: tuple[str, ...]
    issued_at: int
    expires_at: float
    spent: bool = False

    @property
    def active(self) -> bool:
        """Return whether the token is valid: not used, not revoked, not expired."""
        return not (self.spent or self.family.revoked or time.time() >= self.expires_at)


@dataclass(frozen=True)
class TokenSet:
    """The tokens of one grant; `refresh` is None without the scope `offline`."""

    access: Token
    refresh: Token | None


@dataclass
class Lifetimes:
    """The lifetimes of new tokens, in seconds."""

    access_token: float = 3600
    refresh_token: float = 30 * 24 * 3600
    id_token: float = 3600


@dataclass
class _Code:
    request: AuthRequest
    family: Family
    scope: tuple[str, ...]
    expires_at: float
    used: bool = False


@dataclass
class Grants:
    """Every code and token of the server, in memory. Thread-safe."""

    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _codes: dict[str, _Code] = field(default_factory=dict)
    _tokens: dict[str, Token] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget all codes and tokens."""
        with self._lock:
            self._codes.clear()
            self._tokens.clear()
            self.lifetimes = Lifetimes()

    def consent(self, request: AuthRequest, sub: str, scope: tuple[str, ...]) -> str:
        """Record a user's consent, and return the authorization code for it."""
        code = secrets.token_urlsafe(32)
        family = Family(request.client_id, sub, request.nonce)
        with self._lock:
            self._codes[code] = _Code(request, family, scope, time.time() + CODE_LIFETIME)
        return code

    def redeem(
        self, code: str, client_id: str, redirect_uri: str, verifier: str | None
    ) -> TokenSet:
        """Exchange a code for tokens; OAuthError if it isn't valid.

        A second use suggests theft: it revokes the tokens of the first.
        """
        with self._lock:
            known = self._codes.get(code)
            if known is None or known.request.client_id != client_id:
                raise OAuthError("invalid_grant", "The authorization code is unknown.")
            if known.used:
                known.family.revoked = True
                raise OAuthError("invalid_grant", "The authorization code was used already.")
            if time.time() >= known.expires_at:
                raise OAuthError("invalid_grant", "The authorization code has expired.")
            if known.request.redirect_uri != redirect_uri:
                raise OAuthError("invalid_grant", "The redirect_uri is another one.")
            _check_verifier(known.request.challenge, verifier)
            known.used = True
            return self._issue(known.family, known.scope, self.lifetimes.access_token)

    def refresh(self, value: str, client_id: str, scope: tuple[str, ...] | None) -> TokenSet:
        """Exchange a refresh token for new tokens, which invalidates the old ones.

        A second use revokes all tokens of the consent. OAuthError if the token isn't valid.
        """
        with self._lock:
            token = self._tokens.get(value)
            if token is None or token.use != "refresh_token" or token.family.client_id != client_id:
                raise OAuthError("invalid_grant", "The refresh token is unknown.")
            if token.spent:
                token.family.revoked = True
            if not token.active:
                raise OAuthError("invalid_grant", "The refresh token is not active any more.")
            if scope is not None and not set(scope) <= set(token.scope):
                raise OAuthError("invalid_scope", "The scope goes beyond what was granted.")
            for other in self._tokens.values():
                if other.family is token.family:
                    other.spent = True
            return self._issue(token.family, scope or token.scope, self.lifetimes.access_token)

    def mint(
        self, client_id: str, sub: str, scope: tuple[str, ...], expires_in: float | None
    ) -> TokenSet:
        """Return tokens for a user without a login (control call)."""
        seconds = self.lifetimes.access_token if expires_in is None else expires_in
        with self._lock:
            return self._issue(Family(client_id, sub), scope, seconds)

    def find(self, value: str) -> Token | None:
        """Return a token by its value, active or not, or None."""
        with self._lock:
            return self._tokens.get(value)

    def revoke(self, value: str, client_id: str) -> None:
        """Revoke the consent of a client's token. Unknown tokens are ignored."""
        with self._lock:
            token = self._tokens.get(value)
            if token is not None and token.family.client_id == client_id:
                token.family.revoked = True

    def end(self, *, sub: str | None, value: str | None, revoke: bool) -> int:
        """Expire tokens now, or revoke their consents: one, a user's, or all. Return how many."""
        with self._lock:
            meant = [
                token
                for token in self._tokens.values()
                if value in (None, token.value) and sub in (None, token.family.sub) and token.active
            ]
            for token in meant:
                if revoke:
                    token.family.revoked = True
                else:
                    token.expires_at = time.time()
            return len(meant)

    def _issue(self, family: Family, scope: tuple[str, ...], seconds: float) -> TokenSet:
        access = self._new("access_token", family, scope, seconds)
        if "offline" not in scope:
            return TokenSet(access, None)
        return TokenSet(
            access, self._new("refresh_token", family, scope, self.lifetimes.refresh_token)
        )

    def _new(
        self,
        use: Literal["access_token", "refresh_token"],
        family: Family,
        scope: tuple[str, ...],
        seconds: float,
    ) -> Token:
        now = time.time()
        token = Token(secrets.token_urlsafe(32), use, family, scope, int(now), now + seconds)
        self._tokens[token.value] = token
        return token


def _check_verifier(challenge: str | None, verifier: str | None) -> None:
    if challenge is None:
        if verifier:
            raise OAuthError("invalid_grant", "A code_verifier came, but no challenge before.")
        return
    digest = hashlib.sha256((verifier or "").encode()).digest()
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if not hmac.compare_digest(expected, challenge):
        raise OAuthError("invalid_grant", "The code_verifier does not fit the code_challenge.")
