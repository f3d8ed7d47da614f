"""Encryption at rest: keys, tokens and secrets stand in the database sealed.

A sealed text is `v1.<key id>.<base64url of nonce and ciphertext>`: AES-256-GCM under a key that
HKDF-SHA256 derives from one of KEY_ENCRYPTION_SECRETS. The context (column and owner) is the
additional data, so a sealed text that is copied to another row can't be opened there.
"""

import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from origin.errors import OriginError

PREFIX = re.compile(r"v1\.[0-9a-f]{8}\.")
"""How a sealed text begins. It tells the secret, and the database has indexes on it."""
PREFIX_LENGTH = 12
_VERSION = "v1"
_NONCE_BYTES = 12


class CannotUnseal(OriginError):
    """The text was sealed with an unknown secret or for another row, or it was changed."""


class Sealer:
    """Encrypts with the first secret, and decrypts with any of them."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Derive the keys.

        :param secrets: KEY_ENCRYPTION_SECRETS, at least one.
        """
        self._ciphers: dict[str, AESGCM] = {}
        for secret in secrets:
            key = HKDF(hashes.SHA256(), 32, salt=None, info=b"account-service column key").derive(
                secret.encode()
            )
            self._ciphers.setdefault(sha256(key).hexdigest()[:8], AESGCM(key))
        self._current = next(iter(self._ciphers))

    def seal(self, plaintext: str, context: str) -> str:
        """Encrypt a text for one column of one row.

        :param context: The column and the row, such as `users.master_key:<subject>`.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, plaintext.encode(), context.encode())
        return f"{_VERSION}.{self._current}.{urlsafe_b64encode(nonce + sealed).decode()}"

    @property
    def prefixes(self) -> list[str]:
        """How the texts begin that each secret has sealed, in the order of the secrets."""
        return [f"{_VERSION}.{key_id}." for key_id in self._ciphers]

    @property
    def current_prefix(self) -> str:
        """The prefix of all texts that are sealed with the first secret."""
        return f"{_VERSION}.{self._current}."

    def reseal(self, sealed: str, context: str) -> str:
        """Return the text sealed with the first secret; unchanged if it already is.

        :raises CannotUnseal: as `open`.
        """
        if sealed.startswith(self.current_prefix):
            return sealed
        return self.seal(self.open(sealed, context), context)

    def open(self, sealed: str, context: str) -> str:
        """Decrypt a text that `seal` made for the same context.

        :raises CannotUnseal: the secret, the context or the content doesn't match.
        """
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise CannotUnseal("sealed with a secret that is not among KEY_ENCRYPTION_SECRETS")
        try:
            raw = urlsafe_b64decode(body)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError):
            raise CannotUnseal("sealed for another row, or changed since") from None


class Signer:
    """Signs with the first secret and accepts signatures of any."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Derive the keys; they differ from the `Sealer`'s.

        :param secrets: KEY_ENCRYPTION_SECRETS, at least one.
        """
        self._keys = [
            HKDF(hashes.SHA256(), 32, salt=None, info=b"account-service signatures").derive(
                secret.encode()
            )
            for secret in secrets
        ]

    def sign(self, text: bytes) -> bytes:
        """Return the signature of a text: HMAC-SHA256, 32 bytes."""
        return hmac.digest(self._keys[0], text, "sha256")

    def is_signed(self, text: bytes, signature: bytes) -> bool:
        """Return whether `sign` made this signature of this text, with any of the secrets."""
        made = [hmac.digest(key, text, "sha256") for key in self._keys]
        return any(hmac.compare_digest(each, signature) for each in made)


def master_key_context(subject: str) -> str:
    """Return the context of a user's sealed master key."""
    return f"users.master_key:{subject}"


def access_token_context(subject: str) -> str:
    """Return the context of a user's sealed access token."""
    return f"users.access_token:{subject}"


def refresh_token_context(subject: str) -> str:
    """Return the context of a user's sealed refresh token."""
    return f"users.refresh_token:{subject}"


def webhook_secret_context(user_id: int, event: str, url: str) -> str:
    """Return the context of a webhook subscription's sealed secret."""
    return f"webhook_subscriptions.secret:{user_id}:{event}:{url}"


def early_webhook_secret_context(subject: str, event: str, url: str) -> str:
    """Return the context of the sealed secret of a subscription without an account."""
    return f"early_subscriptions.secret:{subject}:{event}:{url}"
