"""What operators want to know of batches: how they stand as a whole, and one's whole history."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select

from origin.db.engine import Database
from origin.db.models import Batch, BatchEvent, Ggo, Transaction, User
from origin.errors import OriginError


@dataclass(eq=False)
class UnknownBatch(OriginError):
    """There is no batch of that id."""

    batch_id: str


def standing(database: Database) -> Sequence[Any]:
    """The batches under way by state: state, count, due, attempts (most), oldest (created_at)."""
    query = (
        select(
            Batch.state,
            func.count().label("count"),
            func.count().filter(Batch.next_attempt_at <= func.now()).label("due"),
            func.max(Batch.attempts).label("attempts"),
            func.min(Batch.created_at).label("oldest"),
        )
        .where(Batch.next_attempt_at.is_not(None))
        .group_by(Batch.state)
        .order_by(Batch.state)
    )
    with database.reading() as session:
        return session.execute(query).all()


@dataclass(frozen=True)
class History:
    """A batch, the GGOs that it is about, and what happened to it, oldest first."""

    batch: Row[Any]
    operations: Sequence[Any]
    parts: Sequence[Any]
    events: Sequence[Any]


def history(database: Database, batch_id: str) -> History:
    """All that is known of a batch.

    :param batch_id: Ours, or the ledger's.
    :raises UnknownBatch: There is none.
    """
    is_ours = batch_id.isdecimal() and len(batch_id) < 19
    wanted = Batch.id == int(batch_id) if is_ours else Batch.ledger_batch_id == batch_id
    columns: tuple[Any, ...] = (
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
        Batch.undone,
        Batch.ggo_id,
        Ggo.address,
        Ggo.amount,
        User.subject,
    )
    with database.reading() as session:
        batch = session.execute(
            select(*columns)
            .join(Ggo, Ggo.id == Batch.ggo_id)
            .join(User, User.id == Batch.user_id)
            .where(wanted)
        ).one_or_none()
        if batch is None:
            raise UnknownBatch(batch_id)
        operations = session.execute(
            select(Transaction.type, Ggo.address, Ggo.amount)
            .join(Ggo, Ggo.id == Transaction.ggo_id)
            .where(Transaction.batch_id == batch.id)
            .order_by(Transaction.position)
        ).all()
        parts = session.execute(
            select(Ggo.address, Ggo.amount, User.subject, Ggo.retire_gsrn)
            .join(User, User.id == Ggo.owner_id)
            .where(Ggo.parent_id == batch.ggo_id)
            .order_by(Ggo.split_position)
        ).all()
        events = session.execute(
            select(BatchEvent.at, BatchEvent.event, BatchEvent.detail)
            .where(BatchEvent.batch_id == batch.id)
            .order_by(BatchEvent.id)
        ).all()
    if batch.state == "DECLINED":
        # The source may have been composed since: what is split off it now is another batch's.
        parts = []
    return History(batch, operations, parts, events)
