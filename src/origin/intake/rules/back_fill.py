"""The stretches of time in which a metering point's GGOs are asked for.

DataHub takes 22 seconds to answer for a year, so a stretch is a month or less where GGOs are expected.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from origin.intake.rules.events import PAST_LAST_BEGIN

FIRST_MONTH = datetime(2020, 1, 1, tzinfo=UTC)
"""Little was issued before this month. If the busy months are unknown, that time is one stretch."""
QUICK_S = 10.0
"""If DataHub answers within this time, the next stretch may be longer."""
_HOUR = timedelta(hours=1)
_MOST_HOURS = 1_000_000
"""More hours than there are between FIRST_BEGIN and PAST_LAST_BEGIN."""


def end_of_stretch(
    begin: datetime, now: datetime, *, months: Collection[str] | None, hours: int | None
) -> datetime:
    """Return where the stretch that begins at `begin` ends.

    In a month with measurements it ends with the month, otherwise where the next such month begins.

    :param now: The current time. If `months` is None, its stretch extends to PAST_LAST_BEGIN.
    :param months: The months with measurements, in UTC (`2020-01`). None: unknown; then every
        month from FIRST_MONTH on is a stretch.
    :param hours: The longest that the stretch may be; None: no limit.
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
    """Return the months that these labels of a summary name.

    :raises ValueError: A label is not a month.
    """
    months = frozenset(labels)
    for month in months:
        _begin_of(month)
    return months


def hours_after_failure(begin: datetime, end: datetime) -> int:
    """Return the most hours to ask for after this stretch has failed: half of its own, at least 1."""
    return max((end - begin) // _HOUR // 2, 1)


def hours_after_success(hours: int | None, took_s: float) -> int | None:
    """Return the most hours to ask for after a stretch of at most `hours` took `took_s` seconds."""
    if hours is None or took_s > QUICK_S:
        return hours
    return min(2 * hours, _MOST_HOURS)


def _begin_of(month: str) -> datetime:
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


def _next_month(time: datetime) -> datetime:
    year, month = divmod(time.year * 12 + time.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
