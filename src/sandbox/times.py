"""Times in the sandbox: aware, in UTC; ISO 8601 in JSON."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer


def in_utc(value: datetime) -> datetime:
    """Return the same instant in UTC; a time without an offset is taken as UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def iso(value: datetime) -> str:
    """Return `2020-01-01T00:00:00+00:00`, whatever offset the time came with."""
    return in_utc(value).isoformat()


UtcTime = Annotated[datetime, AfterValidator(in_utc), PlainSerializer(iso, when_used="json")]
"""A pydantic field: reads any ISO 8601 time, holds an aware time in UTC, writes ISO 8601."""
