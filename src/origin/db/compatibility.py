"""Which code may use the database's schema."""

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from origin.db.models import SchemaCompatibility


def oldest_usable_revision(session: Session) -> str | None:
    """Return the oldest revision whose code works with the schema; None if the database doesn't say."""
    if not inspect(session.connection()).has_table(SchemaCompatibility.__tablename__):
        return None
    return session.scalar(select(SchemaCompatibility.usable_from))
