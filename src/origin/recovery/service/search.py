"""Whose the addresses are that only the ledger knows: derived from the users' public halves."""

import logging
from collections.abc import Iterable, Iterator, Sequence

from origin.keys.derivation import AddressKind, IndexOutOfRange, PublicBranchKey
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.keys.sealing import CannotUnseal
from origin.recovery.queries.progress import Keeper
from origin.recovery.rules import Holder, Trail
from origin.recovery.service.report import Report, Tell

WINDOW = 200
"""Indexes of one user that are derived before the next user's turn."""

log = logging.getLogger(__name__)


class Search:
    """Finds the owner and index of GGOs' addresses.

    What it costs: one derivation (60 to 100 µs) an index. It ends as soon as all are found; addresses of
    nobody make it derive, for every user, all indexes up to `reach` beyond the counter.

    :param keepers: All users, with the counters that the restored database had.
    """

    def __init__(
        self,
        public_branch_keys: PublicBranchKeys,
        keepers: Sequence[Keeper],
        report: Report,
        tell: Tell,
        *,
        reach: int,
        margin: int,
    ) -> None:
        self._public_branch_keys = public_branch_keys
        self._keepers = {keeper.id: keeper for keeper in keepers}
        self._report, self._tell = report, tell
        self._reach, self._margin = reach, margin
        self.highest: dict[int, int] = {}
        """The highest k that was found, by user id."""

    def find(self, wanted: Iterable[str], first: Iterable[int]) -> dict[str, Holder]:
        """Whose these addresses are, as far as they are anybody's.

        :param first: Users whose they probably are.
        """
        left, found = set(wanted), dict[str, Holder]()
        likely = dict.fromkeys(each for each in first if each in self._keepers)
        turns = [self._trail(each) for each in [*likely, *(self._keepers.keys() - likely.keys())]]
        total = len(left)
        while left and turns:
            following = []
            for owner_id, trail in turns:
                if not left:
                    break
                if not self._look(owner_id, trail, left, found):
                    continue
                following.append((owner_id, trail))
                self._tell("Looking for owners of addresses", len(found), total)
            turns = following
        return found

    def _trail(self, owner_id: int) -> tuple[int, Trail]:
        keeper = self._keepers[owner_id]
        trail = Trail(
            keeper.known,
            keeper.next_trade_index,
            reach=self._reach,
            margin=self._margin,
            window=WINDOW,
        )
        if owner_id in self.highest:
            trail.matched(self.highest[owner_id])
        return owner_id, trail

    def _look(self, owner_id: int, trail: Trail, left: set[str], found: dict[str, Holder]) -> bool:
        """Derive this user's next window; False where there is none."""
        window = trail.window()
        if window is None:
            return False
        for address, key_index in self._addresses(self._keepers[owner_id], window):
            if address in left:
                left.discard(address)
                found[address] = Holder(owner_id, key_index)
                trail.matched(key_index)
                self.highest[owner_id] = max(self.highest.get(owner_id, 0), key_index)
        return owner_id in self._keepers

    def _addresses(self, keeper: Keeper, window: range) -> Iterator[tuple[str, int]]:
        try:
            branch: PublicBranchKey = self._public_branch_keys.trade(
                keeper.subject, keeper.sealed_master_key
            )
            for key_index in window:
                yield branch.address(key_index, AddressKind.GGO), key_index
        except CannotUnseal as error:
            log.error("No master key: %s", error, extra={"event": "user.no_key"})  # noqa: TRY400 - told
            self._report.add("not_asked", subject=keeper.subject, reason=str(error))
            del self._keepers[keeper.id]
        except IndexOutOfRange:
            # The last index there is.
            return
