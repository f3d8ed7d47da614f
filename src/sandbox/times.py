"""Times as the sandbox reads and writes them: aware, in UTC, ISO 8601."""

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
"""A pydantic field: any ISO 8601 time in, an aware time in UTC inside, ISO 8601 out."""
