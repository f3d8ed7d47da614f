"""Applies what came before the adoption, as a first login does: early events and subscriptions."""

import logging
from dataclasses import dataclass

from origin.db.locks import lock_subject, lock_user
from origin.intake.queries.owners import find_owner
from origin.intake.service import early_events, metering_points
from origin.intake.service.issued_ggos import IssuedGgos
from origin.keys.sealing import Sealer
from origin.webhooks.service import early_subscriptions
from origin.webhooks.service.outbox import Outbox

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlyRows:
    """Applies the early events and subscriptions of adopted users."""

    outbox: Outbox
    sealer: Sealer
    issued_ggos: IssuedGgos

    def apply(self, subject: str) -> None:
        """Make the subject's early subscriptions live, and apply the early events.

        A repeat does no harm. GGOs of unknown metering points stay until those are imported.
        """
        while self._apply_some(subject):
            log.info("Applied a part of the events that came before the adoption")

    def _apply_some(self, subject: str) -> bool:
        """Apply some of the events, in one transaction; return whether more may be left."""
        with self.outbox.transaction() as session:
            lock_subject(session, subject)
            owner = find_owner(session, subject)
            if owner is None:
                return False
            if owner.is_active:
                early_subscriptions.make_live(session, self.sealer, owner.id, subject)
            points = early_events.take_metering_points(session, subject)
            metering_points.store(session, self.issued_ggos, owner, points)
            lock_user(session, owner.id)
            return early_events.apply_ggos(session, self.issued_ggos, owner)
