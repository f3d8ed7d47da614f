"""ID tokens and their signing keys. Tokens can be made faulty on demand."""

import secrets
import threading
import time
from enum import StrEnum
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

KEY_BITS = 2048


class Mode(StrEnum):
    """The fault of issued ID tokens; RIGHT: none."""

    RIGHT = "right"
    EXPIRED = "expired"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_KEY = "wrong_key"
    WRONG_NONCE = "wrong_nonce"
    UNSIGNED = "unsigned"
    MISSING = "missing"


def _new_key() -> RSAKey:
    return RSAKey.generate_key(
        KEY_BITS, {"kid": secrets.token_hex(8), "use": "sig", "alg": "RS256"}, private=True
    )


class IdTokens:
    """Signs ID tokens with its newest key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys = [_new_key()]
        self._mode = Mode.RIGHT
        self._times: int | None = None

    def reset(self) -> None:
        """Return to correct tokens; the keys stay."""
        self.go_wrong(Mode.RIGHT, None)

    def rotate(self, *, keep_old: bool) -> None:
        """Sign with a new key; without `keep_old` the old ones are no longer published."""
        key = _new_key()
        with self._lock:
            self._keys = [key, *(self._keys if keep_old else [])]

    def jwks(self) -> dict[str, Any]:
        """Return the public keys as a JSON Web Key Set."""
        with self._lock:
            return {"keys": [key.as_dict(private=False) for key in self._keys]}

    def go_wrong(self, mode: Mode, times: int | None) -> None:
        """Make the next `times` ID tokens faulty (None: all until changed)."""
        with self._lock:
            self._mode, self._times = mode, times

    def issue(
        self, *, issuer: str, audience: str, sub: str, nonce: str | None, lifetime: float
    ) -> str | None:
        """Return a signed ID token (`lifetime` in s), or None in the mode MISSING."""
        with self._lock:
            mode, key = self._next_mode(), self._keys[0]
        if mode is Mode.MISSING:
            return None
        now = int(time.time())
        issued = now - 7200 if mode is Mode.EXPIRED else now
        claims: dict[str, Any] = {
            "iss": "http://someone.else.example" if mode is Mode.WRONG_ISSUER else issuer,
            "aud": ["someone-else"] if mode is Mode.WRONG_AUDIENCE else [audience],
            "sub": sub,
            "iat": issued,
            "auth_time": issued,
            "exp": issued + int(3600 if mode is Mode.EXPIRED else lifetime),
            "jti": secrets.token_hex(16),
        }
        if nonce is not None or mode is Mode.WRONG_NONCE:
            claims["nonce"] = "another" if mode is Mode.WRONG_NONCE else nonce
        return self._signed(claims, mode, key)

    def _signed(self, claims: dict[str, Any], mode: Mode, key: RSAKey) -> str:
        header = {"alg": "RS256", "kid": key.kid}
        signing_key = _new_key() if mode is Mode.WRONG_KEY else key
        token = jwt.encode(header, claims, signing_key)
        if mode is Mode.UNSIGNED:
            return token.rpartition(".")[0] + "."
        return token

    def _next_mode(self) -> Mode:
        mode = self._mode
        if self._times is not None:
            self._times -= 1
            if self._times <= 0:
                self._mode, self._times = Mode.RIGHT, None
        return mode
