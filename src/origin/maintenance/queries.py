"""When periodic work was last done, and who does it now: by PostgreSQL's clock alone."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.models import Schedule
from origin.maintenance.rules import Rule, is_due


def claim_due(session: Session, rules: Mapping[str, Rule]) -> list[str]:
    """Take up what is due; nobody else gets it until it is done, or has taken too long.

    What was never heard of counts from now on.
    """
    known = _rows(session, rules, lock=False)
    missing = rules.keys() - known.keys()
    if missing:
        session.execute(
            insert(Schedule).values([{"name": name} for name in sorted(missing)])
            .on_conflict_do_nothing()
        )  # fmt: skip
    if not _due(known, rules):
        return []
    # Who comes at the same moment finds these locked, or claimed.
    names = _due(_rows(session, rules, lock=True), rules)
    if names:
        session.execute(
            update(Schedule).where(Schedule.name.in_(names)).values(claimed_at=func.now())
        )
    return names


_Row = tuple[datetime, datetime | None, datetime]


def _rows(session: Session, rules: Mapping[str, Rule], *, lock: bool) -> dict[str, _Row]:
    query = select(
        Schedule.name, Schedule.last_run_at, Schedule.claimed_at, func.now().label("now")
    ).where(Schedule.name.in_(list(rules)))
    if lock:
        query = query.with_for_update(skip_locked=True)
    return {row.name: (row.last_run_at, row.claimed_at, row.now) for row in session.execute(query)}


def _due(rows: Mapping[str, _Row], rules: Mapping[str, Rule]) -> list[str]:
    return [name for name, times in rows.items() if is_due(rules[name], *times)]


def finish(session: Session, name: str) -> None:
    """Note that the run that was claimed has come to its end."""
    session.execute(
        update(Schedule)
        .where(Schedule.name == name, Schedule.claimed_at.is_not(None))
        .values(last_run_at=Schedule.claimed_at, claimed_at=None)
    )


def release(session: Session, name: str) -> None:
    """Give back what was claimed and not begun."""
    session.execute(update(Schedule).where(Schedule.name == name).values(claimed_at=None))
