"""The one way to ask for the time."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Now, aware, in UTC.

    Deadlines that several machines compare (the work queue's) use PostgreSQL's clock instead.
    """
    return datetime.now(UTC)
