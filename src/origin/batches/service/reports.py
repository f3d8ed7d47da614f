"""Reports about batches, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from origin.batches.queries import reports as queries
from origin.batches.queries.reports import BatchFilter
from origin.db.engine import Database
from origin.errors import OriginError


@dataclass(eq=False)
class UnknownBatch(OriginError):
    """There is no batch of that id."""

    batch_id: str


@dataclass(frozen=True)
class History:
    """A batch, its operations and parts, and what happened to it, oldest first."""

    batch: Row[Any]
    operations: Sequence[Any]
    parts: Sequence[Any]
    events: Sequence[Any]


def batches_under_way(database: Database) -> Sequence[Any]:
    """Return the batches under way, as `queries.under_way_by_state`."""
    with database.reading() as session:
        return queries.under_way_by_state(session)


def list_batches(
    database: Database, wanted: BatchFilter, *, after: int | None, limit: int | None
) -> Sequence[Row[Any]]:
    """Return batches, newest first, as `queries.list_batches`.

    :param after: Only batches that are older than the one with this id; None: from the newest on.
    """
    with database.reading() as session:
        return queries.list_batches(session, wanted, below=after, limit=limit)


def history(database: Database, batch_id: str) -> History:
    """Return all that is known of a batch.

    :param batch_id: As `queries.find_batch`.
    :raises UnknownBatch: there is none.
    """
    with database.reading() as session:
        batch = queries.find_batch(session, batch_id)
        if batch is None:
            raise UnknownBatch(batch_id)
        # The source of a declined batch may have been composed again: those parts are not its own.
        parts = [] if batch.state == "DECLINED" else queries.parts_of(session, batch.ggo_id)
        operations = queries.operations_of(session, batch.id)
        return History(batch, operations, parts, queries.events_of(session, batch.id))
