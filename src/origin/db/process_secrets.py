"""Which secrets running processes know; each tells it every minute (`origin.keys.announcing`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
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


def announce(session: Session, process: str, prefixes: Sequence[str]) -> None:
    """Write that a process runs, and which secrets it knows."""
    new = insert(models.ProcessSecrets).values(process=process, prefixes=list(prefixes))
    session.execute(
        new.on_conflict_do_update(
            index_elements=["process"],
            set_={"prefixes": new.excluded.prefixes, "seen_at": func.now()},
        )
    )


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
