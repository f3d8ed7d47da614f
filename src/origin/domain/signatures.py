"""Signatures of webhooks: base64 of HMAC-SHA256 over the raw body (contract: http-api, peers)."""

import hmac
from base64 import b64encode

SIGNATURE_HEADER = "x-hub-signature"


def hub_signature(secret: str, body: bytes) -> str:
    """The value of the `x-hub-signature` header for this body."""
    digest = hmac.digest(secret.encode(), body, "sha256")
    return f"sha256={b64encode(digest).decode()}"


def is_hub_signature(given: str | None, secret: str, body: bytes) -> bool:
    """Tell whether a header's value signs this body; takes as long whatever is wrong with it."""
    return hmac.compare_digest((given or "").encode(), hub_signature(secret, body).encode())
