"""Subscriptions to webhooks (contract: http-api, Webhook subscriptions)."""

import hmac
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.locks import lock_subject
from origin.db.models import User, WebhookSubscription
from origin.keys.sealing import Sealer, webhook_secret_context
from origin.webhooks.client.receivers import ReceiverClient, target_of
from origin.webhooks.queries import delivery_queue
from origin.webhooks.queries.outbox import Event
from origin.webhooks.rules.signatures import check_secret
from origin.webhooks.rules.subscriptions import TooManySubscriptions
from origin.webhooks.service import early_subscriptions

MAX_PER_EVENT = 100
"""Subscriptions that a user may have to one event."""


@dataclass(frozen=True)
class _Account:
    id: int
    is_active: bool


@dataclass(frozen=True)
class Subscriptions:
    """Subscribes users to webhooks."""

    receivers: ReceiverClient
    database: Database
    sealer: Sealer

    def subscribe(self, subject: str, event: Event, url: str, secret: str) -> None:
        """Have this event of the subject's posted to the URL; a repeat replaces the secret.

        Of a subject without an account it is kept for its first login; of a disabled account nothing is.

        :raises Rejected: The secret is not base64 after `whsec_`; the URL is not http or https, leads to
            where webhooks must not go, or is one too many.
        """
        check_secret(secret)
        target = target_of(url)
        self.receivers.check(target)
        with self.database.transaction() as session:
            account = _account(session, subject)
            if account is None:
                early_subscriptions.keep(
                    session, self.sealer, subject, event, url, target.authority, secret
                )
            elif account.is_active:
                _store(session, self.sealer, account.id, event, url, target.authority, secret)

    def unsubscribe(self, subject: str, event: Event, url: str, secret: str) -> bool:
        """End the subscription of this event to this URL, which has this secret.

        :returns: False where there is none.
        """
        with self.database.transaction() as session:
            account = _account(session, subject)
            if account is None:
                return early_subscriptions.drop(session, self.sealer, subject, event, url, secret)
            return account.is_active and _end(session, self.sealer, account.id, event, url, secret)


def _account(session: Session, subject: str) -> _Account | None:
    """The subject's account; None where it has none, and won't before the transaction ends.

    Who disables the account waits, and then finds the subscription to end.
    """
    query = (
        select(User.id, User.disabled_at).where(User.subject == subject).with_for_update(read=True)
    )
    found = session.execute(query).one_or_none()
    if found is None:
        lock_subject(session, subject)
        # A first login may have been under way.
        found = session.execute(query).one_or_none()
    return None if found is None else _Account(found.id, found.disabled_at is None)


def _store(
    session: Session, sealer: Sealer, user_id: int, event: Event, url: str, host: str, secret: str
) -> None:
    sealed = sealer.seal(secret, webhook_secret_context(user_id, event, url))
    if _count_others(session, user_id, event, url) >= MAX_PER_EVENT:
        raise TooManySubscriptions(MAX_PER_EVENT)
    session.execute(
        insert(WebhookSubscription)
        .values(user_id=user_id, event=event, url=url, host=host, secret=sealed)
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


def _end(
    session: Session, sealer: Sealer, user_id: int, event: Event, url: str, secret: str
) -> bool:
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
    known = sealer.open(found.secret, webhook_secret_context(user_id, event, url))
    if not hmac.compare_digest(known.encode(), secret.encode()):
        return False
    return delivery_queue.end(session, found.id, "unsubscribed")
