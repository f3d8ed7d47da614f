"""When periodic work is due. All times are PostgreSQL's."""

from dataclasses import dataclass
from datetime import datetime, timedelta

_AGAIN = timedelta(minutes=10)
"""A run that came to no end in that time is given up, and begun anew."""


@dataclass(frozen=True)
class Every:
    """Due when that time has passed since the last run began."""

    period: timedelta

    def is_due(self, last_run_at: datetime, now: datetime) -> bool:
        """Whether a run is due."""
        return now - last_run_at >= self.period

    @property
    def again(self) -> timedelta:
        """How long a run that doesn't end keeps off the next."""
        return max(self.period, _AGAIN)


@dataclass(frozen=True)
class At:
    """Due when such a minute of an hour has come since the last run began; of one hour, or of each."""

    minutes: tuple[int, ...]
    hour: int | None = None
    again = _AGAIN

    def is_due(self, last_run_at: datetime, now: datetime) -> bool:
        """Whether a run is due; any number of missed ones are one."""
        return last_run_at < self.latest(now)

    def latest(self, now: datetime) -> datetime:
        """The latest of its minutes that has begun."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        begun = [hour.replace(minute=minute) for minute in self.minutes if minute <= now.minute]
        if begun and self.hour in {None, hour.hour}:
            return max(begun)
        before = hour - timedelta(hours=1)
        while self.hour not in {None, before.hour}:
            before -= timedelta(hours=1)
        return before.replace(minute=max(self.minutes))


Rule = Every | At


def is_due(rule: Rule, last_run_at: datetime, claimed_at: datetime | None, now: datetime) -> bool:
    """Whether to begin a run: one is due, and none is under way.

    A time in the future is of a clock that was set back since, and tells nothing.
    """
    if claimed_at is not None and claimed_at <= now < claimed_at + rule.again:
        return False
    return last_run_at > now or rule.is_due(last_run_at, now)
