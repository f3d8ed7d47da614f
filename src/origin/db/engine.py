"""Connections and transactions: the one way to talk to PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

_OPTIONS = "-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s"

POOL_TIMEOUT_S = 10
"""How long a request waits for a free connection before it fails as 503."""


class Database:
    """A pool of connections, opened when first used.

    Never call a peer while a session is open: connections are few. (The one exception, guarded
    and explained there, is the refresh of a user's tokens.)
    """

    def __init__(self, url: URL, pool_size: int) -> None:
        self.engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            pool_use_lifo=True,
            # Parameters hold sealed keys and tokens; errors are logged.
            hide_parameters=True,
            connect_args={
                # After the operators' own, if their URI has any.
                "options": f"{url.query.get('options', '')} {_OPTIONS}".strip(),
                "connect_timeout": 5,
                # A host that is gone is noticed within half a minute.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
                "application_name": "account-service",
            },
        )
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back by any exception."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading without a transaction, which saves two round trips.

        Each statement sees the database as of its own start.
        """
        with Session(self._autocommit) as session:
            yield session

    def dispose(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()
