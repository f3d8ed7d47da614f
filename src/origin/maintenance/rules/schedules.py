"""When periodic work is due (contract: operations, Schedule). All times are PostgreSQL's, in UTC."""

from dataclasses import dataclass
from datetime import datetime, timedelta

_MAX_RUN = timedelta(minutes=10)
"""A run that has not ended after this time counts as dead, and is started again."""


@dataclass(frozen=True)
class Every:
    """Due when this period has passed since the last run began."""

    period: timedelta

    def is_due(self, last_run_at: datetime, now: datetime) -> bool:
        """Tell whether a run is due."""
        return now - last_run_at >= self.period

    @property
    def claimed_for(self) -> timedelta:
        """How long a run that does not end blocks the next one."""
        return max(self.period, _MAX_RUN)


@dataclass(frozen=True)
class At:
    """Due when one of these minutes has begun since the last run.

    :ivar hour: The hour of these minutes, 0 to 23; None: every hour.
    """

    minutes: tuple[int, ...]
    hour: int | None = None
    claimed_for = _MAX_RUN

    def is_due(self, last_run_at: datetime, now: datetime) -> bool:
        """Tell whether a run is due; several missed runs are made up by one."""
        return last_run_at < self.latest(now)

    def latest(self, now: datetime) -> datetime:
        """Return the begin of the latest of these minutes, at or before `now`."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        begun = [hour.replace(minute=minute) for minute in self.minutes if minute <= now.minute]
        if begun and self.hour in {None, hour.hour}:
            return max(begun)
        before = hour - timedelta(hours=1)
        while self.hour not in {None, before.hour}:
            before -= timedelta(hours=1)
        return before.replace(minute=max(self.minutes))


Schedule = Every | At


def is_due(
    schedule: Schedule, last_run_at: datetime, claimed_at: datetime | None, now: datetime
) -> bool:
    """Tell whether to start a run: one is due, and none is under way.

    Times in the future are ignored: they stem from before a clock was set back.
    """
    if claimed_at is not None and claimed_at <= now < claimed_at + schedule.claimed_for:
        return False
    return last_run_at > now or schedule.is_due(last_run_at, now)
