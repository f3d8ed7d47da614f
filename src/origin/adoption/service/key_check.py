"""Finds GGOs at addresses that their owner's keys don't give: the ledger would refuse to spend them."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class

from origin.adoption.queries import staged_rows
from origin.adoption.queries.connections import transaction
from origin.adoption.queries.staged_rows import StagedGgo, StagedOwner
from origin.adoption.queries.tables import Progress, progress_of, save_progress
from origin.adoption.service.staging import ShowProgress
from origin.keys.derivation import AddressKind, IndexOutOfRange, issued_ggo_address
from origin.keys.public_branch_keys import CACHE_SIZE, PublicBranchKeys

OWNERS_AT_ONCE = min(1000, CACHE_SIZE)
_GGOS_AT_ONCE = 10_000
_STEP = "key check"


@dataclass(frozen=True)
class KeyCheck:
    """Compares each adoptable GGO's address with its owner's keys."""

    target: DriverConnection
    public_branch_keys: PublicBranchKeys
    show_progress: ShowProgress

    def run(self) -> None:
        """Check the GGOs of all users that are left, and note those that don't match."""
        with transaction(self.target) as cursor:
            progress = progress_of(cursor, _STEP) or Progress(None, 0, is_done=False)
            total = staged_rows.count_adoptable_ggos(cursor)
        while not progress.is_done:
            progress = self._check_next(progress, total)
            self.show_progress("Checking addresses", progress.rows, total)

    def _check_next(self, before: Progress, total: int) -> Progress:
        """Check the GGOs of the next users, in one transaction."""
        after = -(2**63) if before.cursor is None else before.cursor
        with transaction(self.target) as cursor:
            owners = staged_rows.owners_after(cursor, after, OWNERS_AT_ONCE)
            by_id = {owner.id: owner for owner in owners}
            wrong: list[int] = []
            checked = before.rows
            for ggo in staged_rows.ggos_of(cursor, list(by_id)):
                if self._address(by_id[ggo.owner_id], ggo) != ggo.address:
                    wrong.append(ggo.id)
                checked += 1
                if checked % _GGOS_AT_ONCE == 0:
                    # Written at once, so that memory stays flat if many don't match.
                    staged_rows.add_mismatches(cursor, wrong)
                    wrong = []
                    self.show_progress("Checking addresses", checked, total)
            staged_rows.add_mismatches(cursor, wrong)
            last = _last_id(owners, before)
            progress = Progress(last, checked, is_done=len(owners) < OWNERS_AT_ONCE)
            save_progress(cursor, _STEP, progress)
        return progress

    def _address(self, owner: StagedOwner, ggo: StagedGgo) -> str | None:
        """Return the address that the owner's keys give; None: they give none."""
        keys, sealed = self.public_branch_keys, owner.master_key
        try:
            if ggo.key_index is not None:
                branch = keys.trade(owner.subject, sealed)
                return branch.address(ggo.key_index, AddressKind.GGO)
            if ggo.point_index is None:
                return None
            point = keys.metering_point(owner.subject, sealed, ggo.point_index)
            return issued_ggo_address(point, ggo.begin)
        except IndexOutOfRange:
            return None


def _last_id(owners: Sequence[StagedOwner], before: Progress) -> int | None:
    return owners[-1].id if owners else before.cursor
