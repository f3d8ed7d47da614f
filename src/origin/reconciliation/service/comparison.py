"""Compares single GGOs of a page with the ledger's state."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Row

from origin.batches.client.ledger import LedgerClient
from origin.batches.queries.differences import GgoDifference
from origin.batches.rules.differences import (
    SPENT_ON_LEDGER_ALONE,
    Difference,
    DifferenceKind,
    spent_elsewhere,
)
from origin.batches.rules.ledger_state import (
    LedgerGgo,
    LedgerSettlement,
    settlement_address_or_text,
)
from origin.batches.service.redo import BatchRedo
from origin.batches.service.sign import Keys, load_keys
from origin.db.engine import Database
from origin.db.sqlstates import affects_all_work
from origin.errors import PeerError, PeerUnavailable
from origin.keys.derivation import AddressKind, IndexOutOfRange
from origin.keys.sealing import Sealer
from origin.reconciliation.queries import GgoPage, read_page
from origin.reconciliation.rules import Holding, differences
from origin.shared.deadlines import interruptible_sleep

T = TypeVar("T")

log = logging.getLogger(__name__)


class PacedLedger:
    """Reads the ledger's state (`LedgerState`), at most so many times a second."""

    def __init__(self, ledger: LedgerClient, calls_per_second: float) -> None:
        self._ledger = ledger
        self._interval_s = 1 / calls_per_second
        self._next_at = time.monotonic() + self._interval_s

    def read_ggo(self, address: str) -> LedgerGgo | None:
        """As `LedgerClient.read_ggo`."""
        return self._ask(self._ledger.read_ggo, address)

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        """As `LedgerClient.read_settlement`."""
        return self._ask(self._ledger.read_settlement, address)

    def _ask(self, read: Callable[[str], T], address: str) -> T:
        # The interval counts from the start of the last call, so that a slow ledger does not slow the
        # run down twice.
        interruptible_sleep(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + self._interval_s
        return read(address)


class PageComparison:
    """Compares the GGOs of a page, one by one. Reads the page when it is made."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        batch_redo: BatchRedo,
        ledger: PacedLedger,
        ids: Sequence[int],
    ) -> None:
        self._database, self._sealer = database, sealer
        self._batch_redo, self._ledger = batch_redo, ledger
        self._page, self._keys = self._read(ids)
        self._by_id = {ggo.id: ggo for ggo in self._page.ggos}

    def _read(self, ids: Sequence[int]) -> tuple[GgoPage, Keys]:
        """Read these GGOs, and the keys that spend them."""
        with self._database.transaction() as session:
            page = read_page(session, ids)
            owners = {ggo.owner_id for ggo in page.ggos}
            return page, load_keys(session, self._sealer, owners, page.ggos)

    def compare(self, ggo_id: int) -> list[GgoDifference] | None:
        """Return the differences of this GGO; None: it is changing, and can't be compared now.

        If a declined batch of it stands on the ledger, that batch is done again.

        :raises PeerUnavailable: the ledger can't be asked now.
        """
        ggo = self._by_id.get(ggo_id)
        if ggo is None or ggo_id in self._page.in_flight:
            return None
        holding = _holding(ggo, self._page, self._keys)
        found = self._differences(holding)
        if found and self._has_changed(holding):
            return None
        if any(each.kind in SPENT_ON_LEDGER_ALONE for each in found) and self._redo(holding):
            found = [each for each in found if each.kind not in SPENT_ON_LEDGER_ALONE]
        return [GgoDifference(holding.id, holding.address, each) for each in found]

    def _differences(self, holding: Holding) -> list[Difference]:
        if holding.never_sent:
            # The ledger can't have it: asking would only delay the comparison of others.
            return differences(holding, None, None)
        try:
            on_ledger = self._ledger.read_ggo(holding.address)
            settlement = None
            if holding.settlement is not None:
                settlement = self._ledger.read_settlement(holding.settlement)
        except PeerUnavailable:
            raise
        except PeerError as error:
            blocked = [spent_elsewhere(None)] if holding.spent_elsewhere else []
            return [*blocked, Difference(DifferenceKind.UNREADABLE, str(error))]
        return differences(holding, on_ledger, settlement)

    def _has_changed(self, holding: Holding) -> bool:
        """Whether the GGO has changed in the database since it was read."""
        page, keys = self._read([holding.id])
        if not page.ggos or holding.id in page.in_flight:
            return True
        return _holding(page.ggos[0], page, keys) != holding

    def _redo(self, holding: Holding) -> bool:
        """If a declined batch of this GGO stands on the ledger, do it again; return whether one was."""
        try:
            on_ledger = self._ledger.read_ggo(holding.address)
            return self._batch_redo.redo_if_standing(holding.id, on_ledger, self._ledger)
        except PeerUnavailable:
            raise
        except PeerError:
            # The next run reads it again.
            return False
        except Exception as error:
            if affects_all_work(error):
                raise
            # One batch that can't be done again does not stop the run.
            log.exception(
                "A declined batch can't be done again",
                extra={"event": "reconcile.cannot_redo", "ggo_id": holding.id},
            )
            return False


def _holding(ggo: Row[Any], page: GgoPage, keys: Keys) -> Holding:
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
        parts=page.parts.get(ggo.id, {}),
        parent_address=page.parents.get(ggo.parent_id),
        settlement=settlement_address_or_text(retired_to) if retired_to else None,
        retired_alongside=page.retired.get(retired_to, {}) if retired_to else {},
        # A GGO that was issued to a wrong address was reported then, and can't be spent.
        key_holds=ggo.key_mismatch or _key_holds(ggo, keys),
        never_sent=ggo.never_sent,
    )


def _key_holds(ggo: Row[Any], keys: Keys) -> bool:
    """Whether the owner's keys give the GGO's address."""
    if ggo.owner_id not in keys.masters:
        # The master key can't be unsealed, which was logged: that says nothing of the address.
        return True
    try:
        return bool(keys.of_ggo(ggo).address(AddressKind.GGO) == ggo.address)
    except (KeyError, IndexOutOfRange):
        # Issued to a metering point that isn't the owner's, or in a period that has no key.
        return False
