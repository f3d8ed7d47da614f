"""Users' metering points: added once, keyed, and sent to DataHub."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.datahub_jobs import enqueue, enqueue_points
from origin.db.locks import lock_user
from origin.db.models import MeteringPoint, User
from origin.intake.rules.events import MeteringPointEvent
from origin.intake.service.early_events import apply_ggos
from origin.intake.service.issued_ggos import Owner
from origin.keys.sealing import Sealer

log = logging.getLogger(__name__)

Described = tuple[str, str]
"""A metering point's type and sector."""


@dataclass(frozen=True)
class _Known:
    id: int
    user_id: int
    described: Described


def described(session: Session, user_id: int) -> dict[str, Described]:
    """What is known of the user's metering points, by GSRN."""
    rows = session.execute(
        select(MeteringPoint.gsrn, MeteringPoint.type, MeteringPoint.sector).where(
            MeteringPoint.user_id == user_id
        )
    )
    return {row.gsrn: (row.type, row.sector) for row in rows}


def store(
    session: Session,
    sealer: Sealer,
    owner: Owner,
    points: Sequence[MeteringPointEvent],
    *,
    asked_when: Mapping[str, Described] | None = None,
) -> bool:
    """Add the points that are new to the owner, correct type and sector of the others.

    A new point gets the next key index, has its key sent to DataHub, and the GGOs that waited for
    it are issued; where it produces, all that were issued to it before are fetched. Call
    `hints.datahub_jobs_due()` after the commit.

    :param asked_when: Where DataHub was asked for the points: what was known then. What has changed
        since stays, as a webhook has told of it later.
    :returns: Whether all of them are the owner's now; one of another user's is logged and left.
    """
    if not points:
        return True
    lock_user(session, owner.id)
    # Of two that contradict each other the later one holds; the place in the order is the first's.
    wanted = {point.gsrn: point for point in points}
    known = _known(session, wanted)
    added = _add(session, owner, [point for point in wanted.values() if point.gsrn not in known])
    foreign = [gsrn for gsrn, point in known.items() if point.user_id != owner.id]
    foreign += wanted.keys() - known.keys() - added.keys()
    if foreign:
        log.error("Metering points claimed by user %s are another's: %s", owner.id, foreign)
    producing = [each for gsrn, each in added.items() if wanted[gsrn].type == "production"]
    for gsrn, point in known.items():
        said = wanted[gsrn]
        if point.user_id != owner.id or point.described == (said.type, said.sector):
            continue
        if asked_when is None or point.described == asked_when.get(gsrn):
            _correct(session, said)
            producing += [point.id] if said.type == "production" else []
    if owner.is_active:
        enqueue_points(session, owner.id, "send_key", added.values())
        enqueue_points(session, owner.id, "fetch_ggos", producing)
    if added and apply_ggos(session, sealer, owner) and owner.is_active:
        # The import takes up the rest.
        enqueue(session, owner.id, ["import_metering_points"])
    return not foreign


def _known(session: Session, gsrns: Iterable[str]) -> dict[str, _Known]:
    """Those that exist, whosever they are."""
    rows = session.scalars(select(MeteringPoint).where(MeteringPoint.gsrn.in_(list(gsrns))))
    return {row.gsrn: _Known(row.id, row.user_id, (row.type, row.sector)) for row in rows}


def _add(session: Session, owner: Owner, points: Sequence[MeteringPointEvent]) -> dict[str, int]:
    """Add these under the next key indexes; the ids by GSRN of those that nobody else had.

    An index that isn't used, as another user was faster with that GSRN, is never used again.
    """
    if not points:
        return {}
    following = session.scalars(
        update(User)
        .where(User.id == owner.id)
        .values(next_metering_point_index=User.next_metering_point_index + len(points))
        .returning(User.next_metering_point_index)
    ).one()
    rows = [
        {
            "user_id": owner.id,
            "gsrn": point.gsrn,
            "type": point.type,
            "sector": point.sector,
            "key_index": key_index,
        }
        for key_index, point in enumerate(points, following - len(points))
    ]
    added = session.execute(
        insert(MeteringPoint)
        .on_conflict_do_nothing(index_elements=["gsrn"])
        .returning(MeteringPoint.gsrn, MeteringPoint.id),
        # In one order, so that two users who claim the same points don't wait for each other.
        sorted(rows, key=lambda row: str(row["gsrn"])),
    )
    return {row.gsrn: row.id for row in added}


def _correct(session: Session, point: MeteringPointEvent) -> None:
    log.info("Metering point %s is now %s in %s", point.gsrn, point.type, point.sector)
    session.execute(
        update(MeteringPoint)
        .where(MeteringPoint.gsrn == point.gsrn)
        .values(type=point.type, sector=point.sector)
    )
