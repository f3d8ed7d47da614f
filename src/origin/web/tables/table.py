"""What a table consists of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

Cell = str | int | Decimal | datetime | UUID | None
"""A value: a text, a number, an aware time, an id, or None for an empty cell."""


@dataclass(frozen=True)
class Table:
    """A table, whose rows are read once and in order.

    :ivar name: The sheet's name in XLSX: at most 25 characters, none of them of `[]:*?/` or a backslash.
    :ivar columns: The header. Its texts are ours, never a user's.
    :ivar rows: Each has a value for each column. A generator is closed once it isn't read any more.
    """

    name: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]

    def close(self) -> None:
        """End the reading of the rows, also in their midst."""
        if close := getattr(self.rows, "close", None):
            close()


def time_text(time: datetime) -> str:
    """Return a time in ISO 8601 with its offset, as JSON has it.

    :raises ValueError: The time has no offset.
    """
    if time.tzinfo is None:
        raise ValueError("A time of a table needs an offset")
    return time.isoformat()
