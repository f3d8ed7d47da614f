"""Find the key index of a metering point that a restored database has forgotten.

DataHub derives addresses from a point's key `m/1/i`. An address that matches proves the index i.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import chain

from origin.keys.derivation import METERING_POINT_BRANCH, AddressKind, ExtendedKey, period_index

RECOVERY_MARGIN = 100_000
"""By how much a recovery advances the counters of key indexes, by default.

Indexes that were handed out after the backup may still reach DataHub or the ledger.
"""
REACH = 1000
"""How many indexes beyond the highest known one of `m/1/i` the search tries."""
LOST_RECOVERIES = 3
"""How many earlier recoveries the search allows for whose traces a restore has removed."""


def point_candidates(
    used: Collection[int], counter: int, *, reach: int, margin: int
) -> Iterator[int]:
    """Yield the indexes i of `m/1/i` that a forgotten metering point may have, likeliest first.

    :param used: Indexes of the user's other points: no index is handed out twice.
    :param counter: The next index that the database would hand out.
    :param margin: By how much each of the earlier recoveries advanced the counter.
    """
    top = max(used, default=-1) + 1
    end = max(counter, top)
    jumps = (end + margin * number for number in range(LOST_RECOVERIES + 1))
    likely = [range(top, top + reach), *(range(start, start + reach) for start in jumps)]
    seen = set(used)
    for index in chain(*likely, range(end)):
        if index not in seen:
            seen.add(index)
            yield index


def proven_index(
    master: ExtendedKey, kind: AddressKind, begin: datetime, address: str, candidates: Iterable[int]
) -> int | None:
    """Return the i of `m/1/i` whose key gives `address` for the period that begins at `begin`.

    :returns: None if no candidate matches.
    :raises IndexOutOfRange: A candidate or the period has no key.
    """
    points, period = master.child(METERING_POINT_BRANCH), period_index(begin)
    for index in candidates:
        if points.child(index).public_branch_key.address(period, kind) == address:
            return index
    return None
