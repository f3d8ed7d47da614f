"""Store users' metering points, and ask for the work at DataHub that follows."""

import logging
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from origin.db.datahub_jobs import enqueue, enqueue_points
from origin.db.locks import lock_user
from origin.intake.queries.metering_points import (
    StoredPoint,
    TypeAndSector,
    add_points,
    correct_point,
    points_with,
)
from origin.intake.queries.owners import Owner
from origin.intake.rules.events import MeteringPointEvent
from origin.intake.service.early_events import apply_ggos
from origin.intake.service.issued_ggos import IssuedGgos

log = logging.getLogger(__name__)


def store(
    session: Session,
    issued_ggos: IssuedGgos,
    owner: Owner,
    points: Sequence[MeteringPointEvent],
    *,
    stored_before: Mapping[str, TypeAndSector] | None = None,
) -> bool:
    """Add the metering points that are new, and correct type and sector of the others.

    A new point gets the next key index. Jobs are enqueued that send its key to DataHub and, if it
    produces, fetch what was issued to it before. Kept GGOs of new points are issued. Call it in
    `Outbox.transaction`, and `Wakeups.datahub_jobs_due` after the commit.

    :param stored_before: If the points come from an answer of DataHub: type and sector, by GSRN, as
        they were stored before DataHub was asked. A point that a webhook has changed since keeps
        that change.
    :returns: Whether all points are the owner's now. Points of other users are logged and left.
    """
    if not points:
        return True
    lock_user(session, owner.id)
    # If two contradict each other, the later one counts; it takes the place of the first.
    wanted = {point.gsrn: point for point in points}
    known = points_with(session, wanted)
    added = add_points(session, owner.id, [wanted[gsrn] for gsrn in wanted if gsrn not in known])
    foreign = [gsrn for gsrn, point in known.items() if point.user_id != owner.id]
    foreign += wanted.keys() - known.keys() - added.keys()
    if foreign:
        log.error("Metering points claimed by user %s are another's: %s", owner.id, foreign)
    producing = [each for gsrn, each in added.items() if wanted[gsrn].type == "production"]
    producing += _correct(session, owner, wanted, known, stored_before)
    if owner.is_active:
        enqueue_points(session, owner.id, "send_key", added.values())
        enqueue_points(session, owner.id, "fetch_ggos", producing)
    if added and apply_ggos(session, issued_ggos, owner):
        # The import issues the other kept GGOs.
        enqueue_import(session, owner)
    return not foreign


def enqueue_import(session: Session, owner: Owner) -> None:
    """Enqueue an import of the owner's metering points, unless the account is disabled."""
    if owner.is_active:
        enqueue(session, owner.id, ["import_metering_points"])


def _correct(
    session: Session,
    owner: Owner,
    wanted: Mapping[str, MeteringPointEvent],
    known: Mapping[str, StoredPoint],
    stored_before: Mapping[str, TypeAndSector] | None,
) -> list[int]:
    """Update type and sector of the owner's known points; return the ids of those that now produce."""
    producing = []
    for gsrn, point in known.items():
        told = wanted[gsrn]
        if point.user_id != owner.id or point.type_and_sector == (told.type, told.sector):
            continue
        if stored_before is None or point.type_and_sector == stored_before.get(gsrn):
            log.info("Metering point %s is now %s in %s", gsrn, told.type, told.sector)
            correct_point(session, told)
            producing += [point.id] if told.type == "production" else []
    return producing
