"""The current time by PostgreSQL's clock, so that all processes and the database agree."""

import time
from datetime import UTC, datetime, timedelta

_told: tuple[datetime, float] | None = None
"""PostgreSQL's time and the value of `time.monotonic` at the same moment."""


def utcnow() -> datetime:
    """Return the current time, aware and in UTC.

    Until the process has asked PostgreSQL, it is the machine's time. Afterwards it is PostgreSQL's
    time plus the monotonic time since then.
    """
    if _told is None:
        return datetime.now(UTC)
    time_then, reading = _told
    return time_then + timedelta(seconds=time.monotonic() - reading)


def set_server_time(time_then: datetime, reading: float) -> None:
    """Set the clock.

    :param time_then: PostgreSQL's time, aware.
    :param reading: The value of `time.monotonic` at that moment.
    """
    global _told  # noqa: PLW0603 - one clock for the process
    _told = (time_then.astimezone(UTC), reading)
