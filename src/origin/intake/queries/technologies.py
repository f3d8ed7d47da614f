"""Read and replace the labels of technologies."""

from collections.abc import Mapping

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from origin.db.locks import take_advisory_lock
from origin.db.models import Technology


def has_technologies(session: Session) -> bool:
    """Tell whether any label is stored."""
    return session.scalars(select(Technology.technology_code).limit(1)).first() is not None


def replace_technologies(session: Session, labels: Mapping[tuple[str, str], str]) -> None:
    """Replace all labels. Concurrent calls wait for each other.

    :param labels: By technology code and fuel code; at least one.
    """
    take_advisory_lock(session, "technologies")
    session.execute(delete(Technology))
    session.execute(
        insert(Technology),
        [
            {"technology_code": code, "fuel_code": fuel, "technology": label}
            for (code, fuel), label in labels.items()
        ],
    )
