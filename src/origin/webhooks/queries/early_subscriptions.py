"""Subscriptions of subjects without an account. Callers hold `lock_subject`."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.orm import Session

from origin.db.models import EarlySubscription
from origin.webhooks.rules.deliveries import Event
from origin.webhooks.rules.subscriptions import EARLY_KEPT_FOR


def is_outdated() -> ColumnElement[bool]:
    """Return the SQL condition that an early subscription is too old to become live."""
    return EarlySubscription.subscribed_at < func.now() - EARLY_KEPT_FOR


def delete_outdated(session: Session, subject: str) -> None:
    """Delete the subject's outdated early subscriptions."""
    session.execute(
        delete(EarlySubscription).where(EarlySubscription.subject == subject, is_outdated())
    )


def replace_secret(
    session: Session, subject: str, event: Event, url: str, sealed_secret: str
) -> bool:
    """Replace the secret of an early subscription and count its age from now on.

    :returns: False if there is none.
    """
    renewed = session.scalar(
        update(EarlySubscription)
        .where(*_key(subject, event, url))
        .values(secret=sealed_secret, subscribed_at=func.now())
        .returning(EarlySubscription.id)
    )
    return renewed is not None


def count(session: Session, subject: str) -> int:
    """Count the subject's early subscriptions, of all events."""
    query = (
        select(func.count())
        .select_from(EarlySubscription)
        .where(EarlySubscription.subject == subject)
    )
    return session.scalar(query) or 0


def add(
    session: Session, subject: str, event: Event, url: str, *, host: str, sealed_secret: str
) -> None:
    """Insert an early subscription."""
    session.execute(
        insert(EarlySubscription).values(
            subject=subject, event=event, url=url, host=host, secret=sealed_secret
        )
    )


def find(session: Session, subject: str, event: Event, url: str) -> Row[int, str] | None:
    """Return id and sealed secret of an early subscription that is not outdated."""
    return session.execute(
        select(EarlySubscription.id, EarlySubscription.secret).where(
            *_key(subject, event, url), ~is_outdated()
        )
    ).one_or_none()


def remove(session: Session, early_id: int) -> None:
    """Delete one early subscription."""
    session.execute(delete(EarlySubscription).where(EarlySubscription.id == early_id))


def take_all(session: Session, subject: str) -> Sequence[Row[str, str, str, str, bool]]:
    """Delete the subject's early subscriptions and return them.

    :returns: event, url, host, secret (sealed), is_outdated.
    """
    early = EarlySubscription
    return session.execute(
        delete(early)
        .where(early.subject == subject)
        .returning(
            early.event, early.url, early.host, early.secret, is_outdated().label("is_outdated")
        )
    ).all()


def _key(subject: str, event: Event, url: str) -> tuple[ColumnElement[bool], ...]:
    early = EarlySubscription
    return (early.subject == subject, early.event == event, early.url == url)
