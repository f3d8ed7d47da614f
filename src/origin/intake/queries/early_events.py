"""Events of DataHub's that are kept until their user or metering point is known."""

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from origin.db.models import EarlyEvent, MeteringPoint


def keep(
    session: Session,
    *,
    kind: Literal["ggo", "metering_point"],
    subject: str,
    gsrn: str,
    payload: dict[str, Any],
    digest: str,
) -> None:
    """Insert an event, or replace the payload of the one with the same digest."""
    kept = insert(EarlyEvent).values(
        kind=kind, subject=subject, gsrn=gsrn, payload=payload, digest=digest
    )
    session.execute(
        kept.on_conflict_do_update(
            index_elements=["digest"],
            set_={"payload": kept.excluded.payload, "received_at": func.now()},
        )
    )


def take_metering_points(session: Session, subject: str) -> list[dict[str, Any]]:
    """Delete the subject's kept metering points; return their payloads in order of arrival."""
    taken = session.execute(
        delete(EarlyEvent)
        .where(EarlyEvent.subject == subject, EarlyEvent.kind == "metering_point")
        .returning(EarlyEvent.id, EarlyEvent.payload)
    ).all()
    return [row.payload for row in sorted(taken, key=lambda row: row.id)]


def take_ggos(session: Session, subject: str, limit: int) -> Sequence[Row[Any]]:
    """Delete the subject's oldest kept GGOs whose metering point is known by now, up to `limit`.

    :returns: payload, and user_id, gsrn and key_index of the metering point, in order of arrival.
    """
    taken = (
        select(EarlyEvent.id, EarlyEvent.gsrn, MeteringPoint.user_id, MeteringPoint.key_index)
        .join(MeteringPoint, MeteringPoint.gsrn == EarlyEvent.gsrn)
        .where(EarlyEvent.subject == subject, EarlyEvent.kind == "ggo")
        .order_by(EarlyEvent.id)
        .limit(limit)
        .cte("taken")
    )
    rows = session.execute(
        delete(EarlyEvent)
        .where(EarlyEvent.id == taken.c.id)
        .returning(
            EarlyEvent.id,
            EarlyEvent.payload,
            taken.c.user_id,
            taken.c.gsrn,
            taken.c.key_index,
        )
    ).all()
    return sorted(rows, key=lambda row: row.id)
