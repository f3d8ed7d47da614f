"""Running processes: which secrets they know, how far their clocks are ahead, and whether they work.

Each tells its secrets and its clock every minute (`origin.keys.announcing`). Worker and Beat also tell
when they have worked (`origin.tasks.heartbeats`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, extract, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db import models

LIVE = timedelta(minutes=3)
"""A process that has been silent for longer doesn't count as running."""


@dataclass(frozen=True)
class ProcessSecrets:
    """A running process, and the prefixes of what its secrets have sealed. It seals with the first."""

    process: str
    prefixes: Sequence[str]
    seen_at: datetime


def is_read_only(session: Session) -> bool:
    """Return whether the server takes no writes, such as a standby."""
    return session.scalar(select(func.current_setting("transaction_read_only"))) == "on"


def announce(session: Session, process: str, prefixes: Sequence[str], kind: str) -> None:
    """Write that a process runs, which secrets it knows, and how far its machine's clock is ahead.

    :param kind: `web`, `worker` or `beat`.
    """
    skew_s = time.time() - extract("epoch", func.clock_timestamp())
    new = insert(models.ProcessSecrets).values(
        process=process, prefixes=list(prefixes), kind=kind, clock_skew_seconds=skew_s
    )
    columns = ("prefixes", "kind", "clock_skew_seconds")
    session.execute(
        new.on_conflict_do_update(
            index_elements=["process"],
            set_={name: new.excluded[name] for name in columns} | {"seen_at": func.now()},
        )
    )


def prove_work(session: Session, process: str, valid_for: timedelta) -> None:
    """Write that a worker or Beat has worked just now. Without its announcement nothing is written.

    :param valid_for: For how long it counts as working.
    """
    session.execute(
        update(models.ProcessSecrets)
        .where(models.ProcessSecrets.process == process)
        .values(works_until=func.now() + valid_for)
    )


def count_working(session: Session) -> Mapping[str, int]:
    """Return how many processes of each kind work: `web`, `worker` and `beat`.

    A web counts if it runs; workers and Beat count if they have worked lately.
    """
    table = models.ProcessSecrets
    works = or_(
        table.works_until > func.now(),
        (table.kind == "web") & (table.seen_at > func.now() - LIVE),
    )
    rows = session.execute(select(table.kind, func.count()).where(works).group_by(table.kind))
    counts = {kind: count for kind, count in rows if kind is not None}
    return {kind: counts.get(kind, 0) for kind in ("web", "worker", "beat")}


def largest_skews(session: Session) -> Mapping[str, float]:
    """Return the largest clock skew of the running processes of each kind, in seconds, without sign."""
    table = models.ProcessSecrets
    rows = session.execute(
        select(table.kind, func.max(func.abs(table.clock_skew_seconds)))
        .where(table.seen_at > func.now() - LIVE, table.clock_skew_seconds.is_not(None))
        .group_by(table.kind)
    )
    return {kind: skew_s for kind, skew_s in rows if kind is not None}


def withdraw(session: Session, process: str) -> None:
    """Write that a process has ended."""
    session.execute(delete(models.ProcessSecrets).where(models.ProcessSecrets.process == process))


def running(session: Session) -> list[ProcessSecrets]:
    """Return the running processes, sorted by name."""
    table = models.ProcessSecrets
    rows = session.scalars(
        select(table).where(table.seen_at > func.now() - LIVE).order_by(table.process)
    )
    return [ProcessSecrets(row.process, row.prefixes, row.seen_at) for row in rows]
