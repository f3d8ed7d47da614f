"""Live subscriptions of accounts: found, stored and ended."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.models import User, WebhookDelivery, WebhookSubscription
from origin.webhooks.rules.deliveries import Event


@dataclass(frozen=True)
class SubscribingAccount:
    """The account that a subject subscribes with."""

    id: int
    is_active: bool


@dataclass(frozen=True)
class LiveSubscription:
    """A live subscription and its sealed secret."""

    id: int
    secret: str


def find_account(session: Session, subject: str) -> SubscribingAccount | None:
    """Return the subject's account, locked (FOR SHARE).

    Disabling the account waits for this transaction, and then ends its subscriptions too.
    """
    found = session.execute(
        select(User.id, User.disabled_at).where(User.subject == subject).with_for_update(read=True)
    ).one_or_none()
    return None if found is None else SubscribingAccount(found.id, found.disabled_at is None)


def find_live(session: Session, user_id: int, event: Event, url: str) -> LiveSubscription | None:
    """Return the user's live subscription of this event to this URL."""
    found = session.execute(
        select(WebhookSubscription.id, WebhookSubscription.secret).where(
            *_live(user_id, event), WebhookSubscription.url == url
        )
    ).one_or_none()
    return None if found is None else LiveSubscription(found.id, found.secret)


def count_others(session: Session, user_id: int, event: Event, url: str) -> int:
    """Count the user's live subscriptions to this event at other URLs."""
    query = (
        select(func.count())
        .select_from(WebhookSubscription)
        .where(*_live(user_id, event), WebhookSubscription.url != url)
    )
    return session.scalar(query) or 0


def _live(user_id: int, event: Event) -> tuple[ColumnElement[bool], ...]:
    return (
        WebhookSubscription.user_id == user_id,
        WebhookSubscription.event == event,
        WebhookSubscription.ended_at.is_(None),
    )


def store(
    session: Session, user_id: int, event: Event, url: str, *, host: str, sealed_secret: str
) -> None:
    """Insert a subscription, or replace the secret of the live one."""
    session.execute(
        insert(WebhookSubscription)
        .values(user_id=user_id, event=event, url=url, host=host, secret=sealed_secret)
        .on_conflict_do_update(
            index_elements=["user_id", "event", "url"],
            index_where=WebhookSubscription.ended_at.is_(None),
            set_={"secret": sealed_secret},
        )
    )


def store_if_missing(
    session: Session, user_id: int, event: Event, url: str, *, host: str, sealed_secret: str
) -> None:
    """Insert a subscription unless there is a live one."""
    session.execute(
        insert(WebhookSubscription)
        .values(user_id=user_id, event=event, url=url, host=host, secret=sealed_secret)
        .on_conflict_do_nothing()
    )


def end(session: Session, subscription_id: int, reason: str) -> bool:
    """End a subscription: forget its secret and cancel its pending deliveries.

    :returns: False if it had ended before.
    """
    subscription = WebhookSubscription
    # Waits for open transactions that write to its delivery queue.
    session.execute(
        select(subscription.id).where(subscription.id == subscription_id).with_for_update()
    )
    ended = session.scalar(
        update(subscription)
        .where(subscription.id == subscription_id, subscription.ended_at.is_(None))
        .values(
            ended_at=func.now(), end_reason=reason, secret=None, next_attempt_at=None, claim=None
        )
        .returning(subscription.id)
    )
    if ended is None:
        return False
    _cancel_pending(session, subscription_id)
    return True


def end_all(session: Session, user_id: int, reason: str) -> None:
    """End all subscriptions of a user, each as `end` does."""
    subscription = WebhookSubscription
    live = select(subscription.id).where(
        subscription.user_id == user_id, subscription.ended_at.is_(None)
    )
    for subscription_id in session.scalars(live.order_by(subscription.id)).all():
        end(session, subscription_id, reason)


def _cancel_pending(session: Session, subscription_id: int) -> None:
    delivery = WebhookDelivery
    pending = (
        select(delivery.id)
        .where(delivery.subscription_id == subscription_id, delivery.next_attempt_at.is_not(None))
        # `delivery_queue.record` locks in the same order.
        .order_by(delivery.id)
        .with_for_update()
        .cte("pending")
    )
    session.execute(
        update(delivery)
        .where(delivery.id == pending.c.id)
        .values(state="CANCELLED", next_attempt_at=None, ended_at=func.now())
    )
