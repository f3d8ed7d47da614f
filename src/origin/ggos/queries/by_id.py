"""SQL of jobs that go through all GGOs, a page at a time, by id."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from origin.db.models import Ggo


def count_ggos(session: Session, beyond: int) -> int:
    """Return how many GGOs have an id above this one."""
    return session.scalar(select(func.count(Ggo.id)).where(Ggo.id > beyond)) or 0


def next_ids(session: Session, beyond: int, limit: int) -> list[int]:
    """Return the next GGOs' ids above this one, ascending."""
    query = select(Ggo.id).where(Ggo.id > beyond).order_by(Ggo.id).limit(limit)
    return list(session.scalars(query))


def addresses_of(session: Session, ids: Collection[int]) -> dict[int, str]:
    """Return the addresses of these GGOs by id."""
    rows = session.execute(select(Ggo.id, Ggo.address).where(Ggo.id.in_(ids)))
    return {row.id: row.address for row in rows}


def amounts_of_parts(session: Session, source_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Return Wh by address of the parts of these GGOs, by the id of the split GGO."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for row in session.execute(
        select(Ggo.parent_id, Ggo.address, Ggo.amount).where(Ggo.parent_id.in_(source_ids))
    ):
        found[row.parent_id][row.address] = row.amount
    return found
