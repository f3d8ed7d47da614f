"""Seals the secrets of the original service on their way to staging. They are never stored in clear."""

from collections.abc import Iterable, Mapping
from typing import Any

from origin.adoption.rules import AdoptedAccount
from origin.errors import Rejected
from origin.keys.derivation import ExtendedKey
from origin.keys.sealing import (
    Sealer,
    access_token_context,
    early_webhook_secret_context,
    master_key_context,
    refresh_token_context,
    webhook_secret_context,
)
from origin.webhooks.client.targets import target_of

Row = Mapping[str, Any]


def sealed_users(sealer: Sealer, rows: Iterable[Row]) -> list[list[Any]]:
    """Return rows of `auth_user` with the columns of staging.

    A master key that isn't usable becomes None, and so do a disabled user's tokens.
    """
    return [_sealed_user(sealer, row) for row in rows]


def _sealed_user(sealer: Sealer, row: Row) -> list[Any]:
    subject = row["sub"] or ""
    is_active = row["disabled"] == "false"
    # An active user has an access token, even one that no peer accepts: it is refreshed.
    access = sealer.seal(row["access_token"] or "", access_token_context(subject))
    refresh = row["refresh_token"] and sealer.seal(
        row["refresh_token"], refresh_token_context(subject)
    )
    key = row["master_extended_key"]
    return [
        row["id"],
        row["created"],
        row["sub"],
        sealer.seal(key, master_key_context(subject)) if _is_master_key(key) else None,
        access if is_active else None,
        (refresh or None) if is_active else None,
        row["token_expire"],
        row["last_login"],
        row["disabled"],
    ]


def _is_master_key(text: str | None) -> bool:
    """Tell whether a text is an extended private key that a public key follows from."""
    if text is None:
        return False
    try:
        return bool(ExtendedKey.from_base58(text).public_key)
    except (ValueError, AssertionError):
        return False


def sealed_subscriptions(
    sealer: Sealer, rows: Iterable[Row], accounts: Mapping[str, AdoptedAccount]
) -> list[list[Any]]:
    """Return rows of `webhook_subscription` with the columns of staging.

    :param accounts: The adopted users by subject. A subscription of another subject is sealed for its
        first login; one of a disabled user needs no secret.
    """
    return [_sealed_subscription(sealer, row, accounts.get(row["subject"])) for row in rows]


def _sealed_subscription(sealer: Sealer, row: Row, account: AdoptedAccount | None) -> list[Any]:
    event, subject, url = (row[name] or "" for name in ("event", "subject", "url"))
    host = problem = secret = None
    try:
        host = target_of(url).authority
    except Rejected:
        problem = "Its URL is not one that webhooks can be sent to"
    if account is None or not account.is_disabled:
        if not row["secret"]:
            problem = problem or "It has no secret to sign webhooks with: subscribe again"
        elif account is None:
            context = early_webhook_secret_context(subject, event, url)
            secret = sealer.seal(row["secret"], context)
        else:
            secret = sealer.seal(row["secret"], webhook_secret_context(account.id, event, url))
    return [row["id"], row["event"], row["subject"], row["url"], host, secret, problem]
