"""Moving all that is sealed to the first of KEY_ENCRYPTION_SECRETS, while the service runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from origin.db.engine import Database
from origin.db.models import EarlySubscription, User, WebhookSubscription
from origin.keys.sealing import (
    CannotUnseal,
    Sealer,
    access_token_context,
    early_webhook_secret_context,
    master_key_context,
    refresh_token_context,
    webhook_secret_context,
)

CHUNK = 200

Table = type[User | WebhookSubscription | EarlySubscription]
_Sealed = tuple[InstrumentedAttribute[Any], Callable[[Any], str]]

_SEALED: dict[Table, Sequence[_Sealed]] = {
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
"""The columns, and for where the text of a row is sealed."""


@dataclass(frozen=True)
class Progress:
    """How far a rotation is: rows (users, webhook subscriptions)."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True)
class KeyRotation:
    """Seals everything anew with the first of KEY_ENCRYPTION_SECRETS."""

    database: Database
    sealer: Sealer

    def outdated(self) -> int:
        """How many rows have something that isn't sealed with the first secret."""
        with self.database.reading() as session:
            return sum(
                session.scalar(
                    select(func.count()).select_from(table).where(_is_outdated(table, self.sealer))
                )
                or 0
                for table in _SEALED
            )

    def rotate(self) -> Iterator[Progress]:
        """Reseal everything with the first secret, some rows in each transaction.

        It can be stopped at any moment and begun again: what is done stays done. Rows whose texts
        open with none of the secrets are left as they are, and counted as failed.
        """
        total = self.outdated()
        done = failed = 0
        yield Progress(done, failed, total)
        for table in _SEALED:
            last_id = 0
            while True:
                with self.database.transaction() as session:
                    rows = _next(session, table, self.sealer, last_id)
                    for row in rows:
                        resealed = _reseal(table, self.sealer, row)
                        done += resealed
                        failed += not resealed
                if not rows:
                    break
                last_id = rows[-1].id
                yield Progress(done, failed, total)


def _next(session: Session, table: Table, sealer: Sealer, last_id: int) -> Sequence[Any]:
    """The next outdated rows, locked: a refresh of tokens meanwhile waits."""
    query = (
        select(table)
        .where(table.id > last_id, _is_outdated(table, sealer))
        .order_by(table.id)
        .limit(CHUNK)
        .with_for_update(key_share=True)
    )
    return session.scalars(query).all()


def _is_outdated(table: Table, sealer: Sealer) -> ColumnElement[bool]:
    # NULL is neither outdated nor up to date, as it should be.
    prefix = sealer.current_prefix
    return or_(*(not_(column.startswith(prefix, autoescape=True)) for column, _ in _SEALED[table]))


def _reseal(table: Table, sealer: Sealer, row: Any) -> bool:
    try:
        fresh = {
            column.key: sealer.reseal(sealed, context(row))
            for column, context in _SEALED[table]
            if (sealed := getattr(row, column.key)) is not None
        }
    except CannotUnseal:
        return False
    for name, sealed in fresh.items():
        setattr(row, name, sealed)
    return True
