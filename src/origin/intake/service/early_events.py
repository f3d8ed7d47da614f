"""Events of DataHub's that came too early: kept, and applied when they can be."""

import logging
from typing import Literal

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.models import KeptEvent, MeteringPoint
from origin.intake.rules.events import (
    Event,
    GgoEvent,
    MeteringPointEvent,
    digest,
    ggo_from_payload,
    metering_point_from_payload,
    to_payload,
)
from origin.intake.service.issued_ggos import Issue, Owner, record
from origin.keys.sealing import Sealer

APPLIED_AT_ONCE = 2000
"""How many kept GGOs one transaction takes up: a second's work."""

log = logging.getLogger(__name__)


def keep(session: Session, subject: str, event: Event) -> None:
    """Keep an event until its user or metering point is known.

    A repeat changes nothing; of a metering point the latest word is kept, in the first one's place.
    """
    kind: Literal["ggo", "metering_point"] = (
        "ggo" if isinstance(event, GgoEvent) else "metering_point"
    )
    kept = insert(KeptEvent).values(
        kind=kind,
        subject=subject,
        gsrn=event.gsrn,
        payload=to_payload(event),
        digest=digest(kind, subject, event),
    )
    session.execute(
        kept.on_conflict_do_update(
            index_elements=["digest"],
            set_={"payload": kept.excluded.payload, "received_at": func.now()},
        )
    )


def take_metering_points(session: Session, subject: str) -> list[MeteringPointEvent]:
    """The metering points that were kept for this subject, in order of arrival; kept no longer."""
    taken = session.execute(
        delete(KeptEvent)
        .where(KeptEvent.subject == subject, KeptEvent.kind == "metering_point")
        .returning(KeptEvent.id, KeptEvent.payload)
    ).all()
    return [metering_point_from_payload(row.payload) for row in sorted(taken, key=lambda r: r.id)]


def apply_ggos(session: Session, sealer: Sealer, owner: Owner) -> bool:
    """Issue the GGOs that were kept for want of a metering point, as far as it is known now.

    What the rules refuse is dropped and logged. Hold `lock_user`, so that none comes in between.

    :returns: Whether more may be left: APPLIED_AT_ONCE were taken up.
    """
    taken = (
        select(KeptEvent.id, MeteringPoint.user_id, MeteringPoint.key_index)
        .join(MeteringPoint, MeteringPoint.gsrn == KeptEvent.gsrn)
        .where(KeptEvent.subject == owner.subject, KeptEvent.kind == "ggo")
        .order_by(KeptEvent.id)
        .limit(APPLIED_AT_ONCE)
        .cte("taken")
    )
    rows = session.execute(
        delete(KeptEvent)
        .where(KeptEvent.id == taken.c.id)
        .returning(KeptEvent.id, KeptEvent.payload, taken.c.user_id, taken.c.key_index)
    ).all()
    issues = []
    for row in sorted(rows, key=lambda row: row.id):
        event = ggo_from_payload(row.payload)
        if row.user_id == owner.id:
            issues.append(Issue(event, row.key_index))
        else:
            log.error(
                "Dropped GGO %s: its metering point %s is another user's", event.address, event.gsrn
            )
    if issues:
        record(session, sealer, owner, issues)
    return len(rows) == APPLIED_AT_ONCE
