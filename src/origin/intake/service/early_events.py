"""Keep DataHub's events that come too early, and apply them once they can be.

An event comes too early if its user has not logged in yet, or its metering point is unknown.
"""

import logging
from collections import defaultdict
from typing import Literal

from sqlalchemy.orm import Session

from origin.intake.queries import early_events
from origin.intake.queries.owners import MeteringPointRef, Owner
from origin.intake.rules.events import (
    Event,
    GgoEvent,
    MeteringPointEvent,
    digest,
    ggo_from_payload,
    metering_point_from_payload,
    to_payload,
)
from origin.intake.service.issued_ggos import IssuedGgos

APPLIED_AT_ONCE = 2000
"""How many kept GGOs one transaction issues: about a second's work."""

log = logging.getLogger(__name__)


def keep(session: Session, subject: str, event: Event) -> None:
    """Keep an event until its user or metering point is known.

    A repeat changes nothing. Of a metering point only the latest event is kept, in the place of the
    first.
    """
    kind: Literal["ggo", "metering_point"] = (
        "ggo" if isinstance(event, GgoEvent) else "metering_point"
    )
    early_events.keep(
        session,
        kind=kind,
        subject=subject,
        gsrn=event.gsrn,
        payload=to_payload(event),
        digest=digest(kind, subject, event),
    )


def take_metering_points(session: Session, subject: str) -> list[MeteringPointEvent]:
    """Return the metering points kept for this subject, in order of arrival, and delete them."""
    payloads = early_events.take_metering_points(session, subject)
    return [metering_point_from_payload(payload) for payload in payloads]


def apply_ggos(session: Session, issued_ggos: IssuedGgos, owner: Owner) -> bool:
    """Issue the kept GGOs whose metering point is known by now.

    A GGO that breaks a rule is logged and dropped. Hold `lock_user`, so that no event is kept
    meanwhile.

    :returns: Whether more may be left: this call has issued APPLIED_AT_ONCE.
    """
    rows = early_events.take_ggos(session, owner.subject, APPLIED_AT_ONCE)
    events: dict[MeteringPointRef, list[GgoEvent]] = defaultdict(list)
    for row in rows:
        event = ggo_from_payload(row.payload)
        if row.user_id == owner.id:
            events[MeteringPointRef(owner.id, row.gsrn, row.key_index)].append(event)
        else:
            log.error(
                "Dropped GGO %s: its metering point %s is another user's", event.address, event.gsrn
            )
    if events:
        issued_ggos.issue(session, owner, events)
    return len(rows) == APPLIED_AT_ONCE
