"""SQL that reads what batches do on the ledger: those under way, and those that were declined."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from origin.batches.rules.standing import Spending, Target
from origin.db.models import Batch, Ggo


def sources_under_way(session: Session, ids: Collection[int]) -> set[int]:
    """Return those of these GGOs that a batch under way spends."""
    found = select(Batch.ggo_id).where(Batch.ended_at.is_(None), Batch.ggo_id.in_(ids))
    return set(session.scalars(found))


def spendings_of(session: Session, source_ids: Sequence[int]) -> dict[int, Spending]:
    """Return what the database has of the spending of these GGOs, by their ids."""
    targets: dict[int, list[Target]] = defaultdict(list)
    for row in session.execute(
        select(Ggo.parent_id, Ggo.address, Ggo.amount, Ggo.retire_address)
        .where(Ggo.parent_id.in_(source_ids))
        .order_by(Ggo.split_position)
    ):
        targets[row.parent_id].append(Target(row.address, row.amount, row.retire_address))
    sources = session.execute(
        select(Ggo.id, Ggo.address, Ggo.amount, Ggo.retire_address).where(Ggo.id.in_(source_ids))
    )
    return {
        row.id: Spending(row.address, row.amount, row.retire_address, targets[row.id])
        for row in sources
    }


def declined_spendings(session: Session, source_id: int) -> dict[int, Spending]:
    """Return what the declined batches of this GGO were to do, by batch id, the latest first."""
    rows = session.execute(
        select(Batch.id, Batch.undone, Ggo.address, Ggo.amount)
        .join(Ggo, Ggo.id == Batch.ggo_id)
        .where(Batch.ggo_id == source_id, Batch.state == "DECLINED", Batch.undone.is_not(None))
        .order_by(Batch.id.desc())
    )
    return {
        row.id: Spending(
            row.address,
            row.amount,
            row.undone["retire_address"],
            [
                Target(part["address"], part["amount"], part["retire_address"])
                for part in row.undone["parts"]
            ],
        )
        for row in rows
    }
