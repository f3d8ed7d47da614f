"""Operators list what an adoption has rejected (`flask adoption rejections`)."""

from collections.abc import Sequence
from typing import Any

from origin.adoption.queries import rejected_rows
from origin.db.engine import Database


def list_rejections(
    database: Database, *, kind: str | None, after: int | None, limit: int | None
) -> Sequence[Any]:
    """Return rejected rows, as `queries.rejected_rows.list_rejections`.

    :param after: Only those after the one with this id; None: all.
    """
    with database.reading() as session:
        return rejected_rows.list_rejections(session, kind=kind, beyond=after or 0, limit=limit)
