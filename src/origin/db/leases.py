"""Leases on rows: the right to work on a row until a certain time by PostgreSQL's clock.

If a holder dies, the row is free again when the lease ends. Rows that are claimed by `next_attempt_at`
need only `lease_end`: they are free when they are due.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_
from sqlalchemy.orm import InstrumentedAttribute


def lease_end(seconds: float) -> ColumnElement[datetime]:
    """Return the SQL expression for the end of a lease that begins in this transaction."""
    return func.now() + timedelta(seconds=seconds)


def is_free(
    lease_until: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
) -> ColumnElement[bool]:
    """Return the SQL condition that nobody holds the lease in this column."""
    return or_(lease_until.is_(None), lease_until < func.now())
