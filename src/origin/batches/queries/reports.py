"""SQL of the operators' reports about batches."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session, aliased

from origin.batches.queries.stuck import is_stuck
from origin.db.models import Batch, BatchEvent, Ggo, Transaction, User

_LISTED_COLUMNS: tuple[Any, ...] = (
    Batch.id,
    Batch.state,
    Batch.ledger_batch_id,
    Batch.posts,
    Batch.refused_posts,
    Batch.unarrived_posts,
    Batch.attempts,
    Batch.next_attempt_at,
    Batch.created_at,
    Batch.submitted_at,
    Batch.ended_at,
    Batch.last_error,
    Batch.never_sent,
    Batch.original_batch_id,
    Batch.adopted_at,
    Batch.ggo_id,
    Ggo.address,
    Ggo.amount,
    User.subject,
)
_BATCH_COLUMNS = (*_LISTED_COLUMNS, Batch.operation_id, Batch.undone)


def any_under_way(session: Session) -> bool:
    """Whether a batch has not ended."""
    return bool(session.scalar(select(exists().where(Batch.ended_at.is_(None)))))


def under_way_by_state(session: Session) -> Sequence[Any]:
    """Return the batches under way, by state, and by whether they are adopted and not signed yet.

    :returns: state, is_adopted_unsigned, count, due, attempts (the most), oldest (the earliest
        created_at).
    """
    is_adopted_unsigned = and_(Batch.adopted_at.is_not(None), Batch.signed_batch.is_(None))
    return session.execute(
        select(
            Batch.state,
            is_adopted_unsigned.label("is_adopted_unsigned"),
            func.count().label("count"),
            func.count().filter(Batch.next_attempt_at <= func.now()).label("due"),
            func.max(Batch.attempts).label("attempts"),
            func.min(Batch.created_at).label("oldest"),
        )
        .where(Batch.next_attempt_at.is_not(None))
        .group_by(Batch.state, is_adopted_unsigned)
        .order_by(Batch.state, is_adopted_unsigned)
    ).all()


@dataclass(frozen=True)
class BatchFilter:
    """Which batches an operator asks for. None means all.

    :ivar states: In one of these states.
    :ivar stuck_after_s: Not ended so many seconds after its compose or adoption; with `states`,
        these batches as well.
    :ivar user_id: Of this user.
    :ivar since: Composed at this moment or later, or so long ago at most.
    """

    states: Collection[str] | None = None
    stuck_after_s: float | None = None
    user_id: int | None = None
    since: datetime | timedelta | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions on `batches`."""
        is_in_state = [Batch.state.in_(self.states)] if self.states else []
        stuck = [] if self.stuck_after_s is None else [is_stuck(self.stuck_after_s)]
        if is_in_state or stuck:
            yield or_(*is_in_state, *stuck)
        if self.user_id is not None:
            yield Batch.user_id == self.user_id
        if self.since is not None:
            is_age = isinstance(self.since, timedelta)
            yield Batch.created_at >= (func.now() - self.since if is_age else self.since)


def list_batches(
    session: Session, wanted: BatchFilter, *, below: int | None, limit: int | None
) -> Sequence[Row[Any]]:
    """Return batches with the columns of `find_batch` (without `undone`), newest first.

    :param below: Only batches with a lower id; None: from the newest on.
    :param limit: At most so many; None: all.
    """
    query = (
        select(*_LISTED_COLUMNS)
        .join(Ggo, Ggo.id == Batch.ggo_id)
        .join(User, User.id == Batch.user_id)
        .where(*wanted.conditions())
        .order_by(Batch.id.desc())
        .limit(limit)
    )
    if below is not None:
        query = query.where(Batch.id < below)
    return session.execute(query).all()


def find_batch(session: Session, batch_id: str) -> Row[Any] | None:
    """Return a batch with its source's address and amount, and its user's subject.

    :param batch_id: Our id; or the ledger's, also that of the original service's batch; or a GGO's
        address: the latest batch that spends it, or made it.
    """
    return session.execute(
        select(*_BATCH_COLUMNS)
        .join(Ggo, Ggo.id == Batch.ggo_id)
        .join(User, User.id == Batch.user_id)
        .where(_is_meant(batch_id))
        .order_by(Batch.id.desc())
        .limit(1)
    ).one_or_none()


def _is_meant(batch_id: str) -> ColumnElement[bool]:
    if batch_id.isdecimal() and len(batch_id) < 19:
        return Batch.id == int(batch_id)
    named = aliased(Ggo)
    concerned = select(func.unnest(array([named.id, named.parent_id])))
    return or_(
        Batch.ledger_batch_id == batch_id,
        Batch.original_batch_id == batch_id,
        Batch.ggo_id.in_(concerned.where(named.address == batch_id)),
    )


def operations_of(session: Session, batch_id: int) -> Sequence[Any]:
    """Return type, address and amount of a batch's operations, in their order."""
    return session.execute(
        select(Transaction.type, Ggo.address, Ggo.amount)
        .join(Ggo, Ggo.id == Transaction.ggo_id)
        .where(Transaction.batch_id == batch_id)
        .order_by(Transaction.position)
    ).all()


def parts_of(session: Session, source_id: int) -> Sequence[Any]:
    """Return address, amount, owner's subject and retire_gsrn of a GGO's parts, in their order."""
    return session.execute(
        select(Ggo.address, Ggo.amount, User.subject, Ggo.retire_gsrn)
        .join(User, User.id == Ggo.owner_id)
        .where(Ggo.parent_id == source_id)
        .order_by(Ggo.split_position)
    ).all()


def events_of(session: Session, batch_id: int) -> Sequence[Any]:
    """Return at, event and detail of a batch's events, oldest first."""
    return session.execute(
        select(BatchEvent.at, BatchEvent.event, BatchEvent.detail)
        .where(BatchEvent.batch_id == batch_id)
        .order_by(BatchEvent.id)
    ).all()
