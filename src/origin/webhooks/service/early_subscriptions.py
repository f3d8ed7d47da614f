"""Subscriptions of subjects that have no account yet (contract: http-api, Webhook subscriptions).

Clients subscribe before they send their user here for the first login. Such subscriptions are kept
by subject; the transaction that creates the account makes them live. Callers of all functions here
hold `lock_subject`, so that no first login comes in between.
"""

import hmac
import logging

from sqlalchemy.orm import Session

from origin.keys.sealing import (
    CannotUnseal,
    Sealer,
    early_webhook_secret_context,
    webhook_secret_context,
)
from origin.webhooks.queries import early_subscriptions as queries
from origin.webhooks.queries.subscriptions import store_if_missing
from origin.webhooks.rules.deliveries import Event
from origin.webhooks.rules.subscriptions import check_early_count

log = logging.getLogger(__name__)


def keep(
    session: Session, sealer: Sealer, subject: str, event: Event, url: str, host: str, secret: str
) -> None:
    """Keep a subscription until the subject's first login; a repeat replaces the secret.

    :raises TooManyEarlySubscriptions: the subject has too many others.
    """
    sealed = sealer.seal(secret, early_webhook_secret_context(subject, event, url))
    queries.delete_outdated(session, subject)
    if not queries.replace_secret(session, subject, event, url, sealed):
        check_early_count(queries.count(session, subject))
        queries.add(session, subject, event, url, host=host, sealed_secret=sealed)


def drop(
    session: Session, sealer: Sealer, subject: str, event: Event, url: str, secret: str
) -> bool:
    """Delete the subscription of this event to this URL, if it has this secret.

    :returns: False if there is none.
    """
    found = queries.find(session, subject, event, url)
    if found is None:
        return False
    known = sealer.open(found.secret, early_webhook_secret_context(subject, event, url))
    if not hmac.compare_digest(known.encode(), secret.encode()):
        return False
    queries.remove(session, found.id)
    return True


def make_live(session: Session, sealer: Sealer, user_id: int, subject: str) -> None:
    """Turn the subject's early subscriptions into the account's; delete outdated ones.

    Subscriptions that the account has already stay as they are.
    """
    for row in queries.take_all(session, subject):
        if row.is_outdated:
            continue
        early_context = early_webhook_secret_context(subject, row.event, row.url)
        try:
            secret = sealer.open(row.secret, early_context)
        except CannotUnseal as error:
            # The login must not fail because of a subscription whose secret is lost.
            log.warning("A subscription of user %s to %s is lost: %s", user_id, row.event, error)
            continue
        sealed = sealer.seal(secret, webhook_secret_context(user_id, row.event, row.url))
        store_if_missing(session, user_id, row.event, row.url, host=row.host, sealed_secret=sealed)
