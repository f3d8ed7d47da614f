"""How a batch ends in the database: each end once, in one transaction of the caller's."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from origin.db.models import Batch, Ggo, Transaction
from origin.webhooks.queries.outbox import announce_settled

PART_COLUMNS = (
    "address",
    "amount",
    "owner_id",
    "sender_id",
    "split_position",
    "key_index",
    "reference",
    "stored",
    "retired",
    "retire_gsrn",
    "retire_address",
)
"""What a part has of its own."""

INHERITED_COLUMNS = (
    "begin",
    "end",
    "sector",
    "technology_code",
    "fuel_code",
    "emissions",
    "issue_time",
    "expire_time",
)
"""What a part has of its source."""


def _lock_live(session: Session, batch_ids: Sequence[int]) -> dict[int, int]:
    """Lock those that haven't ended, in id order: the source GGO by batch."""
    rows = session.execute(
        select(Batch.id, Batch.ggo_id)
        .where(Batch.id.in_(batch_ids), Batch.ended_at.is_(None))
        .order_by(Batch.id)
        .with_for_update()
    )
    return {row.id: row.ggo_id for row in rows}


def _lock_ggos(session: Session, source_ids: Sequence[int]) -> None:
    """Lock sources and children in id order, as everyone does who locks several."""
    session.execute(
        select(Ggo.id)
        .where(or_(Ggo.id.in_(source_ids), Ggo.parent_id.in_(source_ids)))
        .order_by(Ggo.id)
        .with_for_update()
    ).all()


def complete_batches(session: Session, batch_ids: Sequence[int]) -> list[int]:
    """Commit what the ledger has committed.

    The source is spent, or retired; its children are their owners', who are told by webhook.

    :returns: the batches that this call ended; others had ended before.
    """
    live = _lock_live(session, batch_ids)
    if not live:
        return []
    sources = list(live.values())
    _lock_ggos(session, sources)
    session.execute(
        update(Ggo).where(or_(Ggo.id.in_(sources), Ggo.parent_id.in_(sources))).values(locked=False)
    )
    session.execute(
        update(Batch)
        .where(Batch.id.in_(live))
        .values(
            state="COMPLETED",
            submitted_at=func.coalesce(Batch.submitted_at, func.now()),
            ended_at=func.now(),
            next_attempt_at=None,
        )
    )
    announce_settled(session, live)
    return sorted(live)


def decline_batch(
    session: Session, batch_id: int, reason: str, *, spent_elsewhere: bool = False
) -> bool:
    """Roll back what the ledger has refused.

    The children vanish and the source is as it was before the compose. The batch stays, with the
    ledger's reason, the bytes that were refused, and what was removed.

    :param reason: The ledger's; where empty, what it said last stays.
    :param spent_elsewhere: Another operation spent the source there: it doesn't come back, and is
        blocked until that is mended.
    :returns: whether this call ended it.
    """
    live = _lock_live(session, [batch_id])
    if not live:
        return False
    source_id = live[batch_id]
    _lock_ggos(session, [source_id])
    undone = _to_be_undone(session, source_id)
    session.execute(delete(Transaction).where(Transaction.batch_id == batch_id))
    session.execute(delete(Ggo).where(Ggo.parent_id == source_id))
    session.execute(
        update(Ggo)
        .where(Ggo.id == source_id)
        .values(
            stored=not spent_elsewhere,
            retired=False,
            locked=spent_elsewhere,
            spent_elsewhere=spent_elsewhere,
            retire_gsrn=None,
            retire_address=None,
        )
    )
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(
            state="DECLINED",
            submitted_at=func.coalesce(Batch.submitted_at, func.now()),
            ended_at=func.now(),
            next_attempt_at=None,
            last_error=func.coalesce(reason or None, Batch.last_error, "no reason given"),
            undone=undone,
        )
    )
    return True


def _to_be_undone(session: Session, source_id: int) -> dict[str, Any]:
    """What a rollback removes: enough to do it again, should the ledger have it after all."""
    source = session.execute(
        select(Ggo.retire_gsrn, Ggo.retire_address).where(Ggo.id == source_id)
    ).one()
    columns = [getattr(Ggo, name) for name in PART_COLUMNS]
    parts = session.execute(
        select(*columns).where(Ggo.parent_id == source_id).order_by(Ggo.split_position)
    )
    return {
        "retire_gsrn": source.retire_gsrn,
        "retire_address": source.retire_address,
        "parts": [dict(part._mapping) for part in parts],  # noqa: SLF001 - SQLAlchemy's public API
    }


def make_due(session: Session, batch_id: int) -> bool:
    """Have a batch taken up at once, where it hasn't ended; whoever holds it loses it."""
    return bool(
        session.scalar(
            update(Batch)
            .where(Batch.id == batch_id, Batch.ended_at.is_(None))
            .values(next_attempt_at=func.now(), attempts=0)
            .returning(Batch.id)
        )
    )


def redo_batch(session: Session, batch_id: int) -> bool:
    """Take a rollback back: the batch is under way again, as its compose had left it.

    :returns: whether its source still is as a rollback leaves it; else nothing was done.
    """
    batch = session.execute(
        select(Batch.ggo_id, Batch.undone)
        .where(Batch.id == batch_id, Batch.state == "DECLINED", Batch.undone.is_not(None))
        .with_for_update()
    ).one_or_none()
    if batch is None:
        return False
    undone: dict[str, Any] = batch.undone
    taken = session.scalar(
        update(Ggo)
        .where(Ggo.id == batch.ggo_id, or_(Ggo.spent_elsewhere, and_(Ggo.stored, ~Ggo.locked)))
        .values(
            stored=False,
            retired=undone["retire_address"] is not None,
            retire_gsrn=undone["retire_gsrn"],
            retire_address=undone["retire_address"],
            locked=True,
            spent_elsewhere=False,
        )
        .returning(Ggo.id)
    )
    if taken is None:
        return False
    retired = _insert_parts(session, batch.ggo_id, undone["parts"])
    first = "split" if undone["parts"] else "retire"
    operations = [(first, batch.ggo_id), *(("retire", each) for each in retired)]
    session.execute(
        insert(Transaction),
        [
            {"batch_id": batch_id, "position": position, "type": kind, "ggo_id": ggo_id}
            for position, (kind, ggo_id) in enumerate(operations)
        ],
    )
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(state="SUBMITTED", ended_at=None, next_attempt_at=func.now(), undone=None)
    )
    return True


def _insert_parts(session: Session, source_id: int, parts: Sequence[dict[str, Any]]) -> list[int]:
    """Insert a source's parts anew, in flight; the ids of those that are retired, in order."""
    if not parts:
        return []
    source = session.execute(
        select(*[getattr(Ggo, name) for name in INHERITED_COLUMNS]).where(Ggo.id == source_id)
    ).one()
    inherited = dict(source._mapping)  # noqa: SLF001 - SQLAlchemy's public API
    rows = [{**inherited, **part, "parent_id": source_id, "locked": True} for part in parts]
    statement = insert(Ggo).returning(Ggo.id, sort_by_parameter_order=True)
    ids = session.scalars(statement, rows).all()
    return [each for each, part in zip(ids, parts, strict=True) if part["retired"]]
