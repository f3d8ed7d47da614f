"""How callers prove who they are, and which scopes there are (contract: peers, Hydra)."""

from typing import Any

from origin.identity.authentication import Guard
from origin.webhooks.rules.signatures import SIGNATURE_HEADER

Json = dict[str, Any]

SCOPES = {
    "ggo.read": "List and sum the GGOs, transfers and forecasts, and declare consumption",
    "ggo.retire": "Retire GGOs",
    "ggo.transfer": "Transfer GGOs, and sum transfers",
    "openid": "Subscribe to webhooks",
    "profile": "See and disable the account, and find suppliers",
}
"""What each scope allows. A view that demands another one fails a test."""


def schemes(hydra_url: str) -> Json:
    """Return the security schemes.

    :param hydra_url: Where the users' browsers reach Hydra, without a trailing slash.
    """
    token_url = f"{hydra_url}/oauth2/token"
    code_flow = {
        "authorizationUrl": f"{hydra_url}/oauth2/auth",
        "tokenUrl": token_url,
        "refreshUrl": token_url,
        "scopes": SCOPES,
    }
    return {
        "oauth2": {
            "type": "oauth2",
            "description": "Log in at Hydra, by the code flow with PKCE (S256).",
            "flows": {"authorizationCode": code_flow},
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token of Hydra's that you have already",
        },
        "signature": {
            "type": "apiKey",
            "in": "header",
            "name": SIGNATURE_HEADER,
            "description": (
                "sha256=<base64(HMAC-SHA256(WEBHOOK_SECRET, body))>, over the bytes of the body"
            ),
        },
    }


def requirements(guard: Guard) -> list[Json]:
    """Return an operation's `security`: alternatives, or none if no token is needed."""
    if guard.any_of:
        return [*({"oauth2": [each]} for each in sorted(guard.scopes)), {"token": []}]
    if guard.scopes:
        return [{"oauth2": sorted(guard.scopes)}, {"token": []}]
    return [{"signature": []}] if guard.is_signed else []


def sentence(guard: Guard) -> str:
    """Return what the guard demands, in words."""
    if guard.scopes:
        plural = "s" if len(guard.scopes) > 1 else ""
        joined = (" or " if guard.any_of else " and ").join(
            f"`{each}`" for each in sorted(guard.scopes)
        )
        return f"Scope{plural}: {joined}."
    if guard.is_signed:
        return "DataHubService calls this. The body must be signed with WEBHOOK_SECRET."
    return "No token is needed."
