"""Finds the owners of addresses that only the ledger knows, by deriving the users' addresses."""

import logging
from collections.abc import Iterable, Iterator, Sequence

from origin.keys.derivation import AddressKind, IndexOutOfRange, PublicBranchKey
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.keys.sealing import CannotUnseal
from origin.recovery.queries.progress import KeyOwner
from origin.recovery.rules import AddressOwner, TradeIndexSearch
from origin.recovery.service.report import Report, ShowProgress

WINDOW = 200
"""So many indexes of one user are derived before the next user's."""

log = logging.getLogger(__name__)


class OwnerSearch:
    """Finds the owner and the key index of GGOs' addresses.

    Each index costs one derivation (60 to 100 µs). The search ends as soon as all addresses are
    found. An address of no user costs, for every user, all indexes up to `reach` beyond the counter.

    :param key_owners: All users, with the counters that the restored database had.
    """

    def __init__(
        self,
        public_branch_keys: PublicBranchKeys,
        key_owners: Sequence[KeyOwner],
        report: Report,
        show_progress: ShowProgress,
        *,
        reach: int,
        margin: int,
    ) -> None:
        self._public_branch_keys = public_branch_keys
        self._key_owners = {each.id: each for each in key_owners}
        self._report, self._show_progress = report, show_progress
        self._reach, self._margin = reach, margin
        self.highest: dict[int, int] = {}
        """The highest k that was found, by user id."""

    def find(self, wanted: Iterable[str], first: Iterable[int]) -> dict[str, AddressOwner]:
        """Return the owners of these addresses, as far as they are found.

        :param first: The users to search first.
        """
        left, found = set(wanted), dict[str, AddressOwner]()
        likely = dict.fromkeys(each for each in first if each in self._key_owners)
        searches = [
            self._search(each) for each in [*likely, *(self._key_owners.keys() - likely.keys())]
        ]
        total = len(left)
        while left and searches:
            unfinished = []
            for owner_id, search in searches:
                if not left:
                    break
                if not self._try_window(owner_id, search, left, found):
                    continue
                unfinished.append((owner_id, search))
                self._show_progress("Looking for owners of addresses", len(found), total)
            searches = unfinished
        return found

    def _search(self, owner_id: int) -> tuple[int, TradeIndexSearch]:
        key_owner = self._key_owners[owner_id]
        search = TradeIndexSearch(
            key_owner.known,
            key_owner.next_trade_index,
            reach=self._reach,
            margin=self._margin,
            window=WINDOW,
        )
        if owner_id in self.highest:
            search.matched(self.highest[owner_id])
        return owner_id, search

    def _try_window(
        self,
        owner_id: int,
        search: TradeIndexSearch,
        left: set[str],
        found: dict[str, AddressOwner],
    ) -> bool:
        """Derive this user's next indexes; return False if there are no more."""
        window = search.next_window()
        if window is None:
            return False
        for address, key_index in self._addresses(self._key_owners[owner_id], window):
            if address in left:
                left.discard(address)
                found[address] = AddressOwner(owner_id, key_index)
                search.matched(key_index)
                self.highest[owner_id] = max(self.highest.get(owner_id, 0), key_index)
        return owner_id in self._key_owners

    def _addresses(self, key_owner: KeyOwner, window: range) -> Iterator[tuple[str, int]]:
        try:
            branch: PublicBranchKey = self._public_branch_keys.trade(
                key_owner.subject, key_owner.sealed_master_key
            )
            for key_index in window:
                yield branch.address(key_index, AddressKind.GGO), key_index
        except CannotUnseal as error:
            log.error("No master key: %s", error, extra={"event": "user.no_key"})  # noqa: TRY400 - the message has the reason
            self._report.add("not_asked", subject=key_owner.subject, reason=str(error))
            del self._key_owners[key_owner.id]
        except IndexOutOfRange:
            # The last index there is.
            return
