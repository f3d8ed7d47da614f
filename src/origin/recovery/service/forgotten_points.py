"""Metering points, and GGOs issued to them, that a database forgot when it fell back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from origin.db.engine import Database
from origin.errors import PeerMisbehaved, PeerUnauthorized, TokensSpent
from origin.identity.service.tokens import UserTokens
from origin.intake.queries.metering_points import key_indexes_of
from origin.intake.queries.owners import Owner, owner_of
from origin.intake.rules.back_fill import end_of_stretch
from origin.intake.rules.events import PAST_LAST_BEGIN, MeteringPointEvent
from origin.intake.service import metering_points
from origin.intake.service.back_fill import BackFill
from origin.intake.service.issued_ggos import IssuedGgos
from origin.intake.service.proven_indexes import ForgottenPoint, ProvenIndexes
from origin.peers import datahub
from origin.peers.datahub import DataHubClient, DataHubGgo
from origin.peers.retrying import retry_while_unavailable
from origin.recovery.queries.restoring import addresses_here
from origin.recovery.service.report import Report
from origin.shared.clock import utcnow
from origin.webhooks.service.outbox import Outbox


@dataclass(frozen=True)
class ForgottenPoints:
    """Finds metering points and issued GGOs that a restored database lacks."""

    datahub: DataHubClient
    user_tokens: UserTokens
    outbox: Outbox
    issued_ggos: IssuedGgos
    database: Database
    back_fill: BackFill
    proven_indexes: ProvenIndexes

    def recover_points(self, user_id: int, report: Report) -> list[tuple[str, int]]:
        """Add the points of this user that the database forgot; in a dry run, only report them.

        :returns: gsrn and key index of those that were found, and have one.
        :raises PeerUnavailable: DataHub or Hydra is out of reach.
        """
        with self.database.reading() as session:
            owner = owner_of(session, user_id)
        try:
            known = retry_while_unavailable(
                lambda: self.user_tokens.with_user_token(user_id, self.datahub.metering_points)
            )
            events = [MeteringPointEvent(each.gsrn, each.type, each.sector) for each in known.valid]
            forgotten = self.proven_indexes.find(owner, events)
        except (TokensSpent, PeerMisbehaved, PeerUnauthorized) as error:
            report.add("not_asked", subject=owner.subject, reason=str(error))
            return []
        if not report.is_dry:
            self.proven_indexes.add(owner, forgotten)
            unproven = [each.event for each in forgotten if each.key_index is None]
            with self.outbox.transaction() as session:
                metering_points.store(session, self.issued_ggos, owner, unproven)
        with self.database.reading() as session:
            indexes = key_indexes_of(session, [each.event.gsrn for each in forgotten])
        for each in forgotten:
            _tell(report, owner, each, indexes.get(each.event.gsrn))
        proven = {
            each.event.gsrn: each.key_index for each in forgotten if each.key_index is not None
        }
        return list((proven | indexes).items())

    def fetch_issued(self, metering_point_id: int, since: datetime) -> None:
        """Make GGOs of all that was issued to this point, as `BackFill.fetch` does.

        :raises TokensSpent: its owner must log in again.
        :raises PeerError: DataHub is out of reach, or answers what it shouldn't.
        """
        months = self.back_fill.busy_months(metering_point_id, since)
        begin: datetime | None = since
        while begin is not None:
            end = end_of_stretch(begin, utcnow(), months=months, hours=None)
            begin = retry_while_unavailable(
                partial(self.back_fill.fetch, metering_point_id, begin, end)
            )

    def unknown_issued(self, user_id: int, gsrn: str, since: datetime) -> Iterator[DataHubGgo]:
        """What was issued to this point and the database doesn't have; nothing is changed.

        :raises TokensSpent: its owner must log in again.
        :raises PeerError: DataHub is out of reach, or answers what it shouldn't.
        """
        for begin, end in _stretches(since):

            def ask(
                token: str, begin: datetime = begin, end: datetime = end
            ) -> datahub.ParsedRows[DataHubGgo]:
                return self.datahub.ggos(token, gsrn, begin, end)

            found = retry_while_unavailable(partial(self.user_tokens.with_user_token, user_id, ask))
            with self.database.reading() as session:
                known = addresses_here(session, [ggo.address for ggo in found.valid])
            yield from (ggo for ggo in found.valid if ggo.address not in known)


def _tell(report: Report, owner: Owner, point: ForgottenPoint, index: int | None) -> None:
    proof = "proven" if point.key_index is not None else "nothing is measured yet: a fresh key"
    if point.key_index is None and point.is_measured:
        proof = "DataHub has a key for it that isn't ours"
        what = f"metering point {point.event.gsrn}: {proof}"
        report.add("differing", address=point.event.gsrn, what=what)
    report.add(
        "points",
        subject=owner.subject,
        gsrn=point.event.gsrn,
        key_index=point.key_index if index is None else index,
        proof=proof,
    )


def _stretches(since: datetime) -> Iterator[tuple[datetime, datetime]]:
    begin = since
    while begin < PAST_LAST_BEGIN:
        end = end_of_stretch(begin, utcnow(), months=None, hours=None)
        yield begin, end
        begin = end
