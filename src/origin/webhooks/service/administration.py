"""What operators ask and do about webhooks to subscribers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.models import User, WebhookDelivery, WebhookSubscription
from origin.errors import OriginError
from origin.shared.wakeups import Wakeups
from origin.webhooks.queries import delivery_queue
from origin.webhooks.queries.outbox import wake

_SHOWN = 50


@dataclass(eq=False)
class UnknownWebhook(OriginError):
    """There is no subscription of that id, or, with `must_be_live`, none that is live."""

    subscription_id: int
    must_be_live: bool


@dataclass(frozen=True)
class Log:
    """A subscription, and its latest deliveries, newest first."""

    subscription: Any
    deliveries: Sequence[Any]


def where(url: str) -> str:
    """A URL as it may be shown: its query may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


@dataclass(frozen=True)
class SubscriptionAdministration:
    """What operators ask about subscriptions, and have done to them."""

    database: Database
    wakeups: Wakeups

    def list_subscriptions(self, *, subject: str | None, ended: bool) -> Sequence[Any]:
        """Subscriptions with what waits on each, oldest first.

        :param subject: Of this account alone.
        :param ended: Those that have ended, too.
        """
        query = _subscriptions()
        if subject is not None:
            query = query.where(User.subject == subject)
        if not ended:
            query = query.where(WebhookSubscription.ended_at.is_(None))
        with self.database.reading() as session:
            return session.execute(query.order_by(WebhookSubscription.id)).all()

    def show(self, subscription_id: int) -> Log:
        """Show a subscription and its latest deliveries.

        :raises UnknownWebhook: there is none.
        """
        with self.database.reading() as session:
            found = session.execute(
                _subscriptions().where(WebhookSubscription.id == subscription_id)
            ).one_or_none()
            if found is None:
                raise UnknownWebhook(subscription_id, must_be_live=False)
            deliveries = select(
                WebhookDelivery.id,
                WebhookDelivery.webhook_id,
                WebhookDelivery.state,
                WebhookDelivery.attempts,
                WebhookDelivery.last_status,
                WebhookDelivery.last_error,
                WebhookDelivery.created_at,
                WebhookDelivery.last_attempt_at,
                WebhookDelivery.next_attempt_at,
            ).where(WebhookDelivery.subscription_id == subscription_id)
            newest = deliveries.order_by(WebhookDelivery.id.desc()).limit(_SHOWN)
            return Log(found, session.execute(newest).all())

    def replay(self, subscription_id: int, delivery_ids: Collection[int]) -> int:
        """Have deliveries made again, now: these, or all that wait or were given up.

        What is a day old is tried once.

        :returns: how many.
        :raises UnknownWebhook: the subscription isn't live.
        """
        delivery = WebhookDelivery
        if delivery_ids:
            which = delivery.id.in_(delivery_ids)
        else:
            which = delivery.state.in_(("PENDING", "GIVEN_UP"))
        with self.database.transaction() as session:
            _lock_live(session, subscription_id)
            chosen = (
                select(delivery.id)
                .where(delivery.subscription_id == subscription_id, which)
                .order_by(delivery.id)
                .with_for_update()
                .cte("chosen")
            )
            replayed = session.scalars(
                update(delivery)
                .where(delivery.id == chosen.c.id)
                .values(state="PENDING", next_attempt_at=func.now(), ended_at=None)
                .returning(delivery.id)
            ).all()
            if replayed:
                # A pause ends, too: the operator knows better.
                session.execute(
                    update(WebhookSubscription)
                    .where(WebhookSubscription.id == subscription_id)
                    .values(failures=0)
                )
                wake(session, [subscription_id])
        if replayed:
            self.wakeups.deliveries_due()
        return len(replayed)

    def disable(self, subscription_id: int) -> None:
        """End a subscription; what waits for it is cancelled.

        :raises UnknownWebhook: it isn't live.
        """
        with self.database.transaction() as session:
            if not delivery_queue.end(session, subscription_id, "disabled by an operator"):
                raise UnknownWebhook(subscription_id, must_be_live=True)


def _lock_live(session: Session, subscription_id: int) -> None:
    live = select(WebhookSubscription.id).where(
        WebhookSubscription.id == subscription_id, WebhookSubscription.ended_at.is_(None)
    )
    if session.scalar(live.with_for_update(read=True, key_share=True)) is None:
        raise UnknownWebhook(subscription_id, must_be_live=True)


def _subscriptions() -> Any:
    waiting = (
        select(
            func.count().label("waiting"),
            func.min(WebhookDelivery.created_at).label("oldest"),
        )
        .where(
            WebhookDelivery.subscription_id == WebhookSubscription.id,
            WebhookDelivery.next_attempt_at.is_not(None),
        )
        .lateral("waiting")
    )
    return (
        select(
            WebhookSubscription.id,
            User.subject,
            WebhookSubscription.event,
            WebhookSubscription.url,
            case(
                (WebhookSubscription.ended_at.is_not(None), WebhookSubscription.end_reason),
                (WebhookSubscription.failures > 0, "failing"),
                else_="live",
            ).label("state"),
            WebhookSubscription.failures,
            WebhookSubscription.next_attempt_at,
            waiting.c.waiting,
            waiting.c.oldest,
        )
        .select_from(WebhookSubscription)
        .join(User, User.id == WebhookSubscription.user_id)
        .join(waiting, onclause=WebhookSubscription.id.is_not(None))
    )
