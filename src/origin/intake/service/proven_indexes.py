"""Add metering points that a restored database has forgotten, under the keys that DataHub has.

A forgotten point must not get a new key: DataHub has derived addresses from its old one. Those
addresses prove the old key's index (doc/operations/backup-and-restore.md).
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from origin.db.datahub_jobs import enqueue_points
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.errors import PeerMisbehaved
from origin.identity.service.tokens import UserTokens
from origin.intake.queries.metering_points import (
    add_points_of_known_index,
    is_older_than_a_recovery,
    points_with,
    used_indexes,
)
from origin.intake.queries.owners import Owner, owner_of
from origin.intake.rules.events import FIRST_BEGIN, PAST_LAST_BEGIN, MeteringPointEvent
from origin.intake.rules.key_indexes import (
    REACH,
    RECOVERY_MARGIN,
    point_candidates,
    proven_index,
)
from origin.intake.service.early_events import apply_ggos
from origin.intake.service.issued_ggos import IssuedGgos
from origin.keys.derivation import AddressKind, ExtendedKey, IndexOutOfRange
from origin.keys.sealing import Sealer, master_key_context
from origin.peers.datahub import DataHubClient
from origin.peers.retrying import retry_while_unavailable
from origin.webhooks.service.outbox import Outbox


@dataclass(frozen=True)
class ForgottenPoint:
    """A metering point that DataHub knows and the database doesn't.

    :ivar key_index: The i of `m/1/i` that DataHub's addresses prove; None: they prove none.
    :ivar is_measured: DataHub has addresses for it. If they prove no index, they come from a key
        that is not the user's.
    """

    event: MeteringPointEvent
    key_index: int | None
    is_measured: bool


@dataclass(frozen=True)
class _Sample:
    """An address that DataHub has derived for a metering point and the period from `begin`."""

    kind: AddressKind
    begin: datetime
    address: str


@dataclass(frozen=True)
class ProvenIndexes:
    """Finds forgotten metering points, and adds those whose key index is proven."""

    datahub: DataHubClient
    user_tokens: UserTokens
    outbox: Outbox
    sealer: Sealer
    database: Database
    issued_ggos: IssuedGgos

    def add_forgotten_points(self, user_id: int, events: Sequence[MeteringPointEvent]) -> None:
        """Add the user's forgotten points with proven indexes, if a recovery may have missed them.

        A recovery misses the points of users who must log in again before DataHub can be asked.
        Their next import calls this.

        :param events: The metering points that DataHub knows.
        :raises TokensSpent: The user must log in again.
        :raises PeerError: DataHub is out of reach, or breaks the contract.
        """
        with self.database.reading() as session:
            if not is_older_than_a_recovery(session, user_id):
                return
            owner = owner_of(session, user_id)
        self.add(owner, self.find(owner, self.master_key_of(owner), events))

    def master_key_of(self, owner: Owner) -> ExtendedKey:
        """Return the user's master key.

        :raises CannotUnseal: It is sealed with an unknown secret.
        """
        opened = self.sealer.open(owner.sealed_master_key, master_key_context(owner.subject))
        return ExtendedKey.from_base58(opened)

    def find(
        self, owner: Owner, master: ExtendedKey, events: Sequence[MeteringPointEvent]
    ) -> list[ForgottenPoint]:
        """Return those of these points that no user has, each with the index that is proven.

        :raises TokensSpent: The user must log in again.
        :raises PeerError: DataHub is out of reach, or breaks the contract.
        """
        wanted = {event.gsrn: event for event in events}
        with self.database.reading() as session:
            known = points_with(session, wanted)
            indexes = used_indexes(session, owner.id)
        used = indexes.used
        forgotten = []
        for event in (wanted[gsrn] for gsrn in wanted if gsrn not in known):
            sample = self._sample(owner, event)
            index = None if sample is None else _proven(master, sample, used, indexes.next)
            if index is not None:
                used.add(index)
            forgotten.append(ForgottenPoint(event, index, sample is not None))
        return forgotten

    def add(self, owner: Owner, forgotten: Sequence[ForgottenPoint]) -> None:
        """Add the points whose index is proven, and issue or fetch the GGOs issued to them."""
        proven = {each.key_index: each.event for each in forgotten if each.key_index is not None}
        if not proven:
            return
        with self.outbox.transaction() as session:
            lock_user(session, owner.id)
            producing = add_points_of_known_index(session, owner.id, proven)
            if owner.is_active:
                enqueue_points(session, owner.id, "fetch_ggos", producing)
            apply_ggos(session, self.issued_ggos, owner)

    def _sample(self, owner: Owner, event: MeteringPointEvent) -> _Sample | None:
        """Return an address that DataHub has derived for this point; None if there is none."""

        def ask(token: str) -> _Sample | None:
            found = self.datahub.any_measurement(token, event.gsrn)
            if found is not None:
                return _Sample(AddressKind.MEASUREMENT, found.begin, found.address)
            if event.type != "production":
                return None
            issued = self.datahub.ggos(token, event.gsrn, FIRST_BEGIN, PAST_LAST_BEGIN)
            if issued.invalid and not issued.valid:
                raise PeerMisbehaved("DataHubService", issued.invalid[0])
            first = next(iter(issued.valid), None)
            return None if first is None else _Sample(AddressKind.GGO, first.begin, first.address)

        return retry_while_unavailable(lambda: self.user_tokens.with_user_token(owner.id, ask))


def _proven(master: ExtendedKey, sample: _Sample, used: set[int], counter: int) -> int | None:
    """Return the index that the sample proves; None if none of this user's keys gives its address."""
    candidates = point_candidates(used, counter, reach=REACH, margin=RECOVERY_MARGIN)
    try:
        return proven_index(
            master, sample.kind, sample.begin, sample.address, _yielding(candidates)
        )
    except IndexOutOfRange:
        return None


def _yielding(candidates: Iterable[int]) -> Iterator[int]:
    """Yield the candidates, and let other greenlets run: there may be a hundred thousand."""
    for place, candidate in enumerate(candidates):
        if place % 20 == 0:
            time.sleep(0)
        yield candidate
