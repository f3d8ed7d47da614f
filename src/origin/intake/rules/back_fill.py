"""In which stretches a metering point's GGOs are asked for: DataHub answers a year in 22 seconds."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from origin.intake.rules.events import PAST_LAST_BEGIN

FIRST_MONTH = datetime(2020, 1, 1, tzinfo=UTC)
"""What was issued before is little, and asked for at once where the months are unknown."""
QUICK_S = 10.0
"""An answer within this time lets the next stretch be longer."""
_HOUR = timedelta(hours=1)
_MOST_HOURS = 1_000_000
"""More than there can be."""


def end_of_stretch(
    begin: datetime, now: datetime, *, months: Collection[str] | None, hours: int | None
) -> datetime:
    """Where the stretch that begins here ends: a month, or all up to the next month that has any.

    :param months: Those in UTC (`2020-01`) in which something was measured. None: they are unknown;
        then the stretch of the present month goes on to the end of all times.
    :param hours: The longest that the stretch may be.
    """
    if months is None:
        end = FIRST_MONTH if begin < FIRST_MONTH else _next_month(begin)
        end = end if end < now else PAST_LAST_BEGIN
    elif f"{begin:%Y-%m}" in months:
        end = _next_month(begin)
    else:
        later = (each for each in map(_begin_of, months) if each > begin)
        end = min(later, default=PAST_LAST_BEGIN)
    if hours is not None:
        end = min(end, begin + hours * _HOUR)
    return min(end, PAST_LAST_BEGIN)


def months_of(labels: Iterable[str]) -> frozenset[str]:
    """The months of a summary's labels.

    :raises ValueError: one is no month.
    """
    months = frozenset(labels)
    for month in months:
        _begin_of(month)
    return months


def shorter(begin: datetime, end: datetime) -> int:
    """The hours of the next attempt, after this stretch has failed."""
    return max((end - begin) // _HOUR // 2, 1)


def longer(hours: int | None, took_s: float) -> int | None:
    """The hours that the next stretch may have, after one has come in this time."""
    if hours is None or took_s > QUICK_S:
        return hours
    return min(2 * hours, _MOST_HOURS)


def _begin_of(month: str) -> datetime:
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


def _next_month(time: datetime) -> datetime:
    year, month = divmod(time.year * 12 + time.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
