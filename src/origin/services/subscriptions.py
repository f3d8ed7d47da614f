"""Subscriptions to webhooks (contract: http-api, Webhook subscriptions)."""

import hmac

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.clients.receivers import target_of
from origin.db import lanes
from origin.db.encryption import webhook_secret_context
from origin.db.models import User, WebhookSubscription
from origin.db.outbox import Event
from origin.domain.signatures import check_secret
from origin.errors import Refused
from origin.runtime import Runtime

MAX_PER_EVENT = 100
"""Subscriptions that a user may have to one event."""


def subscribe(runtime: Runtime, user_id: int, event: Event, url: str, secret: str) -> None:
    """Have this event of the user's posted to the URL; a repeat replaces the secret.

    :raises Refused: the secret is no base64 after `whsec_`; the URL isn't http or https, leads to where webhooks must not go, or is one too
        many; or the account was disabled meanwhile.
    """
    check_secret(secret)
    target = target_of(url)
    runtime.receivers.check(target)
    sealed = runtime.sealer.seal(secret, webhook_secret_context(user_id, event, url))
    with runtime.database.transaction() as session:
        # Whoever disables the account waits, and then finds the subscription to end.
        active = select(User.id).where(User.id == user_id, User.disabled_at.is_(None))
        if session.scalar(active.with_for_update(read=True)) is None:
            raise Refused("Account unavailable")
        if _count_others(session, user_id, event, url) >= MAX_PER_EVENT:
            raise Refused(f"At most {MAX_PER_EVENT} subscriptions to one event")
        session.execute(
            insert(WebhookSubscription)
            .values(user_id=user_id, event=event, url=url, host=target.authority, secret=sealed)
            .on_conflict_do_update(
                index_elements=["user_id", "event", "url"],
                index_where=WebhookSubscription.ended_at.is_(None),
                set_={"secret": sealed},
            )
        )


def _count_others(session: Session, user_id: int, event: Event, url: str) -> int:
    query = (
        select(func.count())
        .select_from(WebhookSubscription)
        .where(
            WebhookSubscription.user_id == user_id,
            WebhookSubscription.event == event,
            WebhookSubscription.url != url,
            WebhookSubscription.ended_at.is_(None),
        )
    )
    return session.scalar(query) or 0


def unsubscribe(runtime: Runtime, user_id: int, event: Event, url: str, secret: str) -> bool:
    """End the subscription of this event to this URL, which has this secret.

    :returns: False where there is none.
    """
    with runtime.database.transaction() as session:
        found = session.execute(
            select(WebhookSubscription.id, WebhookSubscription.secret).where(
                WebhookSubscription.user_id == user_id,
                WebhookSubscription.event == event,
                WebhookSubscription.url == url,
                WebhookSubscription.ended_at.is_(None),
            )
        ).one_or_none()
        if found is None or found.secret is None:
            return False
        known = runtime.sealer.open(found.secret, webhook_secret_context(user_id, event, url))
        if not hmac.compare_digest(known.encode(), secret.encode()):
            return False
        return lanes.end(session, found.id, "unsubscribed")
