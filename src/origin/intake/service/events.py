"""Apply what DataHub's webhooks report (contract: http-api, Webhooks in)."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.locks import lock_subject, lock_user
from origin.intake.queries.owners import Owner, find_owner, find_owner_and_point
from origin.intake.rules.events import GgoEvent, MeteringPointEvent, MeteringPointOfAnother
from origin.intake.service.early_events import keep
from origin.intake.service.issued_ggos import IssuedGgos
from origin.intake.service.metering_points import enqueue_import, store
from origin.intake.service.owner_changes import retry_if_owner_changes
from origin.shared.wakeups import Wakeups
from origin.webhooks.service.outbox import Outbox


@dataclass(frozen=True)
class DataHubEvents:
    """Applies the events of DataHub's webhooks."""

    outbox: Outbox
    wakeups: Wakeups
    database: Database
    issued_ggos: IssuedGgos

    def metering_point_available(self, subject: str, event: MeteringPointEvent) -> bool:
        """Store a metering point, or keep the event if the subject has no account yet.

        :returns: Whether the metering point is the subject's now.
        """
        with self.outbox.transaction() as session:
            owner = _owner_or_lock_subject(session, subject)
            if owner is None:
                keep(session, subject, event)
                return False
            is_stored = store(session, self.issued_ggos, owner, [event])
        self.wakeups.datahub_jobs_due()
        return is_stored

    def metering_points_available(self, subject: str) -> bool:
        """Have a worker import the user's metering points, unless the account is disabled.

        :returns: Whether the subject has an account.
        """
        with self.database.transaction() as session:
            owner = find_owner(session, subject)
            if owner is None:
                return False
            enqueue_import(session, owner)
        self.wakeups.datahub_jobs_due()
        return True

    def ggo_issued(self, subject: str, event: GgoEvent) -> bool:
        """Store an issued GGO, or keep the event if its user or metering point is not known yet.

        :returns: False if the subject has no account, or the address is stored with other data.
        :raises GgoImpossible: The event breaks a rule.
        :raises MeteringPointOfAnother: The metering point is another user's.
        :raises OwnerChanged: The owner's key changed twice meanwhile; nothing was stored.
        """
        event.check()
        if self.issued_ggos.issue_new(subject, event):
            return True
        return retry_if_owner_changes(lambda: self._issue_or_keep(subject, event))

    def _issue_or_keep(self, subject: str, event: GgoEvent) -> bool:
        """Do what `ggo_issued` does, in one transaction, whether or not the case is usual.

        :raises MeteringPointOfAnother: The metering point is another user's.
        :raises OwnerChanged: A key rotation came between the look-up and the insert.
        """
        with self.outbox.transaction() as session:
            owner, point = find_owner_and_point(session, subject, event.gsrn)
            if owner is None:
                owner = _owner_or_lock_subject(session, subject)
                if owner is None:
                    keep(session, subject, event)
                    return False
            if point is None:
                # The point may have been added since the look-up. Under the lock it cannot be added.
                lock_user(session, owner.id)
                _, point = find_owner_and_point(session, subject, event.gsrn)
            if point is not None:
                if point.owner_id != owner.id:
                    raise MeteringPointOfAnother(event.gsrn)
                return self.issued_ggos.issue(session, owner, {point: [event]})
            keep(session, subject, event)
            enqueue_import(session, owner)
        self.wakeups.datahub_jobs_due()
        return True


def _owner_or_lock_subject(session: Session, subject: str) -> Owner | None:
    """Return the user of this subject. If there is none, lock the subject and look again.

    If this returns None, the subject gets no account before the transaction ends.
    """
    owner = find_owner(session, subject)
    if owner is None:
        lock_subject(session, subject)
        owner = find_owner(session, subject)
    return owner
