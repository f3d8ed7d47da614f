"""Which code may use the database's schema."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

import origin
from origin.db.models import SchemaCompatibility

_MIGRATIONS = Path(origin.__file__).resolve().parent.parent / "migrations/versions"


def known_revisions() -> Sequence[str]:
    """Return the revisions of all migrations, ascending, from their files' names.

    The names are `<date>_<revision>_<title>.py`. Alembic could tell, but takes a third of a second to
    load.
    """
    return sorted(path.name.split("_")[1] for path in _MIGRATIONS.glob("*_*_*.py"))


def oldest_usable_revision(session: Session) -> str | None:
    """Return the oldest revision whose code works with the schema; None if the database doesn't say."""
    if not inspect(session.connection()).has_table(SchemaCompatibility.__tablename__):
        return None
    return session.scalar(select(SchemaCompatibility.usable_from))
