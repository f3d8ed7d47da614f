"""What DataHub's webhooks do (contract: http-api, Webhooks in)."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from origin.db.datahub_jobs import enqueue
from origin.db.engine import Database
from origin.db.locks import lock_subject, lock_user
from origin.db.models import MeteringPoint, User
from origin.intake.rules.events import GgoEvent, MeteringPointEvent, MeteringPointOfAnother
from origin.intake.service import metering_points
from origin.intake.service.early_events import keep
from origin.intake.service.issued_ggos import Issue, IssuedGgos, Owner, record
from origin.keys.sealing import Sealer
from origin.shared.wakeups import Wakeups
from origin.webhooks.service.outbox import Outbox


@dataclass(frozen=True)
class _Point:
    owner_id: int
    key_index: int


@dataclass(frozen=True)
class DataHubEvents:
    """Applies what DataHub's webhooks tell."""

    outbox: Outbox
    sealer: Sealer
    wakeups: Wakeups
    database: Database
    issued_ggos: IssuedGgos

    def metering_point_available(self, subject: str, event: MeteringPointEvent) -> bool:
        """Store a metering point, or keep the event where the subject isn't known yet.

        :returns: Whether the point is this subject's now.
        """
        with self.outbox.transaction() as session:
            owner = _settled_owner(session, subject)
            if owner is None:
                keep(session, subject, event)
                return False
            is_stored = metering_points.store(session, self.sealer, owner, [event])
        self.wakeups.datahub_jobs_due()
        return is_stored

    def metering_points_available(self, subject: str) -> bool:
        """Have the user's metering points imported.

        :returns: Whether there is such a user.
        """
        with self.database.transaction() as session:
            owner = find_owner(session, subject)
            if owner is None:
                return False
            if owner.is_active:
                enqueue(session, owner.id, ["import_metering_points"])
        self.wakeups.datahub_jobs_due()
        return True

    def ggo_issued(self, subject: str, event: GgoEvent) -> bool:
        """Make an issued GGO its owner's, or keep the event where its user or point isn't known yet.

        :returns: False where the subject isn't known, or the address is known with other data.
        :raises GgoImpossible: The event cannot be a GGO.
        :raises MeteringPointOfAnother: The metering point belongs to another user.
        """
        event.check()
        if self.issued_ggos.store(subject, event):
            return True
        with self.outbox.transaction() as session:
            owner, point = _owner_and_point(session, subject, event.gsrn)
            if owner is None:
                owner = _settled_owner(session, subject)
                if owner is None:
                    keep(session, subject, event)
                    return False
            if point is None:
                # It may have been added since we looked, but not from here on.
                lock_user(session, owner.id)
                _, point = _owner_and_point(session, subject, event.gsrn)
            if point is not None:
                if point.owner_id != owner.id:
                    raise MeteringPointOfAnother(event.gsrn)
                return record(session, self.sealer, owner, [Issue(event, point.key_index)])[0]
            keep(session, subject, event)
            if owner.is_active:
                enqueue(session, owner.id, ["import_metering_points"])
        self.wakeups.datahub_jobs_due()
        return True


def find_owner(session: Session, subject: str) -> Owner | None:
    """The user of this subject, disabled ones included."""
    return _owner_and_point(session, subject, None)[0]


def _settled_owner(session: Session, subject: str) -> Owner | None:
    """The user of this subject; None for sure until the transaction ends."""
    owner = find_owner(session, subject)
    if owner is None:
        lock_subject(session, subject)
        owner = find_owner(session, subject)
    return owner


def _owner_and_point(
    session: Session, subject: str, gsrn: str | None
) -> tuple[Owner | None, _Point | None]:
    """The user of this subject, and the metering point of this number, whosever it is."""
    row = session.execute(
        select(
            User.id,
            User.master_key,
            User.disabled_at,
            MeteringPoint.user_id,
            MeteringPoint.key_index,
        )
        .outerjoin(MeteringPoint, MeteringPoint.gsrn == gsrn)
        .where(User.subject == subject)
    ).one_or_none()
    if row is None:
        return None, None
    owner = Owner(row.id, subject, row.master_key, row.disabled_at is None)
    return owner, None if row.user_id is None else _Point(row.user_id, row.key_index)
