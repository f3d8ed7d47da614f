"""Transactions that may announce something to subscribers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.shared.wakeups import Wakeups
from origin.webhooks.queries.outbox import has_written


@dataclass(frozen=True)
class Outbox:
    """Opens transactions in which webhook deliveries may be written."""

    database: Database
    wakeups: Wakeups

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction as `Database.transaction` does.

        After the commit, wake a worker if deliveries were written.
        """
        with self.database.transaction() as session:
            yield session
        if has_written(session):
            self.wakeups.deliveries_due()
