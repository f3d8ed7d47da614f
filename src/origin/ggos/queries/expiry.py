"""GGO expiry in SQL: the rule of `origin.ggos.rules.expiry`, for rows of `ggos`."""

from datetime import datetime

from sqlalchemy import ColumnElement

from origin.db.models import Ggo


def expired(now: str) -> str:
    """Return the SQL condition that a GGO has expired.

    :param now: SQL of the current time.
    """
    return f"expire_time <= {now}"


def not_expired(now: str) -> str:
    """Return the SQL condition that a GGO hasn't expired.

    :param now: SQL of the current time.
    """
    return f"expire_time > {now}"


def is_not_expired(now: datetime) -> ColumnElement[bool]:
    """Return the same condition as `not_expired`, as an expression of SQLAlchemy."""
    return Ggo.expire_time > now
