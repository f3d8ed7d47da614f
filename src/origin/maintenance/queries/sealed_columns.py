"""The columns that hold sealed texts, and the rows that an old secret sealed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from origin.db.models import EarlySubscription, User, WebhookSubscription
from origin.keys.sealing import (
    access_token_context,
    early_webhook_secret_context,
    master_key_context,
    refresh_token_context,
    webhook_secret_context,
)

SealedTable = type[User | WebhookSubscription | EarlySubscription]
SealedColumn = tuple[InstrumentedAttribute[Any], Callable[[Any], str]]

SEALED_COLUMNS: Mapping[SealedTable, Sequence[SealedColumn]] = {
    User: (
        (User.master_key, lambda user: master_key_context(user.subject)),
        (User.access_token, lambda user: access_token_context(user.subject)),
        (User.refresh_token, lambda user: refresh_token_context(user.subject)),
    ),
    WebhookSubscription: (
        (
            WebhookSubscription.secret,
            lambda each: webhook_secret_context(each.user_id, each.event, each.url),
        ),
    ),
    EarlySubscription: (
        (
            EarlySubscription.secret,
            lambda each: early_webhook_secret_context(each.subject, each.event, each.url),
        ),
    ),
}
"""Each sealed column, and the context that the text of a row is sealed for."""


def count_outdated(session: Session, table: SealedTable, prefix: str) -> int:
    """Count the rows with a sealed text that does not begin with the current secret's prefix."""
    query = select(func.count()).select_from(table).where(_is_outdated(table, prefix))
    return session.scalar(query) or 0


def next_outdated(
    session: Session, table: SealedTable, prefix: str, *, after_id: int, limit: int
) -> Sequence[Any]:
    """Return and lock the next outdated rows by id; a refresh of tokens waits meanwhile."""
    query = (
        select(table)
        .where(table.id > after_id, _is_outdated(table, prefix))
        .order_by(table.id)
        .limit(limit)
        .with_for_update(key_share=True)
    )
    return session.scalars(query).all()


def _is_outdated(table: SealedTable, prefix: str) -> ColumnElement[bool]:
    # A column that is NULL counts as neither outdated nor current.
    return or_(
        *(not_(column.startswith(prefix, autoescape=True)) for column, _ in SEALED_COLUMNS[table])
    )
