"""Rules of forecasts, and ISO 8601 durations of fixed length (contract: http-api, Forecasts)."""

import re
from dataclasses import dataclass
from datetime import timedelta

from origin.errors import Rejected

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
    """Read a duration such as PT15M, PT1H or P1D.

    :raises ValueError: whose text says what is wrong: not a duration, one of years or months, which
        have no fixed length, none above zero, or one beyond what a time span can be.
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
