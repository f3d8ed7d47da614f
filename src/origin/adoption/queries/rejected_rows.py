"""The table `adoption_rejections`, as operators read it after an adoption."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from origin.db.models import AdoptionRejection


def list_rejections(
    session: Session, *, kind: str | None, beyond: int, limit: int | None
) -> Sequence[Any]:
    """Return id, kind, source_id and reason of rejected rows, in the order of the report.

    :param kind: Only rows of this kind (`origin.adoption.rules.Kind`); None: all.
    :param beyond: Only rows with a higher id.
    :param limit: At most so many; None: all.
    """
    table = AdoptionRejection
    query = select(table.id, table.kind, table.source_id, table.reason).where(table.id > beyond)
    if kind is not None:
        query = query.where(table.kind == kind)
    return session.execute(query.order_by(table.id).limit(limit)).all()
