"""Signatures of webhooks: base64 of HMAC-SHA256 over the raw body (contract: http-api, peers)."""

import hmac
from base64 import b64decode, b64encode

from origin.webhooks.rules.subscriptions import SecretNotBase64

SIGNATURE_HEADER = "x-hub-signature"


def hub_signature(secret: str, body: bytes) -> str:
    """The value of the `x-hub-signature` header for this body."""
    digest = hmac.digest(secret.encode(), body, "sha256")
    return f"sha256={b64encode(digest).decode()}"


def is_hub_signature(given: str | None, secret: str, body: bytes) -> bool:
    """Tell whether a header's value signs this body; takes as long whatever is wrong with it."""
    return hmac.compare_digest((given or "").encode(), hub_signature(secret, body).encode())


_STANDARD_PREFIX = "whsec_"


def signed_headers(secret: str, body: bytes, webhook_id: str, timestamp: int) -> dict[str, str]:
    """All headers that vouch for a webhook of ours: the hub's, and those of standard-webhooks.

    :param webhook_id: The same in every attempt.
    :param timestamp: Unix time of this attempt, seconds.
    """
    signed = b"%b.%d.%b" % (webhook_id.encode(), timestamp, body)
    digest = hmac.digest(_standard_key(secret), signed, "sha256")
    return {
        SIGNATURE_HEADER: hub_signature(secret, body),
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }


def check_secret(secret: str) -> None:
    """Check that a new subscription's secret that claims to be base64 is base64.

    :raises SecretNotBase64: It is not.
    """
    if secret.startswith(_STANDARD_PREFIX) and _decoded(secret) is None:
        raise SecretNotBase64


def _standard_key(secret: str) -> bytes:
    """The secret's UTF-8 bytes; of `whsec_…` what follows, decoded.

    Subscriptions from before `check_secret` may have a `whsec_…` that isn't base64. It stands for its
    UTF-8 bytes, like any other text, so that they are delivered to.
    """
    decoded = _decoded(secret) if secret.startswith(_STANDARD_PREFIX) else None
    return secret.encode() if decoded is None else decoded


def _decoded(secret: str) -> bytes | None:
    """The key that follows the prefix; None where there is none, or no base64."""
    try:
        return b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True) or None
    except ValueError:
        return None
