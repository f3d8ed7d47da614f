"""Subscriptions of subjects that have no account yet (contract: http-api, Webhook subscriptions).

Clients subscribe before they send their user here for the first login. What they subscribed to is
kept by subject, and the transaction that makes the account makes it live. All functions here need
`lock_subject`: so no first login comes in between.
"""

import hmac
import logging
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.models import EarlySubscription, WebhookSubscription
from origin.keys.sealing import (
    CannotUnseal,
    Sealer,
    early_webhook_secret_context,
    webhook_secret_context,
)
from origin.webhooks.queries.outbox import Event
from origin.webhooks.rules.subscriptions import TooManyEarlySubscriptions

KEPT = timedelta(days=30)
"""What is older isn't taken up by a first login."""
MAX_PER_SUBJECT = 10

log = logging.getLogger(__name__)


def keep(
    session: Session, sealer: Sealer, subject: str, event: Event, url: str, host: str, secret: str
) -> None:
    """Keep a subscription until the subject's first login; a repeat replaces the secret.

    :raises TooManyEarlySubscriptions: The subject has MAX_PER_SUBJECT others.
    """
    early = EarlySubscription
    session.execute(
        delete(early).where(early.subject == subject, early.subscribed_at < func.now() - KEPT)
    )
    sealed = sealer.seal(secret, early_webhook_secret_context(subject, event, url))
    renewed = session.scalar(
        update(early)
        .where(*_this(subject, event, url))
        .values(secret=sealed, subscribed_at=func.now())
        .returning(early.id)
    )
    if renewed is not None:
        return
    count = select(func.count()).select_from(early).where(early.subject == subject)
    if (session.scalar(count) or 0) >= MAX_PER_SUBJECT:
        raise TooManyEarlySubscriptions(MAX_PER_SUBJECT)
    session.execute(
        insert(early).values(subject=subject, event=event, url=url, host=host, secret=sealed)
    )


def drop(
    session: Session, sealer: Sealer, subject: str, event: Event, url: str, secret: str
) -> bool:
    """Drop the subscription of this event to this URL, which has this secret.

    :returns: False where there is none.
    """
    early = EarlySubscription
    found = session.execute(
        select(early.id, early.secret).where(
            *_this(subject, event, url), early.subscribed_at >= func.now() - KEPT
        )
    ).one_or_none()
    if found is None:
        return False
    known = sealer.open(found.secret, early_webhook_secret_context(subject, event, url))
    if not hmac.compare_digest(known.encode(), secret.encode()):
        return False
    session.execute(delete(early).where(early.id == found.id))
    return True


def make_live(session: Session, sealer: Sealer, user_id: int, subject: str) -> None:
    """Make the account's what its subject subscribed to before; what is too old is dropped.

    What the account has subscribed to by itself stays as it is.
    """
    early = EarlySubscription
    taken = session.execute(
        delete(early)
        .where(early.subject == subject)
        .returning(
            early.event,
            early.url,
            early.host,
            early.secret,
            (early.subscribed_at >= func.now() - KEPT).label("is_fresh"),
        )
    ).all()
    for row in taken:
        if not row.is_fresh:
            continue
        try:
            secret = sealer.open(
                row.secret, early_webhook_secret_context(subject, row.event, row.url)
            )
        except CannotUnseal as error:
            # The login goes on: without its keys' secret the subscription is of no use to anybody.
            log.warning("A subscription of user %s to %s is lost: %s", user_id, row.event, error)
            continue
        session.execute(
            insert(WebhookSubscription)
            .values(
                user_id=user_id,
                event=row.event,
                url=row.url,
                host=row.host,
                secret=sealer.seal(secret, webhook_secret_context(user_id, row.event, row.url)),
            )
            .on_conflict_do_nothing()
        )


def _this(subject: str, event: Event, url: str) -> tuple[ColumnElement[bool], ...]:
    early = EarlySubscription
    return (early.subject == subject, early.event == event, early.url == url)
