"""Compares what is here with the ledger's state, a slice at a time, and keeps what differs.

A walk goes through the GGOs by id; how far it has come is in the database, and whoever comes next
goes on from there. A GGO that a batch under way concerns is left to the batch; one whose row has
changed while the ledger was asked is left to the next walk. Nothing is changed but the report, and
a declined batch that the ledger turns out to have is done again (`origin.batches.service.redo`); for the
rest see `origin.reconciliation.service.repair`.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Row, func, select

from origin.batches.client.ledger import LedgerClient
from origin.batches.queries import differences as difference_queries
from origin.batches.queries.differences import GgoDifference
from origin.batches.queries.stuck import list_stuck
from origin.batches.rules.differences import (
    SPENT_ON_LEDGER_ALONE,
    Difference,
    DifferenceKind,
    spent_elsewhere,
)
from origin.batches.rules.ledger_state import LedgerGgo, LedgerSettlement
from origin.batches.rules.standing import settlement_address_of
from origin.batches.service.redo import BatchRedo
from origin.batches.service.sign import Keys, load_keys
from origin.db.engine import Database
from origin.db.models import Ggo, LedgerDifference, LedgerWalk
from origin.db.sqlstates import is_everywhere
from origin.errors import PeerError, PeerUnavailable
from origin.keys.derivation import AddressKind, IndexOutOfRange
from origin.keys.sealing import Sealer
from origin.reconciliation import queries
from origin.reconciliation.queries import Slice, Turn
from origin.reconciliation.rules import Holding, differences
from origin.settings import Settings
from origin.shared.deadlines import Deadline, pause

CALLS_PER_SECOND = 50.0
"""Calls of `/state` that a walk makes at most, unless told otherwise."""
_SLICE = 50
_SWEEP_S = 300.0
"""How long Beat's share of a walk goes on, or half of the time until the next one, if longer."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class AnotherWalks(PeerError):
    """Another process compares at this moment."""

    def __init__(self) -> None:
        super().__init__("Reconciliation", "another process walks at this moment; try again later")


@dataclass(frozen=True)
class Progress:
    """How far a walk has come: `done` GGOs of about `total`; whether it is at its end."""

    done: int
    total: int
    finished: bool = False


@dataclass(frozen=True)
class Reconciliation:
    """Compares the database with the ledger."""

    settings: Settings
    database: Database
    batch_redo: BatchRedo
    ledger: LedgerClient
    sealer: Sealer

    def reconcile_slice(self) -> int:
        """Walk on for Beat's share of the time.

        :returns: how many GGOs were passed. A ledger out of reach ends it early, with a warning.
        """
        if not self.settings.ledger_enabled:
            return 0
        deadline = Deadline(max(_SWEEP_S, self.settings.reconcile_interval / 2))
        done = 0
        try:
            for progress in self.walk():
                done = progress.done
                if deadline.is_over():
                    break
        except PeerError as error:
            log.warning("Reconciliation stops: %s", error, extra={"event": "reconcile.stopped"})
        return done

    def walk(
        self, *, anew: bool = False, calls_per_second: float = CALLS_PER_SECOND
    ) -> Iterator[Progress]:
        """Go on with the walk under way, or begin one, to its end; stop whenever you like.

        :param anew: Begin at the first GGO in any case.
        :raises AnotherWalks: another process does.
        :raises PeerUnavailable: the ledger can't be asked now, or is switched off; what was compared
            is kept.
        """
        if not self.settings.ledger_enabled:
            raise PeerUnavailable("Ledger", "it is switched off (LEDGER_ENABLED=0)")
        lease_s = self.settings.lease_seconds
        with self.database.transaction() as session:
            turn = queries.take_turn(session, lease_s=lease_s, anew=anew)
            if turn is None:
                raise AnotherWalks
            total = session.scalar(select(func.count(Ggo.id)).where(Ggo.id > turn.cursor)) or 0
        done = 0
        try:
            while True:
                with self.database.reading() as session:
                    ids = queries.next_ids(session, turn.cursor, _SLICE)
                if not ids:
                    self._finish(turn)
                    yield Progress(done, max(done, total), finished=True)
                    return
                deadline = Deadline(lease_s / 2)
                following, passed = self._compare(turn, ids, deadline, calls_per_second)
                if following is None:
                    raise AnotherWalks
                turn = following
                if not passed:
                    # This process was asked to end.
                    return
                done += passed
                yield Progress(done, max(done, total))
        finally:
            with self.database.transaction() as session:
                queries.save_turn(session, turn, cursor=turn.cursor, compared=0, lease_s=0)

    def _compare(
        self, turn: Turn, ids: Sequence[int], deadline: Deadline, calls_per_second: float
    ) -> tuple[Turn | None, int]:
        """Compare these GGOs, as many as the time allows, and keep what was found."""
        found: list[GgoDifference] = []
        kept: set[int] = set()
        cursor, error = turn.cursor, None
        look = _Look(self, ids, calls_per_second)
        for ggo_id in ids:
            if deadline.is_over():
                break
            try:
                differing = look.at(ggo_id)
            except PeerUnavailable as unavailable:
                error = unavailable
                break
            cursor = ggo_id
            if differing is None:
                kept.add(ggo_id)
            else:
                found += differing
        compared = sum(each <= cursor for each in ids)
        with self.database.transaction() as session:
            following = queries.save_turn(
                session,
                turn,
                cursor=cursor,
                compared=compared,
                lease_s=0 if error else self.settings.lease_seconds,
                error=str(error) if error else None,
            )
            if following is not None:
                difference_queries.resolve_differences(
                    session, turn.cursor, cursor, kept=kept, found=found
                )
                difference_queries.store_differences(session, found)
        _tell(found)
        if error is not None:
            raise error
        return following, compared

    def _finish(self, turn: Turn) -> None:
        """Look for stuck batches, and end the walk."""
        resubmit_after_s = self.settings.batch_resubmit_after
        with self.database.transaction() as session:
            found = [
                GgoDifference(
                    batch.ggo_id,
                    batch.address,
                    Difference(
                        DifferenceKind.STUCK_BATCH,
                        f"{batch.state} since {batch.created_at.isoformat()}",
                    ),
                    batch.id,
                )
                for batch in list_stuck(session, resubmit_after_s)
            ]
            difference_queries.resolve_stuck_batches(session, found)
            # What stood beyond the last GGO there is now: those GGOs are gone.
            difference_queries.resolve_differences(
                session, turn.cursor, 2**63 - 1, kept=(), found=()
            )
            difference_queries.store_differences(session, found)
            queries.save_turn(
                session, turn, cursor=turn.cursor, compared=0, lease_s=0, finished=True
            )
        _tell(found)

    def read(self, ids: Sequence[int]) -> tuple[Slice, Keys]:
        """Read these GGOs as the database has them, and the keys that spend them."""
        with self.database.transaction() as session:
            rows = queries.read_slice(session, ids)
            owners = {ggo.owner_id for ggo in rows.ggos}
            return rows, load_keys(session, self.sealer, owners, rows.ggos)

    def report(self) -> list[LedgerDifference]:
        """What differs, as far as is known, oldest first."""
        with self.database.reading() as session:
            return difference_queries.open_differences(session)

    def last_walks(self) -> list[LedgerWalk]:
        """The latest walks, the newest first."""
        with self.database.reading() as session:
            return queries.last_walks(session)

    def look_again(self, *, calls_per_second: float = CALLS_PER_SECOND) -> None:
        """Look once more at what differs: what was mended is closed.

        :raises PeerUnavailable: the ledger can't be asked now.
        """
        open_ids = sorted({each.ggo_id for each in self.report()})
        look = _Look(self, open_ids, calls_per_second)
        for ggo_id in open_ids:
            found = look.at(ggo_id)
            if found is None:
                continue
            with self.database.transaction() as session:
                difference_queries.resolve_differences(
                    session, ggo_id - 1, ggo_id, kept=(), found=found
                )
                difference_queries.store_differences(session, found)


def _tell(found: Sequence[GgoDifference]) -> None:
    for each in found:
        log.error(
            "Here and the ledger differ: %s",
            each.difference.detail,
            extra={
                "event": "reconcile.difference",
                "kind": each.difference.kind.value,
                "ggo_id": each.ggo_id,
                "address": each.address,
                "batch_id": each.batch_id,
            },
        )


class _Look:
    """Looks at the GGOs of a slice, one by one."""

    def __init__(
        self, service: Reconciliation, ids: Sequence[int], calls_per_second: float
    ) -> None:
        self._service = service
        self._pause_s = 1 / calls_per_second
        self._next_at = time.monotonic() + self._pause_s
        self._rows, self._keys = self._service.read(ids)
        self._by_id = {ggo.id: ggo for ggo in self._rows.ggos}

    def at(self, ggo_id: int) -> list[GgoDifference] | None:
        """What differs of this GGO; None where that can't be told now: it is changing.

        A declined batch of it that stands on the ledger is done again.

        :raises PeerUnavailable: the ledger can't be asked now.
        """
        before = self._holding(ggo_id)
        if before is None:
            return None
        differing = self._differences(before)
        if differing and self._changed(ggo_id, before):
            return None
        if any(each.kind in SPENT_ON_LEDGER_ALONE for each in differing) and self._done_again(
            before
        ):
            differing = [each for each in differing if each.kind not in SPENT_ON_LEDGER_ALONE]
        return [GgoDifference(before.id, before.address, each) for each in differing]

    def _done_again(self, holding: Holding) -> bool:
        try:
            record = self.read_ggo(holding.address)
            return self._service.batch_redo.redo_if_standing(holding.id, record, self)
        except PeerUnavailable:
            raise
        except PeerError:
            # What can't be read now is looked at in the next walk.
            return False
        except Exception as error:
            if is_everywhere(error):
                raise
            # One that can't be done again, whatever is wrong with it, stops no walk.
            log.exception(
                "A declined batch can't be done again",
                extra={"event": "reconcile.cannot_redo", "ggo_id": holding.id},
            )
            return False

    def _holding(self, ggo_id: int) -> Holding | None:
        ggo = self._by_id.get(ggo_id)
        if ggo is None or ggo_id in self._rows.in_flight:
            return None
        return _holding(ggo, self._rows, self._keys)

    def _changed(self, ggo_id: int, before: Holding) -> bool:
        """Whether the row isn't as it was: then it is the older of the two that was compared."""
        rows, keys = self._service.read([ggo_id])
        if not rows.ggos or ggo_id in rows.in_flight:
            return True
        return _holding(rows.ggos[0], rows, keys) != before

    def _differences(self, holding: Holding) -> list[Difference]:
        try:
            record = self.read_ggo(holding.address)
            settlement = None
            if holding.settlement is not None:
                settlement = self.read_settlement(holding.settlement)
        except PeerUnavailable:
            raise
        except PeerError as error:
            blocked = [spent_elsewhere(None)] if holding.spent_elsewhere else []
            return [*blocked, Difference(DifferenceKind.UNREADABLE, str(error))]
        return differences(holding, record, settlement)

    def read_ggo(self, address: str) -> LedgerGgo | None:
        """Ask the ledger, not faster than `calls_per_second`."""
        return self._ask(self._service.ledger.read_ggo, address)

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        """Ask the ledger, not faster than `calls_per_second`."""
        return self._ask(self._service.ledger.read_settlement, address)

    def _ask(self, question: Callable[[str], T], address: str) -> T:
        # What the last call took counts: a slow ledger is not asked more slowly still.
        pause(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + self._pause_s
        return question(address)


def _holding(ggo: Row[Any], rows: Slice, keys: Keys) -> Holding:
    retired_to = ggo.retire_address if ggo.retired else None
    return Holding(
        id=ggo.id,
        address=ggo.address,
        amount=ggo.amount,
        begin=ggo.begin,
        end=ggo.end,
        sector=ggo.sector,
        technology_code=ggo.technology_code,
        fuel_code=ggo.fuel_code,
        stored=ggo.stored,
        retired=ggo.retired,
        locked=ggo.locked,
        spent_elsewhere=ggo.spent_elsewhere,
        parts=rows.parts.get(ggo.id, {}),
        parent_address=rows.parents.get(ggo.parent_id),
        settlement=settlement_address_of(retired_to) if retired_to else None,
        retired_alongside=rows.retired.get(retired_to, {}) if retired_to else {},
        # One that was issued to a wrong address was told of then, and can't be spent.
        key_holds=ggo.key_mismatch or _key_holds(ggo, keys),
        never_sent=ggo.never_sent,
    )


def _key_holds(ggo: Row[Any], keys: Keys) -> bool:
    if ggo.owner_id not in keys.masters:
        # It can't be opened, which was logged: that says nothing of the address.
        return True
    try:
        return bool(keys.of_ggo(ggo).address(AddressKind.GGO) == ggo.address)
    except (KeyError, IndexOutOfRange):
        # Issued to a metering point that isn't the owner's, or in a period that has no key.
        return False
