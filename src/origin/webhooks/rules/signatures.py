"""Signatures of webhooks: base64 of HMAC-SHA256 over the raw body (contract: http-api, peers).

DataHub signs its webhooks with `hub_signature`. `signed_headers` signs our webhooks to subscribers;
the delivery calls it at each attempt.
"""

import hmac
from base64 import b64decode, b64encode

from origin.webhooks.rules.subscriptions import SecretNotBase64

SIGNATURE_HEADER = "x-hub-signature"
_STANDARD_PREFIX = "whsec_"


def hub_signature(secret: str, body: bytes) -> str:
    """Return the value of the `x-hub-signature` header for this body."""
    digest = hmac.digest(secret.encode(), body, "sha256")
    return f"sha256={b64encode(digest).decode()}"


def is_hub_signature(given: str | None, secret: str, body: bytes) -> bool:
    """Tell whether a header's value signs this body, in constant time."""
    return hmac.compare_digest((given or "").encode(), hub_signature(secret, body).encode())


def signed_headers(secret: str, body: bytes, webhook_id: str, timestamp: int) -> dict[str, str]:
    """Return all signature headers of one attempt: the hub's and those of standard-webhooks.

    :param webhook_id: The same in every attempt.
    :param timestamp: Unix time of this attempt, in seconds.
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
    """Check that a new subscription's secret can sign: after `whsec_` it must be base64.

    :raises SecretNotBase64: it is not.
    """
    if secret.startswith(_STANDARD_PREFIX) and _decoded(secret) is None:
        raise SecretNotBase64


def _standard_key(secret: str) -> bytes:
    """Return the standard-webhooks key: the bytes decoded after `whsec_`, else the secret's UTF-8.

    Subscriptions older than `check_secret` may have a `whsec_…` that is not base64. Its UTF-8 bytes
    are the key, so that these subscriptions still work.
    """
    decoded = _decoded(secret) if secret.startswith(_STANDARD_PREFIX) else None
    return secret.encode() if decoded is None else decoded


def _decoded(secret: str) -> bytes | None:
    """Return the key after the prefix; None if it is empty or not base64."""
    try:
        return b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True) or None
    except ValueError:
        return None
