"""Forecasts: what a sender submits, what a recipient asks for, and ISO 8601 durations.

Contract: http-api, Forecasts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from origin.errors import Rejected

MAX_VALUES = 35_136
"""A leap year in quarters of an hour."""
MAX_KEPT = 1000
"""Forecasts of one sender to one recipient; older ones are deleted."""
MAX_LISTED_VALUES = 1_000_000
"""Values in a list without a limit: some 10 MB."""

_DURATION = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:[.,]\d{1,6})?)S)?)?",
    re.ASCII,
)
_MAX_LENGTH = 50


class ForecastTooLong(Rejected):
    """The forecast would end after the year 9999."""

    code = "forecast_too_long"


@dataclass(eq=False)
class RecipientUnknown(Rejected):
    """The subject has no active account."""

    code = "recipient_unknown"
    subject: str


def fixed_duration(text: str) -> timedelta:
    """Parse a duration such as PT15M, PT1H or P1D.

    :raises ValueError: its text tells the client what is wrong: no duration, years or months (which
        have no fixed length), zero, or longer than a `timedelta` can be.
    """
    found = _DURATION.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if found is None or text in {"P", "PT"}:
        raise ValueError("Not a valid ISO 8601 duration.")
    parts = {name: part for name, part in found.groupdict().items() if part is not None}
    if "years" in parts or "months" in parts:
        raise ValueError("Years and months have no fixed length: use weeks, days, or less.")
    try:
        duration = timedelta(
            **{name: float(part.replace(",", ".")) for name, part in parts.items()}
        )
    except OverflowError:
        raise ValueError("Too long.") from None
    if not duration:
        raise ValueError("Must be above zero.")
    return duration


@dataclass(frozen=True)
class SubmittedForecast:
    """A forecast as submitted.

    :ivar account: The recipient's subject.
    :ivar begin: In UTC.
    :ivar resolution: The ISO 8601 duration as written; `step` is its length.
    :ivar amounts: Wh, one for each step; at least one.
    """

    account: str
    reference: str
    sector: str
    begin: datetime
    resolution: str
    step: timedelta
    amounts: Sequence[int]

    @property
    def end(self) -> datetime:
        """The end of the last step.

        :raises ForecastTooLong: it is after the year 9999.
        """
        try:
            return self.begin + self.step * len(self.amounts)
        except OverflowError:
            raise ForecastTooLong from None


@dataclass(frozen=True)
class ForecastFilter:
    """Which forecasts are asked for; None: any. `at_time`, in UTC, is within begin and end."""

    id: UUID | None = None
    reference: str | None = None
    at_time: datetime | None = None
