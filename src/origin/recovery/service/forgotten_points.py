"""Metering points, and GGOs issued to them, that a database forgot when it fell back."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.datahub_jobs import enqueue_points
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.db.models import MeteringPoint, User
from origin.errors import PeerMisbehaved, PeerUnauthorized, PeerUnavailable, TokensSpent
from origin.identity.service.tokens import UserTokens
from origin.intake.rules.back_fill import end_of_stretch
from origin.intake.rules.events import FIRST_BEGIN, PAST_LAST_BEGIN, MeteringPointEvent
from origin.intake.service import metering_points
from origin.intake.service.back_fill import BackFill
from origin.intake.service.early_events import apply_ggos
from origin.intake.service.issued_ggos import Owner
from origin.keys.derivation import AddressKind, ExtendedKey, IndexOutOfRange
from origin.keys.sealing import Sealer, master_key_context
from origin.peers import datahub
from origin.peers.datahub import DataHubClient, DataHubGgo
from origin.recovery.queries.progress import was_before_a_recovery
from origin.recovery.queries.restoring import addresses_here
from origin.recovery.rules import point_candidates, proven_index
from origin.recovery.service.report import Report
from origin.shared.clock import utcnow
from origin.shared.deadlines import interruptible_sleep
from origin.webhooks.service.outbox import Outbox

MARGIN = 100_000
"""By how much key indexes are moved on, unless told otherwise: POSTs from before may still land."""
REACH = 1000
"""How far beyond the known indexes of `m/1/i` a point's is looked for."""
_PAUSES_S = (20.0, 60.0)
"""Before DataHub is asked once more: what it gave no answer to in time, it may still work at."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learnt:
    """A metering point that the database doesn't have, and what it is to be here.

    :ivar key_index: The i of `m/1/i` that DataHub's addresses prove; None: nothing proves one.
    :ivar is_measured: DataHub has addresses for it: by another key, where nothing proves an index.
    """

    event: MeteringPointEvent
    key_index: int | None
    is_measured: bool


def patiently(call: Callable[[], T], pauses_s: Iterable[float] = _PAUSES_S) -> T:
    """Call a peer, and again after each of these pauses where it is out of reach.

    :raises PeerUnavailable: it still is.
    """
    for pause_s in pauses_s:
        try:
            return call()
        except PeerUnavailable:
            interruptible_sleep(pause_s)
    return call()


@dataclass(frozen=True)
class ForgottenPoints:
    """Finds metering points and issued GGOs that a restored database lacks."""

    datahub: DataHubClient
    user_tokens: UserTokens
    outbox: Outbox
    sealer: Sealer
    database: Database
    back_fill: BackFill

    def recover_points(self, user_id: int, report: Report) -> list[tuple[str, int]]:
        """Add the points of this user that the database forgot; in a dry run, only report them.

        :returns: gsrn and key index of those that were found, and have one.
        :raises PeerUnavailable: DataHub or Hydra is out of reach.
        """
        owner, master = self._owner(user_id)
        try:
            known = patiently(
                lambda: self.user_tokens.with_user_token(user_id, self.datahub.metering_points)
            )
            events = [MeteringPointEvent(each.gsrn, each.type, each.sector) for each in known.valid]
            learnt = self._learn(owner, master, events)
        except (TokensSpent, PeerMisbehaved, PeerUnauthorized) as error:
            report.add("not_asked", subject=owner.subject, reason=str(error))
            return []
        if not report.is_dry:
            self._add_proven(owner, learnt)
            unproven = [each.event for each in learnt if each.key_index is None]
            with self.outbox.transaction() as session:
                metering_points.store(session, self.sealer, owner, unproven)
        indexes = self._indexes(learnt)
        for each in learnt:
            _tell(report, owner, each, indexes.get(each.event.gsrn))
        proven = {each.event.gsrn: each.key_index for each in learnt if each.key_index is not None}
        return list((proven | indexes).items())

    def keep_proven_indexes(self, user_id: int, events: Sequence[MeteringPointEvent]) -> None:
        """Where the account is older than a recovery: add those of its points that the database forgot.

        For a user who had to log in again before DataHub could be asked: their points must not get keys
        other than those that DataHub has.

        :raises TokensSpent: the user must log in again.
        :raises PeerError: DataHub is out of reach, or answers what it shouldn't.
        """
        with self.database.reading() as session:
            if not was_before_a_recovery(session, user_id):
                return
        owner, master = self._owner(user_id)
        self._add_proven(owner, self._learn(owner, master, events))

    def _owner(self, user_id: int) -> tuple[Owner, ExtendedKey]:
        """:raises CannotUnseal: the user's key isn't ours to open."""
        with self.database.reading() as session:
            user = session.get_one(User, user_id)
            owner = Owner(user.id, user.subject, user.master_key, user.disabled_at is None)
        opened = self.sealer.open(owner.sealed_master_key, master_key_context(owner.subject))
        return owner, ExtendedKey.from_base58(opened)

    def _learn(
        self, owner: Owner, master: ExtendedKey, events: Sequence[MeteringPointEvent]
    ) -> list[Learnt]:
        """Which of these are nobody's here, each with the index that DataHub's addresses prove."""
        with self.database.reading() as session:
            gsrns = [event.gsrn for event in events]
            known = set(
                session.scalars(select(MeteringPoint.gsrn).where(MeteringPoint.gsrn.in_(gsrns)))
            )
            used = set(
                session.scalars(
                    select(MeteringPoint.key_index).where(MeteringPoint.user_id == owner.id)
                )
            )
            counter = session.scalars(
                select(User.next_metering_point_index).where(User.id == owner.id)
            ).one()
        learnt = []
        for event in {event.gsrn: event for event in events if event.gsrn not in known}.values():
            sample = self._sample(owner, event)
            index = None
            if sample is not None:
                index = _proven(master, sample, used, counter)
            if index is not None:
                used.add(index)
            learnt.append(Learnt(event, index, sample is not None))
        return learnt

    def _sample(
        self, owner: Owner, event: MeteringPointEvent
    ) -> tuple[AddressKind, datetime, str] | None:
        """An address that DataHub has derived for this point, and the begin of its period."""

        def ask(token: str) -> tuple[AddressKind, datetime, str] | None:
            found = self.datahub.any_measurement(token, event.gsrn)
            if found is not None:
                return AddressKind.MEASUREMENT, found.begin, found.address
            if event.type != "production":
                return None
            issued = self.datahub.ggos(token, event.gsrn, FIRST_BEGIN, PAST_LAST_BEGIN)
            if issued.invalid and not issued.valid:
                raise PeerMisbehaved("DataHubService", issued.invalid[0])
            first = next(iter(issued.valid), None)
            return None if first is None else (AddressKind.GGO, first.begin, first.address)

        return patiently(lambda: self.user_tokens.with_user_token(owner.id, ask))

    def _add_proven(self, owner: Owner, learnt: Sequence[Learnt]) -> None:
        """Add those whose index is proven: DataHub has their keys."""
        proven = [each for each in learnt if each.key_index is not None]
        if not proven:
            return
        with self.outbox.transaction() as session:
            lock_user(session, owner.id)
            rows = [
                {
                    "user_id": owner.id,
                    "gsrn": each.event.gsrn,
                    "type": each.event.type,
                    "sector": each.event.sector,
                    "key_index": each.key_index,
                    "key_sent_at": func.now(),
                }
                for each in proven
            ]
            session.execute(insert(MeteringPoint).values(rows).on_conflict_do_nothing())
            beyond = max(each.key_index or 0 for each in proven) + 1
            session.execute(
                update(User)
                .where(User.id == owner.id, User.next_metering_point_index < beyond)
                .values(next_metering_point_index=beyond)
            )
            _fetch_later(session, owner, [each.event.gsrn for each in proven])
            apply_ggos(session, self.sealer, owner)

    def _indexes(self, learnt: Sequence[Learnt]) -> dict[str, int]:
        gsrns = [each.event.gsrn for each in learnt]
        with self.database.reading() as session:
            rows = session.execute(
                select(MeteringPoint.gsrn, MeteringPoint.key_index).where(
                    MeteringPoint.gsrn.in_(gsrns)
                )
            )
            return {row.gsrn: row.key_index for row in rows}

    def fetch_issued(self, metering_point_id: int, since: datetime) -> None:
        """Make GGOs of all that was issued to this point, as `fetched_ggos.fetch` does.

        :raises TokensSpent: its owner must log in again.
        :raises PeerError: DataHub is out of reach, or answers what it shouldn't.
        """
        months = self.back_fill.busy_months(metering_point_id, since)
        begin: datetime | None = since
        while begin is not None:
            end = end_of_stretch(begin, utcnow(), months=months, hours=None)
            begin = patiently(partial(self.back_fill.fetch, metering_point_id, begin, end))

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

            found = patiently(partial(self.user_tokens.with_user_token, user_id, ask))
            with self.database.reading() as session:
                known = addresses_here(session, [ggo.address for ggo in found.valid])
            yield from (ggo for ggo in found.valid if ggo.address not in known)


def _proven(
    master: ExtendedKey, sample: tuple[AddressKind, datetime, str], used: set[int], counter: int
) -> int | None:
    kind, begin, address = sample
    try:
        candidates = _politely(point_candidates(used, counter, reach=REACH, margin=MARGIN))
        return proven_index(master, kind, begin, address, candidates)
    except IndexOutOfRange:
        return None


def _politely(candidates: Iterable[int]) -> Iterator[int]:
    """Let others of this process go between: there may be a hundred thousand."""
    for place, candidate in enumerate(candidates):
        if place % 20 == 0:
            time.sleep(0)
        yield candidate


def _fetch_later(session: Session, owner: Owner, gsrns: Sequence[str]) -> None:
    """Have a worker fetch what was issued to those that produce, should nobody do it before."""
    if owner.is_active:
        producing = select(MeteringPoint.id).where(
            MeteringPoint.gsrn.in_(gsrns), MeteringPoint.type == "production"
        )
        enqueue_points(session, owner.id, "fetch_ggos", session.scalars(producing).all())


def _tell(report: Report, owner: Owner, learnt: Learnt, index: int | None) -> None:
    proof = "proven" if learnt.key_index is not None else "nothing is measured yet: a fresh key"
    if learnt.key_index is None and learnt.is_measured:
        proof = "DataHub has a key for it that isn't ours"
        what = f"metering point {learnt.event.gsrn}: {proof}"
        report.add("differing", address=learnt.event.gsrn, what=what)
    report.add(
        "points",
        subject=owner.subject,
        gsrn=learnt.event.gsrn,
        key_index=learnt.key_index if index is None else index,
        proof=proof,
    )


def _stretches(since: datetime) -> Iterator[tuple[datetime, datetime]]:
    begin = since
    while begin < PAST_LAST_BEGIN:
        end = end_of_stretch(begin, utcnow(), months=None, hours=None)
        yield begin, end
        begin = end
