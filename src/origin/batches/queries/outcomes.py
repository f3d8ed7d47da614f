"""SQL that ends batches: completed, declined and rolled back, or done again.

Each function runs in the caller's transaction, and ends a batch once. It takes the time of what it
writes after its locks, so that the entries of a GGO have their times in the order of their transactions.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from origin.db.models import Batch, Ggo, Rollback, Transaction
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
"""The columns that a part has of its own."""

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
"""The columns that a part inherits from its source."""


def _lock_live(session: Session, batch_ids: Sequence[int]) -> dict[int, int]:
    """Lock those of these batches that have not ended, in id order; return their sources by batch."""
    rows = session.execute(
        select(Batch.id, Batch.ggo_id)
        .where(Batch.id.in_(batch_ids), Batch.ended_at.is_(None))
        .order_by(Batch.id)
        .with_for_update()
    )
    return {row.id: row.ggo_id for row in rows}


def _lock_ggos(session: Session, source_ids: Sequence[int]) -> None:
    """Lock sources and their parts in id order. Others lock several GGOs in the same order."""
    session.execute(
        select(Ggo.id)
        .where(or_(Ggo.id.in_(source_ids), Ggo.parent_id.in_(source_ids)))
        .order_by(Ggo.id)
        .with_for_update()
    ).all()


def _entry_time(session: Session) -> datetime:
    """Return the time for entries that this transaction makes. Call it under the locks."""
    at: datetime = session.execute(select(func.entry_time())).scalar_one()
    return at


def complete_batches(session: Session, batch_ids: Sequence[int]) -> list[int]:
    """Complete batches that the ledger has committed.

    Unlocks sources and parts, and announces the parts to their owners by webhook.

    :param session: Of `Outbox.transaction`.
    :returns: the batches that this call ended; others had ended before.
    """
    live = _lock_live(session, batch_ids)
    if not live:
        return []
    sources = list(live.values())
    _lock_ggos(session, sources)
    at = _entry_time(session)
    session.execute(
        update(Ggo)
        .where(or_(Ggo.id.in_(sources), Ggo.parent_id.in_(sources)))
        .values(
            locked=False,
            settled_at=case((Ggo.parent_id.in_(sources), at), else_=Ggo.settled_at),
            retired_at=case((Ggo.retired, at)),
        )
    )
    session.execute(
        update(Batch)
        .where(Batch.id.in_(live))
        .values(
            state="COMPLETED",
            submitted_at=func.coalesce(Batch.submitted_at, at),
            ended_at=at,
            next_attempt_at=None,
        )
    )
    announce_settled(session, live)
    return sorted(live)


def decline_batch(
    session: Session, batch_id: int, reason: str, *, spent_elsewhere: bool = False
) -> bool:
    """Decline a batch and roll its effects back. This is the one place that does so.

    Deletes the parts, and restores the source to its state before the compose. The batch stays, with
    the reason, its signed bytes, and what was rolled back.

    :param reason: The ledger's; if empty, the ledger's latest words on the batch stay.
    :param spent_elsewhere: Another operation has spent the source on the ledger: the source is
        blocked until an operator repairs it.
    :returns: whether this call ended the batch.
    """
    live = _lock_live(session, [batch_id])
    if not live:
        return False
    source_id = live[batch_id]
    _lock_ggos(session, [source_id])
    effects = _read_effects(session, source_id)
    at = _entry_time(session)
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
            spent_at=None,
        )
    )
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(
            state="DECLINED",
            submitted_at=func.coalesce(Batch.submitted_at, at),
            ended_at=at,
            next_attempt_at=None,
            last_error=func.coalesce(reason or None, Batch.last_error, "no reason given"),
            undone={**effects, "parts": [_own_columns(part) for part in effects["parts"]]},
        )
    )
    _keep_rollback(session, batch_id, effects, blocked=spent_elsewhere)
    return True


def _own_columns(part: dict[str, Any]) -> dict[str, Any]:
    """Return what doing a batch again inserts.

    Version 1.0.0 inserts each part as it stands in `batches.undone`, so an id there would make it fail.
    """
    return {name: part[name] for name in PART_COLUMNS}


def _keep_rollback(
    session: Session, batch_id: int, effects: dict[str, Any], *, blocked: bool
) -> None:
    """Keep what a rollback moved back, for balances and entries of the past.

    :param effects: From `_read_effects`. The parts' ids are in the places of entries, which never change.
    """
    kept = select(
        Batch.id,
        Batch.user_id,
        Batch.ggo_id,
        # A batch that was done again was accepted anew then.
        func.coalesce(
            select(func.max(Rollback.redone_at))
            .where(Rollback.batch_id == Batch.id)
            .scalar_subquery(),
            Batch.created_at,
        ),
        Batch.ended_at,
        literal(effects, JSONB),
        literal(blocked),
    ).where(Batch.id == batch_id)
    columns = ["batch_id", "user_id", "ggo_id", "accepted_at", "declined_at", "undone", "blocked"]
    session.execute(insert(Rollback).from_select(columns, kept))


def _read_effects(session: Session, source_id: int) -> dict[str, Any]:
    """Return what a rollback removes, with the parts' ids: enough to do the batch again, if need be."""
    source = session.execute(
        select(Ggo.retire_gsrn, Ggo.retire_address).where(Ggo.id == source_id)
    ).one()
    columns = [getattr(Ggo, name) for name in ("id", *PART_COLUMNS)]
    parts = session.execute(
        select(*columns).where(Ggo.parent_id == source_id).order_by(Ggo.split_position)
    )
    return {
        "retire_gsrn": source.retire_gsrn,
        "retire_address": source.retire_address,
        "parts": [dict(part._mapping) for part in parts],  # noqa: SLF001 - SQLAlchemy's public API
    }


def make_due(session: Session, batch_id: int) -> bool:
    """Make a batch due at once, if it has not ended. A worker that holds it loses it.

    :returns: whether it has not ended.
    """
    return bool(
        session.scalar(
            update(Batch)
            .where(Batch.id == batch_id, Batch.ended_at.is_(None))
            .values(next_attempt_at=func.now(), attempts=0)
            .returning(Batch.id)
        )
    )


def redo_batch(session: Session, batch_id: int) -> bool:
    """Reverse a rollback: the batch is under way again, as its compose left it.

    :returns: False if the source is not as a rollback leaves it; then nothing was done.
    """
    batch = session.execute(
        select(Batch.ggo_id, Batch.undone)
        .where(Batch.id == batch_id, Batch.state == "DECLINED", Batch.undone.is_not(None))
        .with_for_update()
    ).one_or_none()
    if batch is None:
        return False
    undone: dict[str, Any] = batch.undone
    _lock_ggos(session, [batch.ggo_id])
    at = _entry_time(session)
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
            spent_at=at,
        )
        .returning(Ggo.id)
    )
    if taken is None:
        return False
    _note_redone(session, batch_id, batch.ggo_id, at)
    retired = _insert_parts(session, batch.ggo_id, undone["parts"], at)
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


def _note_redone(session: Session, batch_id: int, source_id: int, at: datetime) -> None:
    """Note in the rollbacks that this batch is done again, and that its source is not blocked any more."""
    last = select(func.max(Rollback.id)).where(Rollback.batch_id == batch_id).scalar_subquery()
    session.execute(update(Rollback).where(Rollback.id == last).values(redone_at=at))
    session.execute(
        update(Rollback)
        .where(Rollback.ggo_id == source_id, Rollback.blocked, Rollback.unblocked_at.is_(None))
        .values(unblocked_at=at)
    )


def _insert_parts(
    session: Session, source_id: int, parts: Sequence[dict[str, Any]], at: datetime
) -> list[int]:
    """Insert a source's parts again, locked; return the ids of those that are retired, in order."""
    if not parts:
        return []
    source = session.execute(
        select(*[getattr(Ggo, name) for name in INHERITED_COLUMNS]).where(Ggo.id == source_id)
    ).one()
    inherited = dict(source._mapping)  # noqa: SLF001 - SQLAlchemy's public API
    made = {"parent_id": source_id, "locked": True, "created_at": at}
    rows = [
        {
            **inherited,
            **part,
            **made,
            "spent_at": at if part["retired"] else None,
        }
        for part in parts
    ]
    statement = insert(Ggo).returning(Ggo.id, sort_by_parameter_order=True)
    ids = session.scalars(statement, rows).all()
    return [each for each, part in zip(ids, parts, strict=True) if part["retired"]]
