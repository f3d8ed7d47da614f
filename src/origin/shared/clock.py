"""The present time: PostgreSQL's, as far as it is known, as its clock decides for all processes."""

import time
from datetime import UTC, datetime, timedelta

_told: tuple[datetime, float] | None = None
"""PostgreSQL's time, and the reading of our own monotonic clock at that moment."""


def utcnow() -> datetime:
    """The present moment, aware and in UTC.

    The machine's own, in a process that hasn't asked PostgreSQL yet; otherwise PostgreSQL's, carried
    on by a clock that nobody sets.
    """
    if _told is None:
        return datetime.now(UTC)
    time_then, reading = _told
    return time_then + timedelta(seconds=time.monotonic() - reading)


def set_server_time(time_then: datetime, reading: float) -> None:
    """Go by this time from now on, which it was at this reading of `time.monotonic`."""
    global _told  # noqa: PLW0603 - one clock for the process
    _told = (time_then.astimezone(UTC), reading)
