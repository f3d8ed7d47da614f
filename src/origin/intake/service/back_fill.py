"""GGOs that were issued while no webhook of DataHub's could tell of them (contract: peers, `/ggo`)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.models import MeteringPoint, User
from origin.errors import PeerError
from origin.identity.service.tokens import UserTokens
from origin.intake.rules.back_fill import end_of_stretch, months_of
from origin.intake.rules.events import PAST_LAST_BEGIN, GgoEvent, GgoImpossible
from origin.intake.service.issued_ggos import Issue, Owner, record
from origin.keys.sealing import Sealer
from origin.peers.datahub import DataHubClient, DataHubGgo
from origin.shared.clock import utcnow
from origin.webhooks.service.outbox import Outbox

RECORDED_AT_ONCE = 2000
"""How many GGOs one transaction takes up: a second's work."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Point:
    """A metering point and its owner."""

    owner: Owner
    gsrn: str
    key_index: int


@dataclass(frozen=True)
class BackFill:
    """Fetches issued GGOs that no webhook told of."""

    database: Database
    datahub: DataHubClient
    user_tokens: UserTokens
    outbox: Outbox
    sealer: Sealer

    def busy_months(self, metering_point_id: int, begin: datetime) -> frozenset[str] | None:
        """The months from then on in which something was measured there, so that GGOs may be issued.

        They serve to choose stretches; what is issued in another month is found all the same.

        :returns: e.g. `2020-01`, in UTC; None where DataHub doesn't tell.
        :raises TokensSpent: the owner must log in again.
        """
        with self.database.reading() as session:
            point = _find(session, metering_point_id)
        try:
            summary = self.user_tokens.with_user_token(
                point.owner.id,
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
        """Make the GGOs of a stretch that were issued to this point, as their webhooks would have done.

        What is there already stays as it is; what is no GGO is logged and left out.

        :param begin: Where the stretch begins; the first at `domain.events.FIRST_BEGIN`.
        :param end: Where it ends; None: after a month.
        :returns: Where the next begins; None: that was the last.
        :raises TokensSpent: the owner must log in again.
        :raises PeerError: DataHub is out of reach, or answers what it shouldn't.
        """
        with self.database.reading() as session:
            point = _find(session, metering_point_id)
        end = end or end_of_stretch(begin, utcnow(), months=None, hours=None)
        found = self.user_tokens.with_user_token(
            point.owner.id,
            lambda token: self.datahub.ggos(token, point.gsrn, begin, end),
        )
        for oddity in found.invalid:
            log.error("A GGO of metering point %s is left out: %s", point.gsrn, oddity)
        issues = [
            Issue(event, point.key_index)
            for ggo in found.valid
            for event in _checked(point.gsrn, ggo)
        ]
        for portion in _portions(issues):
            with self.outbox.transaction() as session:
                record(session, self.sealer, point.owner, portion)
        return end if end < PAST_LAST_BEGIN else None


def _find(session: Session, metering_point_id: int) -> _Point:
    row = session.execute(
        select(
            User.id,
            User.subject,
            User.master_key,
            User.disabled_at,
            MeteringPoint.gsrn,
            MeteringPoint.key_index,
        )
        .join(MeteringPoint, MeteringPoint.user_id == User.id)
        .where(MeteringPoint.id == metering_point_id)
    ).one()
    owner = Owner(row.id, row.subject, row.master_key, row.disabled_at is None)
    return _Point(owner, row.gsrn, row.key_index)


def _checked(gsrn: str, ggo: DataHubGgo) -> Iterator[GgoEvent]:
    """The GGO, if it is one, and of this point."""
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


def _portions(issues: Sequence[Issue]) -> Iterator[Sequence[Issue]]:
    for first in range(0, len(issues), RECORDED_AT_ONCE):
        yield issues[first : first + RECORDED_AT_ONCE]
