"""Client of Hydra, the OpenID provider: logins, tokens, introspection (contract: peers, Hydra)."""

import logging
import math
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from origin.errors import PeerClientRefused, PeerMisbehaved, PeerUnauthorized, PeerUnavailable
from origin.peers.http import PeerClient, PeerResponse
from origin.shared.clock import utcnow

SCOPES = (
    "openid offline profile email disclosure meteringpoints.read measurements.read "
    "ggo.read ggo.transfer ggo.retire"
)
"""The scopes that a login requests."""

JWKS_MAX_AGE_S = 3600.0
CLOCK_SKEW_S = 5
"""How many seconds Hydra's clock and ours may differ."""

if TYPE_CHECKING:
    from joserfc.jwk import Key, KeySet

logger = logging.getLogger(__name__)

_PEER = "Hydra"
_KINDS = ("token_use", "token_type")
_CLIENT_ERRORS = {"invalid_client", "unauthorized_client"}
# RFC 6749, A.12. A header cannot carry other characters.
_ACCESS_TOKEN = re.compile(r"[\x20-\x7e]+")
_ERROR_CODE = re.compile("[a-z_]{1,50}", re.ASCII)
_ACCESS_TOKEN_TYPES = {"bearer", "access_token"}


@dataclass(frozen=True)
class Tokens:
    """The token endpoint's response. Its text form shows no token."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    """None if none was granted. After a refresh: the old one stays valid."""
    expires_at: datetime
    """Of the access token."""
    id_token: str | None = field(repr=False)


@dataclass(frozen=True)
class Introspection:
    """An active access token: whose it is, its scopes, and when it expires (UTC; None: unknown).

    :ivar client: The client to which it was issued; None: unknown.
    """

    subject: str
    scopes: frozenset[str]
    expires_at: datetime | None
    client: str | None = None


class HydraClient:
    """Calls to Hydra.

    :param hydra_url: Base URL of the public endpoints, without a trailing slash.
    :param introspect_url: URL of the introspection endpoint.
    :param introspect_auth: Whether to send the client's credentials to the introspection endpoint.
    """

    def __init__(
        self,
        hydra_url: str,
        introspect_url: str,
        *,
        client_id: str,
        client_secret: str,
        introspect_auth: bool,
        tls_verify: bool,
    ) -> None:
        self._http = PeerClient(_PEER, tls_verify=tls_verify)
        self._authorization_url = f"{hydra_url}/oauth2/auth"
        self._token_url = f"{hydra_url}/oauth2/token"
        self._introspect_url = introspect_url
        self._client_id = client_id
        # Form-encoded first (RFC 6749, 2.3.1): Hydra decodes them.
        self._basic = (quote_plus(client_id), quote_plus(client_secret))
        self._introspect_auth = introspect_auth
        self._keys = _KeyCache(self._http, f"{hydra_url}/.well-known/jwks.json")

    def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, code_verifier: str
    ) -> str:
        """Return the URL at which the browser logs in, with PKCE S256 (RFC 7636)."""
        # Imported at the first login: most processes never need it.
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        return str(
            prepare_grant_uri(
                self._authorization_url,
                client_id=self._client_id,
                response_type="code",
                redirect_uri=redirect_uri,
                scope=SCOPES,
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(code_verifier),
                code_challenge_method="S256",
            )
        )

    def exchange_code(self, code: str, *, redirect_uri: str, code_verifier: str) -> Tokens:
        """Exchange a login's authorization code for tokens.

        :raises PeerUnauthorized: Hydra refused the code.
        :raises PeerError: Hydra is unavailable or misbehaves.
        """
        return self._tokens(
            grant_type="authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=code_verifier,
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for fresh tokens. The refresh token may be spent by it.

        :raises PeerClientRefused: Hydra refused this service's own credentials.
        :raises PeerUnauthorized: Hydra refused the refresh token for good (400 or 401).
        :raises PeerError: Any other failure; try again.
        """
        return self._tokens(grant_type="refresh_token", refresh_token=refresh_token)

    def _tokens(self, **form: str) -> Tokens:
        response = self._http.post_form(self._token_url, form, login=self._basic)
        if response.status_code in {400, 401}:
            raise _refusal(self._http, response, form["grant_type"])
        _require_ok(response, "the token endpoint")
        return _parsed_tokens(self._http.json_object(response))

    def subject_of(self, id_token: str, *, nonce: str) -> str:
        """Return the subject of a valid ID token (OpenID Connect 3.1.3.7).

        :raises PeerMisbehaved: Signature or claims are invalid; the reason names the claim alone.
        :raises PeerUnavailable: Hydra's keys cannot be fetched.
        """
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError

        try:
            came_at = time.monotonic()
            try:
                token = jwt.decode(id_token, self._keys.known(), algorithms=["RS256"])
            except InvalidKeyIdError:
                keys = self._keys.fetched_since(came_at)
                token = jwt.decode(id_token, keys, algorithms=["RS256"])
            jwt.JWTClaimsRegistry(
                leeway=CLOCK_SKEW_S,
                sub={"essential": True},
                aud={"essential": True, "value": self._client_id},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
                azp={"value": self._client_id},
            ).validate(token.claims)
        except (JoseError, ValueError) as error:
            claim = getattr(error, "claim", None)
            reason = f"{type(error).__name__}{f' ({claim})' if claim else ''}"
            raise PeerMisbehaved(_PEER, f"ID token refused: {reason}") from None
        if token.claims["exp"] <= utcnow().timestamp():
            # The leeway above is for times in the past: an expired token is expired.
            raise PeerMisbehaved(_PEER, "ID token refused: expired (exp)")
        return _clean_subject(token.claims["sub"])

    def fetch_keys(self) -> None:
        """Fetch the public keys, with which ID tokens are verified, unless they are known.

        :raises PeerError: Hydra doesn't answer, or has no key that signs ID tokens.
        """
        self._keys.known()

    def introspect(self, token: str) -> Introspection | None:
        """Introspect a token.

        :returns: None if it is unknown, inactive, expired, without a subject, or no access token.
        :raises PeerUnavailable: No response, or another status than 200.
        :raises PeerMisbehaved: A 200 of another shape.
        """
        response = self._http.post_form(
            self._introspect_url,
            {"token": token, "scope": ""},
            login=self._basic if self._introspect_auth else None,
        )
        if response.status_code != HTTPStatus.OK:
            raise PeerUnavailable(_PEER, f"introspection answered {response.status_code}")
        return _parsed_introspection(self._http.json_object(response))


class _KeyCache:
    """Caches Hydra's public keys."""

    def __init__(self, http: PeerClient, url: str) -> None:
        self._http = http
        self._url = url
        self._lock = threading.Lock()
        self._keys: KeySet | None = None
        self._fetched_at = -math.inf

    def known(self) -> "KeySet":
        """Return the keys, at most an hour old."""
        return self.fetched_since(time.monotonic() - JWKS_MAX_AGE_S)

    def fetched_since(self, moment: float) -> "KeySet":
        """Return the keys as they were at this moment (`time.monotonic`) or later.

        Concurrent callers share one fetch. Clients cannot cause fetches, because ID tokens come from
        Hydra's token endpoint only.
        """
        with self._lock:
            if self._keys is None or self._fetched_at < moment:
                # Before the call: a key that Hydra adds meanwhile may be missing.
                started_at = time.monotonic()
                self._keys = self._fetch()
                self._fetched_at = started_at
            return self._keys

    def _fetch(self) -> "KeySet":
        from joserfc.jwk import KeySet

        response = self._http.request("GET", self._url, headers={"Accept": "application/json"})
        _require_ok(response, "the keys")
        entries = self._http.json_object(response).get("keys")
        if not isinstance(entries, list):
            raise PeerMisbehaved(_PEER, "keys: no list")
        keys = [key for entry in entries if (key := _usable_key(entry)) is not None]
        if not keys:
            raise PeerMisbehaved(_PEER, "keys: none that signs ID tokens")
        return KeySet(keys)


def _usable_key(entry: Any) -> "Key | None":
    """Return the entry's RSA key for RS256; None if the entry is of another kind, or broken.

    Providers publish keys of kinds that not every client knows.
    """
    from joserfc.jwk import RSAKey

    try:
        # A dict in any case: the library reads text as PEM.
        key = RSAKey.import_key({**entry})
        key.check_use("sig")
        key.check_alg("RS256")
        # This makes the library check the numbers.
        _ = key.public_key
    except Exception as error:  # noqa: BLE001 - the libraries raise many kinds for a broken key
        logger.warning("Ignoring a key of Hydra's: %s", type(error).__name__)
        return None
    return key


def error_code(text: object) -> str:
    """Return an OAuth error code (RFC 6749) that is safe to log; `?` for anything else."""
    return text if isinstance(text, str) and _ERROR_CODE.fullmatch(text) else "?"


def _refusal(http: PeerClient, response: PeerResponse, grant: str) -> PeerUnauthorized:
    try:
        code = error_code(http.json_object(response).get("error"))
    except PeerMisbehaved:
        code = "?"
    kind = PeerClientRefused if code in _CLIENT_ERRORS else PeerUnauthorized
    return kind(_PEER, f"{grant} refused ({response.status_code}, {code})")


def _require_ok(response: PeerResponse, what: str) -> None:
    status = response.status_code
    if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise PeerUnavailable(_PEER, f"{what} answered {status}")
    if status != HTTPStatus.OK:
        raise PeerMisbehaved(_PEER, f"{what} answered {status}")


def _parsed_tokens(body: dict[str, Any]) -> Tokens:
    access_token, expires_in = body.get("access_token"), body.get("expires_in")
    refresh_token, id_token = body.get("refresh_token"), body.get("id_token")
    if (
        not isinstance(access_token, str)
        or not _ACCESS_TOKEN.fullmatch(access_token)
        or not isinstance(refresh_token, str | None)
        or not isinstance(id_token, str | None)
    ):
        raise PeerMisbehaved(_PEER, "tokens of another shape")
    try:
        expires_at = utcnow() + timedelta(seconds=0 if expires_in is None else _number(expires_in))
    except (TypeError, ValueError, OverflowError):
        raise PeerMisbehaved(_PEER, "expires_in is no number of seconds") from None
    return Tokens(access_token, refresh_token or None, expires_at, id_token or None)


def _parsed_introspection(body: dict[str, Any]) -> Introspection | None:
    active = body.get("active")
    if not isinstance(active, bool):
        raise PeerMisbehaved(_PEER, "introspection without `active`")
    if not active or not _is_access_token(body):
        return None
    subject, scope, expires = body.get("sub"), body.get("scope"), body.get("exp")
    if not isinstance(subject, str | None):
        raise PeerMisbehaved(_PEER, "introspection with a subject that is no string")
    if not subject or "\0" in subject:
        return None
    if not isinstance(scope, str | None):
        raise PeerMisbehaved(_PEER, "introspection with a scope that is no string")
    expires_at = None
    if expires is not None:
        try:
            expires_at = datetime.fromtimestamp(_number(expires), UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            raise PeerMisbehaved(_PEER, "introspection with an odd `exp`") from None
        if expires_at <= utcnow():
            return None
    return Introspection(subject, frozenset((scope or "").split()), expires_at, _client_of(body))


def _client_of(introspection: dict[str, Any]) -> str | None:
    """Return the id of the client that has the token. It is told for information only: no rule needs it."""
    client = introspection.get("client_id")
    return client if isinstance(client, str) and client and "\0" not in client else None


def _is_access_token(body: dict[str, Any]) -> bool:
    """Return whether this is an access token. A refresh token is introspected as active, too.

    Hydra names the kind in `token_use`, `token_type` or both, by version. Other providers name none
    for a refresh token (RFC 7662: `token_type` is an access token's). So a token without a kind is
    no access token.
    """
    found = [kind for name in _KINDS if (kind := body.get(name)) is not None]
    if not all(isinstance(kind, str) for kind in found):
        raise PeerMisbehaved(_PEER, "introspection with an odd kind of token")
    kinds = [kind.lower() for kind in found if kind]
    return bool(kinds) and _ACCESS_TOKEN_TYPES.issuperset(kinds)


def _number(value: object) -> float:
    """Return a number that may be written as a string. Booleans are none.

    :raises TypeError, ValueError: It is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def _clean_subject(subject: str) -> str:
    if "\0" in subject:
        raise PeerMisbehaved(_PEER, "ID token refused: a subject that can't be stored")
    return subject
