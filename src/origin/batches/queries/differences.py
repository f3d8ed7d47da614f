"""The table `ledger_differences`: what differs between the database and the ledger."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.batches.rules.differences import SPENT_ON_LEDGER_ALONE, Difference, DifferenceKind
from origin.db.models import LedgerDifference


@dataclass(frozen=True)
class GgoDifference:
    """A difference, and the GGO and batch that it is about."""

    ggo_id: int
    address: str
    difference: Difference
    batch_id: int | None = None


def store_differences(session: Session, found: Sequence[GgoDifference]) -> None:
    """Insert these differences; of those that are open already, update detail and time."""
    for each in found:
        row = {
            "kind": each.difference.kind.value,
            "address": each.address,
            "ggo_id": each.ggo_id,
            "batch_id": each.batch_id,
            "detail": each.difference.detail[:2000],
        }
        statement = insert(LedgerDifference).values(**row)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["kind", "address"],
                index_where=LedgerDifference.resolved_at.is_(None),
                set_={
                    "detail": row["detail"],
                    "batch_id": row["batch_id"],
                    "last_seen_at": func.now(),
                },
            )
        )


def resolve_differences(
    session: Session,
    beyond: int,
    up_to: int,
    *,
    kept: Collection[int],
    found: Sequence[GgoDifference],
) -> None:
    """Resolve the differences of GGOs in this range of ids that were not found again.

    :param beyond: Exclusive.
    :param up_to: Inclusive.
    :param kept: GGOs that could not be compared: their differences stay open.
    """
    still_open = {(each.ggo_id, each.difference.kind.value) for each in found}
    rows = session.execute(
        select(LedgerDifference.id, LedgerDifference.ggo_id, LedgerDifference.kind).where(
            LedgerDifference.resolved_at.is_(None),
            LedgerDifference.kind != DifferenceKind.STUCK_BATCH.value,
            LedgerDifference.ggo_id > beyond,
            LedgerDifference.ggo_id <= up_to,
        )
    )
    gone = [
        row.id
        for row in rows
        if row.ggo_id not in kept and (row.ggo_id, row.kind) not in still_open
    ]
    _resolve(session, gone)


def resolve_stuck_batches(session: Session, found: Sequence[GgoDifference]) -> None:
    """Resolve the differences of stuck batches that are not stuck any more.

    :param found: Those that are.
    """
    stuck = {each.batch_id for each in found}
    rows = session.execute(
        select(LedgerDifference.id, LedgerDifference.batch_id).where(
            LedgerDifference.resolved_at.is_(None),
            LedgerDifference.kind == DifferenceKind.STUCK_BATCH.value,
        )
    )
    _resolve(session, [row.id for row in rows if row.batch_id not in stuck])


def _resolve(session: Session, ids: Sequence[int]) -> None:
    if ids:
        session.execute(
            update(LedgerDifference)
            .where(LedgerDifference.id.in_(ids))
            .values(resolved_at=func.now())
        )


def resolve_spent_on_ledger(session: Session, ggo_id: int, repair: str) -> None:
    """Resolve the differences of a GGO that was spent on the ledger alone, and now is here, too.

    :param repair: What was done, for operators.
    """
    session.execute(
        update(LedgerDifference)
        .where(
            LedgerDifference.ggo_id == ggo_id,
            LedgerDifference.resolved_at.is_(None),
            LedgerDifference.kind.in_([each.value for each in SPENT_ON_LEDGER_ALONE]),
        )
        .values(repair=repair, resolved_at=func.now())
    )


def open_differences(session: Session, *, never_sent: int | None = None) -> list[LedgerDifference]:
    """Return the differences that are not resolved, oldest first.

    :param never_sent: Return at most so many of the kind `never_sent`, and those last; None: all.
        Where the ledger was once switched off, there may be a million, and they never go away.
    """
    query = select(LedgerDifference).where(LedgerDifference.resolved_at.is_(None))
    query = query.order_by(LedgerDifference.id)
    if never_sent is None:
        return list(session.scalars(query))
    is_never_sent = LedgerDifference.kind == DifferenceKind.NEVER_SENT.value
    some = session.scalars(query.where(is_never_sent).limit(never_sent)).all()
    return [*session.scalars(query.where(~is_never_sent)), *some]


def list_differences(
    session: Session, *, kind: str | None, beyond: int, limit: int | None
) -> list[LedgerDifference]:
    """Return the differences that are not resolved, oldest first.

    :param kind: Only those of this kind; None: all.
    :param beyond: Only those with a higher id.
    :param limit: At most so many; None: all.
    """
    query = select(LedgerDifference).where(
        LedgerDifference.resolved_at.is_(None), LedgerDifference.id > beyond
    )
    if kind is not None:
        query = query.where(LedgerDifference.kind == kind)
    return list(session.scalars(query.order_by(LedgerDifference.id).limit(limit)))


def count_never_sent(session: Session) -> int:
    """Return how many differences of the kind `never_sent` are open."""
    query = select(func.count()).where(
        LedgerDifference.resolved_at.is_(None),
        LedgerDifference.kind == DifferenceKind.NEVER_SENT.value,
    )
    return session.scalar(query) or 0


def note_repair(session: Session, difference_id: int, repair: str) -> None:
    """Write down what was done about a difference; the next comparison tells whether it helped."""
    session.execute(
        update(LedgerDifference).where(LedgerDifference.id == difference_id).values(repair=repair)
    )
