"""Subscriptions and deliveries, as operators read and change them."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, case, func, select, update
from sqlalchemy.orm import Session

from origin.db.models import User, WebhookDelivery, WebhookSubscription


def list_subscriptions(
    session: Session, *, subject: str | None, include_ended: bool, beyond: int, limit: int | None
) -> Sequence[Row[Any]]:
    """Return subscriptions with a summary of their delivery queues, oldest first.

    :param subject: Only this account's; None: all accounts'.
    :param beyond: Only subscriptions with a higher id.
    :param limit: At most so many; None: all.
    :returns: id, subject, event, url, state, failures, next_attempt_at, waiting (number of pending
        deliveries) and oldest (time of the first pending event).
    """
    query = _subscriptions().where(WebhookSubscription.id > beyond)
    if subject is not None:
        query = query.where(User.subject == subject)
    if not include_ended:
        query = query.where(WebhookSubscription.ended_at.is_(None))
    return session.execute(query.order_by(WebhookSubscription.id).limit(limit)).all()


def find_subscription(session: Session, subscription_id: int) -> Row[Any] | None:
    """Return one subscription with the columns of `list_subscriptions`."""
    query = _subscriptions().where(WebhookSubscription.id == subscription_id)
    return session.execute(query).one_or_none()


def latest_deliveries(
    session: Session, subscription_id: int, *, below: int | None, limit: int | None
) -> Sequence[Any]:
    """Return deliveries of a subscription, newest first.

    :param below: Only deliveries with a lower id; None: from the newest on.
    :param limit: At most so many; None: all.
    """
    delivery = WebhookDelivery
    query = (
        select(
            delivery.id,
            delivery.webhook_id,
            delivery.state,
            delivery.attempts,
            delivery.last_status,
            delivery.last_error,
            delivery.created_at,
            delivery.last_attempt_at,
            delivery.next_attempt_at,
        )
        .where(delivery.subscription_id == subscription_id)
        .order_by(delivery.id.desc())
        .limit(limit)
    )
    if below is not None:
        query = query.where(delivery.id < below)
    return session.execute(query).all()


def lock_live(session: Session, subscription_id: int) -> bool:
    """Keep a live subscription from ending until the transaction ends (FOR KEY SHARE).

    :returns: False if it is unknown or has ended.
    """
    live = select(WebhookSubscription.id).where(
        WebhookSubscription.id == subscription_id, WebhookSubscription.ended_at.is_(None)
    )
    return session.scalar(live.with_for_update(read=True, key_share=True)) is not None


def make_due(session: Session, subscription_id: int, delivery_ids: Collection[int]) -> int:
    """Make deliveries due now: these, or all that are pending or given up.

    :returns: How many.
    """
    delivery = WebhookDelivery
    chosen_ones = (
        delivery.id.in_(delivery_ids)
        if delivery_ids
        else delivery.state.in_(("PENDING", "GIVEN_UP"))
    )
    chosen = (
        select(delivery.id)
        .where(delivery.subscription_id == subscription_id, chosen_ones)
        .order_by(delivery.id)
        .with_for_update()
        .cte("chosen")
    )
    made_due = session.scalars(
        update(delivery)
        .where(delivery.id == chosen.c.id)
        .values(state="PENDING", next_attempt_at=func.now(), ended_at=None)
        .returning(delivery.id)
    )
    return len(made_due.all())


def forget_failures(session: Session, subscription_id: int) -> None:
    """Set a subscription's failures in a row to zero, which also ends a pause."""
    session.execute(
        update(WebhookSubscription)
        .where(WebhookSubscription.id == subscription_id)
        .values(failures=0)
    )


def _subscriptions() -> Select[Any]:
    subscription = WebhookSubscription
    waiting = (
        select(
            func.count().label("waiting"),
            func.min(WebhookDelivery.created_at).label("oldest"),
        )
        .where(
            WebhookDelivery.subscription_id == subscription.id,
            WebhookDelivery.next_attempt_at.is_not(None),
        )
        .lateral("waiting")
    )
    return (
        select(
            subscription.id,
            User.subject,
            subscription.event,
            subscription.url,
            case(
                (subscription.ended_at.is_not(None), subscription.end_reason),
                (subscription.failures > 0, "failing"),
                else_="live",
            ).label("state"),
            subscription.failures,
            subscription.next_attempt_at,
            waiting.c.waiting,
            waiting.c.oldest,
        )
        .select_from(subscription)
        .join(User, User.id == subscription.user_id)
        .join(waiting, onclause=subscription.id.is_not(None))
    )
