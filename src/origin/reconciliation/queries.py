"""SQL of reconciliation: its runs (table `ledger_walks`), and the GGOs that they compare."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.batches.queries.spendings import sources_under_way
from origin.db.models import Ggo, ReconciliationRun
from origin.ggos.queries.by_id import addresses_of, amounts_of_parts


@dataclass(frozen=True)
class RunLease:
    """The right to continue a run, until `until`; that time is the holder's token.

    :ivar cursor: The id of the last GGO that was compared.
    """

    run_id: int
    cursor: int
    until: datetime


def claim_run(session: Session, *, lease_s: float, anew: bool = False) -> RunLease | None:
    """Claim the run under way, or begin one.

    :param anew: End the run under way, and begin one at the first GGO.
    :returns: None if another process holds the run.
    """
    is_free = and_(
        ReconciliationRun.finished_at.is_(None),
        or_(ReconciliationRun.lease_until.is_(None), ReconciliationRun.lease_until < func.now()),
    )
    if anew:
        session.execute(
            update(ReconciliationRun)
            .where(is_free)
            .values(finished_at=func.now(), last_error="begun anew", lease_until=None)
        )
    # At most one run is unfinished (a unique index).
    session.execute(
        insert(ReconciliationRun).values(started_at=func.now()).on_conflict_do_nothing()
    )
    claimed = session.execute(
        update(ReconciliationRun)
        .where(is_free)
        .values(lease_until=func.now() + timedelta(seconds=lease_s))
        .returning(ReconciliationRun.id, ReconciliationRun.cursor, ReconciliationRun.lease_until)
    ).one_or_none()
    return RunLease(claimed.id, claimed.cursor, claimed.lease_until) if claimed else None


def save_progress(
    session: Session,
    lease: RunLease,
    *,
    cursor: int,
    compared: int,
    lease_s: float,
    error: str | None = None,
    finished: bool = False,
) -> RunLease | None:
    """Store how far the run is, and renew the lease.

    :param compared: How many GGOs were compared since.
    :param lease_s: 0: give the run back.
    :returns: the lease to continue with; None: another process has taken the run over, and nothing
        was written.
    """
    values: dict[str, Any] = {
        "cursor": cursor,
        "ggos": ReconciliationRun.ggos + compared,
        "lease_until": func.now() + timedelta(seconds=lease_s) if lease_s else None,
        "last_error": error,
    }
    if finished:
        values["finished_at"] = func.now()
    saved = session.execute(
        update(ReconciliationRun)
        .where(ReconciliationRun.id == lease.run_id, ReconciliationRun.lease_until == lease.until)
        .values(**values)
        .returning(ReconciliationRun.lease_until)
    ).one_or_none()
    return RunLease(lease.run_id, cursor, saved.lease_until) if saved else None


def last_runs(session: Session, limit: int = 5) -> list[ReconciliationRun]:
    """Return the latest runs, the newest first."""
    return list(
        session.scalars(
            select(ReconciliationRun).order_by(ReconciliationRun.id.desc()).limit(limit)
        )
    )


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
class GgoPage:
    """Some GGOs, and the rows around them that a comparison needs.

    :ivar ggos: Rows of `_COLUMNS`, by id.
    :ivar in_flight: The ids of those that are the source or a part of a batch under way.
    :ivar parts: Wh by address, by the id of the GGO that was split.
    :ivar parents: Addresses by id.
    :ivar retired: Wh by GGO address, by measurement address.
    """

    ggos: Sequence[Row[Any]]
    in_flight: Collection[int]
    parts: dict[int, dict[str, int]]
    parents: dict[int, str]
    retired: dict[str, dict[str, int]]


def read_page(session: Session, ids: Sequence[int]) -> GgoPage:
    """Read these GGOs; those that are gone are left out.

    :param session: Of a new transaction, which is set to read all as of one moment.
    """
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    ggos = list(session.execute(select(*_COLUMNS).where(Ggo.id.in_(ids)).order_by(Ggo.id)))
    parents = addresses_of(session, [ggo.parent_id for ggo in ggos if ggo.parent_id])
    live = sources_under_way(session, [*ids, *parents])
    in_flight = {ggo.id for ggo in ggos if ggo.id in live or ggo.parent_id in live}
    measurements = {ggo.retire_address for ggo in ggos if ggo.retired}
    parts = amounts_of_parts(session, ids)
    return GgoPage(ggos, in_flight, parts, parents, _retired(session, measurements))


def _retired(session: Session, measurements: Collection[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in session.execute(
        select(Ggo.retire_address, Ggo.address, Ggo.amount).where(
            Ggo.retired, Ggo.retire_address.in_(measurements)
        )
    ):
        found[str(row.retire_address)][row.address] = row.amount
    return found
