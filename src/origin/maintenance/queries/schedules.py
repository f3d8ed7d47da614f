"""When periodic work last ran, and whether a run is under way, by PostgreSQL's clock alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db import models
from origin.maintenance.rules.schedules import Schedule, is_due


@dataclass(frozen=True)
class _Times:
    last_run_at: datetime
    claimed_at: datetime | None
    now: datetime


def claim_due(session: Session, schedules: Mapping[str, Schedule]) -> list[str]:
    """Claim due work; return its names. No other process gets it until its run ends or takes too long.

    Work that the table does not have yet is added as if it had run just now.
    """
    known = _times(session, schedules, lock=False)
    missing = sorted(schedules.keys() - known.keys())
    if missing:
        new = insert(models.Schedule).values([{"name": name} for name in missing])
        session.execute(new.on_conflict_do_nothing())
    if not _due(known, schedules):
        return []
    # If another process gets here at the same moment, it finds these rows locked or claimed.
    names = _due(_times(session, schedules, lock=True), schedules)
    if names:
        session.execute(
            update(models.Schedule)
            .where(models.Schedule.name.in_(names))
            .values(claimed_at=func.now())
        )
    return names


def _times(session: Session, schedules: Mapping[str, Schedule], *, lock: bool) -> dict[str, _Times]:
    row = models.Schedule
    query = select(row.name, row.last_run_at, row.claimed_at, func.now()).where(
        row.name.in_(list(schedules))
    )
    if lock:
        query = query.with_for_update(skip_locked=True)
    return {
        name: _Times(last_run_at, claimed_at, now)
        for name, last_run_at, claimed_at, now in session.execute(query)
    }


def _due(times: Mapping[str, _Times], schedules: Mapping[str, Schedule]) -> list[str]:
    return [
        name
        for name, each in times.items()
        if is_due(schedules[name], each.last_run_at, each.claimed_at, each.now)
    ]


def finish(session: Session, name: str) -> None:
    """Record that the claimed run has ended. The next one is due by the time at which it began."""
    session.execute(
        update(models.Schedule)
        .where(models.Schedule.name == name, models.Schedule.claimed_at.is_not(None))
        .values(last_run_at=models.Schedule.claimed_at, claimed_at=None)
    )


def release(session: Session, name: str) -> None:
    """Give back work that was claimed but not started."""
    session.execute(
        update(models.Schedule).where(models.Schedule.name == name).values(claimed_at=None)
    )
