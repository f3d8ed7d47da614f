"""SQL of reconciliation: its runs over the GGOs, and what they compare."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from origin.db.models import Batch, Ggo, LedgerWalk


@dataclass(frozen=True)
class Turn:
    """The right to go on with a walk, until another may: the lease is its token."""

    walk_id: int
    cursor: int
    lease: datetime


def take_turn(session: Session, *, lease_s: float, anew: bool = False) -> Turn | None:
    """Go on with the walk under way, or begin one.

    :param anew: End the one under way, and begin at the first GGO.
    :returns: None where another walks at this moment.
    """
    mine = and_(
        LedgerWalk.finished_at.is_(None),
        or_(LedgerWalk.lease_until.is_(None), LedgerWalk.lease_until < func.now()),
    )
    if anew:
        session.execute(
            update(LedgerWalk)
            .where(mine)
            .values(finished_at=func.now(), last_error="begun anew", lease_until=None)
        )
    session.execute(insert(LedgerWalk).values(started_at=func.now()).on_conflict_do_nothing())
    taken = session.execute(
        update(LedgerWalk)
        .where(mine)
        .values(lease_until=func.now() + timedelta(seconds=lease_s))
        .returning(LedgerWalk.id, LedgerWalk.cursor, LedgerWalk.lease_until)
    ).one_or_none()
    return Turn(taken.id, taken.cursor, taken.lease_until) if taken else None


def save_turn(
    session: Session,
    turn: Turn,
    *,
    cursor: int,
    compared: int,
    lease_s: float,
    error: str | None = None,
    finished: bool = False,
) -> Turn | None:
    """Write down how far the walk has come, and go on.

    :param lease_s: 0 gives the turn back.
    :returns: the turn to go on with; None where another has taken over: nothing was written.
    """
    values: dict[str, Any] = {
        "cursor": cursor,
        "ggos": LedgerWalk.ggos + compared,
        "lease_until": func.now() + timedelta(seconds=lease_s) if lease_s else None,
        "last_error": error,
    }
    if finished:
        values["finished_at"] = func.now()
    lease = session.execute(
        update(LedgerWalk)
        .where(LedgerWalk.id == turn.walk_id, LedgerWalk.lease_until == turn.lease)
        .values(**values)
        .returning(LedgerWalk.lease_until)
    ).one_or_none()
    return Turn(turn.walk_id, cursor, lease.lease_until) if lease else None


_COLUMNS: tuple[Any, ...] = (
    Ggo.id,
    Ggo.owner_id,
    Ggo.address,
    Ggo.amount,
    Ggo.begin,
    Ggo.end,
    Ggo.sector,
    Ggo.technology_code,
    Ggo.fuel_code,
    Ggo.issue_gsrn,
    Ggo.key_index,
    Ggo.key_mismatch,
    Ggo.never_sent,
    Ggo.stored,
    Ggo.retired,
    Ggo.locked,
    Ggo.spent_elsewhere,
    Ggo.parent_id,
    Ggo.retire_gsrn,
    Ggo.retire_address,
)


@dataclass(frozen=True)
class Slice:
    """Rows of `ggos`, and what around them a comparison needs.

    `in_flight`: ids of those that a batch under way concerns. `parts`: Wh by address, by parent.
    `retired`: Wh by address, by measurement. `parents`: addresses by id.
    """

    ggos: Sequence[Row[Any]]
    in_flight: Collection[int]
    parts: dict[int, dict[str, int]]
    parents: dict[int, str]
    retired: dict[str, dict[str, int]]


def next_ids(session: Session, beyond: int, limit: int) -> list[int]:
    """The next GGOs' ids above this one, ascending."""
    query = select(Ggo.id).where(Ggo.id > beyond).order_by(Ggo.id).limit(limit)
    return list(session.scalars(query))


def read_slice(session: Session, ids: Sequence[int]) -> Slice:
    """Read these GGOs; one that is gone is left out. In one transaction, all as of one moment."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    ggos = list(session.execute(select(*_COLUMNS).where(Ggo.id.in_(ids)).order_by(Ggo.id)))
    child, parent = aliased(Ggo), aliased(Ggo)
    parents = {
        row.id: row.address
        for row in session.execute(
            select(parent.id, parent.address).where(
                parent.id.in_([ggo.parent_id for ggo in ggos if ggo.parent_id])
            )
        )
    }
    live = set(
        session.scalars(
            select(Batch.ggo_id).where(Batch.ended_at.is_(None), Batch.ggo_id.in_([*ids, *parents]))
        )
    )
    parts: dict[int, dict[str, int]] = defaultdict(dict)
    for row in session.execute(
        select(child.parent_id, child.address, child.amount).where(child.parent_id.in_(ids))
    ):
        parts[row.parent_id][row.address] = row.amount
    retired: dict[str, dict[str, int]] = defaultdict(dict)
    addresses = {ggo.retire_address for ggo in ggos if ggo.retired}
    for measurement, address, amount in session.execute(
        select(Ggo.retire_address, Ggo.address, Ggo.amount).where(
            Ggo.retired, Ggo.retire_address.in_(addresses)
        )
    ):
        retired[str(measurement)][address] = amount
    in_flight = {ggo.id for ggo in ggos if ggo.id in live or ggo.parent_id in live}
    return Slice(ggos, in_flight, parts, parents, retired)


def last_walks(session: Session, limit: int = 5) -> list[LedgerWalk]:
    """The latest walks, the newest first."""
    return list(session.scalars(select(LedgerWalk).order_by(LedgerWalk.id.desc()).limit(limit)))
