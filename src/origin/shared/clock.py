"""The current time by PostgreSQL's clock, so that all processes and the database agree."""

import time
from datetime import UTC, datetime, timedelta

_server_time: tuple[datetime, float] | None = None
"""PostgreSQL's time, and the value of `time.monotonic` at the same moment."""


def utcnow() -> datetime:
    """Return the current time, aware and in UTC.

    Before the first `set_server_time` it is the machine's time. Afterwards it is PostgreSQL's time
    plus the monotonic time since then.
    """
    if _server_time is None:
        return datetime.now(UTC)
    server_time, monotonic = _server_time
    return server_time + timedelta(seconds=time.monotonic() - monotonic)


def set_server_time(server_time: datetime, monotonic: float) -> None:
    """Set the clock.

    :param server_time: PostgreSQL's time, aware.
    :param monotonic: The value of `time.monotonic` at that moment.
    """
    global _server_time  # noqa: PLW0603 - one clock for the process
    _server_time = (server_time.astimezone(UTC), monotonic)
