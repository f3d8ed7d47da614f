"""The columns that hold sealed texts, and the rows that an old secret sealed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, not_, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from origin.db.models import EarlySubscription, LostSecret, User, WebhookSubscription
from origin.keys.sealing import (
    PREFIX,
    PREFIX_LENGTH,
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


def count_all_outdated(session: Session, prefix: str) -> int:
    """Count the rows of all tables with a text that does not begin with the current prefix."""
    return sum(count_outdated(session, table, prefix) for table in SEALED_COLUMNS)


def needed_prefixes(session: Session) -> set[str]:
    """Return the prefixes of all sealed texts, by one look into an index for each prefix.

    Texts that no secret can have sealed are left out.
    """
    found: set[str] = set()
    for columns in SEALED_COLUMNS.values():
        for column, _ in columns:
            found |= set(session.scalars(_distinct_prefixes(column)))
    return {each for each in found if PREFIX.fullmatch(each)}


def _distinct_prefixes(column: InstrumentedAttribute[Any]) -> Select[tuple[str]]:
    """Select a column's prefixes by going from each to the next: PostgreSQL's DISTINCT reads all rows."""
    prefix = func.left(column, literal_column(str(PREFIX_LENGTH)))
    first = select(func.min(prefix).label("prefix")).cte("prefixes", recursive=True)
    following = select(func.min(prefix)).where(prefix > first.c.prefix).scalar_subquery()
    every = first.union_all(select(following).where(first.c.prefix.is_not(None)))
    return select(every.c.prefix).where(every.c.prefix.is_not(None))


def count_sealed_by(session: Session, prefix: str) -> int:
    """Count the rows with a text that has this prefix."""
    return sum(
        session.scalar(
            select(func.count())
            .select_from(table)
            .where(or_(*(column.startswith(prefix, autoescape=True) for column, _ in columns)))
        )
        or 0
        for table, columns in SEALED_COLUMNS.items()
    )


def lost_prefixes(session: Session) -> set[str]:
    """Return the prefixes of the secrets that operators have declared lost."""
    return set(session.scalars(select(LostSecret.prefix)))


def add_lost(session: Session, prefixes: Iterable[str]) -> None:
    """Declare the secrets with these prefixes lost."""
    for prefix in prefixes:
        session.execute(insert(LostSecret).values(prefix=prefix).on_conflict_do_nothing())


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
