"""Fetch GGOs that were issued while no webhook reported them (contract: peers, `/ggo`)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from origin.db.engine import Database
from origin.errors import PeerError
from origin.identity.service.tokens import UserTokens
from origin.intake.queries.owners import owner_and_point_of
from origin.intake.rules.back_fill import end_of_stretch, months_of
from origin.intake.rules.events import PAST_LAST_BEGIN, GgoEvent, GgoImpossible
from origin.intake.service.issued_ggos import IssuedGgos
from origin.intake.service.owner_changes import retry_if_owner_changes
from origin.peers.datahub import DataHubClient, DataHubGgo
from origin.shared.clock import utcnow
from origin.webhooks.service.outbox import Outbox

ISSUED_AT_ONCE = 2000
"""How many GGOs one transaction issues: about a second's work."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackFill:
    """Fetches from DataHub the GGOs that were issued to a metering point."""

    database: Database
    datahub: DataHubClient
    user_tokens: UserTokens
    outbox: Outbox
    issued_ggos: IssuedGgos

    def busy_months(self, metering_point_id: int, begin: datetime) -> frozenset[str] | None:
        """Return the months from `begin` on in which the metering point has measurements.

        They only serve to choose stretches: GGOs of other months are found, too.

        :returns: e.g. `2020-01`, in UTC; None if DataHub doesn't tell.
        :raises TokensSpent: The owner must log in again.
        """
        with self.database.reading() as session:
            owner, point = owner_and_point_of(session, metering_point_id)
        try:
            summary = self.user_tokens.with_user_token(
                owner.id,
                lambda token: self.datahub.summary(
                    token,
                    "month",
                    gsrn=[point.gsrn],
                    begin=begin,
                    end=PAST_LAST_BEGIN,
                    kind="production",
                ),
            )
            return months_of(summary.labels)
        except (PeerError, ValueError) as error:
            log.warning(
                "DataHub doesn't tell the months of %s: %s", point.gsrn, type(error).__name__
            )
            return None

    def fetch(
        self, metering_point_id: int, begin: datetime, end: datetime | None = None
    ) -> datetime | None:
        """Fetch and issue the GGOs that begin in one stretch of time.

        GGOs that are stored already stay as they are. What breaks a rule is logged and left out.

        :param begin: Where the stretch begins; for the first one
            `origin.intake.rules.events.FIRST_BEGIN`.
        :param end: Where it ends; None: `end_of_stretch` chooses.
        :returns: Where the next stretch begins; None if this was the last.
        :raises TokensSpent: The owner must log in again.
        :raises PeerError: DataHub is out of reach, or breaks the contract.
        """
        with self.database.reading() as session:
            owner, point = owner_and_point_of(session, metering_point_id)
        end = end or end_of_stretch(begin, utcnow(), months=None, hours=None)
        found = self.user_tokens.with_user_token(
            owner.id,
            lambda token: self.datahub.ggos(token, point.gsrn, begin, end),
        )
        for reason in found.invalid:
            log.error("A GGO of metering point %s is left out: %s", point.gsrn, reason)
        events = [event for ggo in found.valid for event in _checked(point.gsrn, ggo)]
        for portion in _portions(events):
            retry_if_owner_changes(partial(self._issue, metering_point_id, portion))
        return end if end < PAST_LAST_BEGIN else None

    def _issue(self, metering_point_id: int, events: Sequence[GgoEvent]) -> None:
        with self.outbox.transaction() as session:
            # Read anew: DataHub may have taken long, and a key rotation may have run meanwhile.
            owner, point = owner_and_point_of(session, metering_point_id)
            self.issued_ggos.issue(session, owner, {point: events})


def _checked(gsrn: str, ggo: DataHubGgo) -> Iterator[GgoEvent]:
    """Yield the GGO, unless it breaks a rule or was issued to another metering point."""
    event = GgoEvent(
        address=ggo.address,
        gsrn=ggo.gsrn,
        begin=ggo.begin,
        end=ggo.end,
        sector=ggo.sector,
        amount=ggo.amount,
        issue_time=ggo.issueTime,
        expire_time=ggo.expireTime,
        technology_code=ggo.technologyCode or "",
        fuel_code=ggo.fuelCode or "",
        emissions=ggo.emissions,
    )
    if event.gsrn != gsrn:
        log.error("GGO %s is left out: it is of another point than %s", event.address, gsrn)
        return
    try:
        event.check()
    except GgoImpossible as error:
        log.warning("GGO %s is left out: %s", event.address, error)
        return
    yield event


def _portions(events: Sequence[GgoEvent]) -> Iterator[Sequence[GgoEvent]]:
    for first in range(0, len(events), ISSUED_AT_ONCE):
        yield events[first : first + ISSUED_AT_ONCE]
