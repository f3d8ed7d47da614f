"""Entries summed up: what the balance of any moment must be (contract: v2, Balances).

It knows nothing of the service but what its answers say.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

JsonEntry = dict[str, Any]
Get = Callable[[str], Any]
"""Returns the JSON of a GET of this path, which must be a 200."""

BUCKETS = ("available", "pendingOut", "pendingRetired", "retired", "expired", "blocked")
FLOWS = ("issued", "received", "sent")
FOLDED = (*BUCKETS, *FLOWS)
"""The amounts of a balance that entries tell: all but `pendingIn`."""


def read_entries(get: Get, *, limit: int = 1000, **filters: str) -> list[JsonEntry]:
    """Return all entries, oldest first."""
    found: list[JsonEntry] = []
    cursor = ""
    while True:
        query = urlencode({**filters, "limit": limit, "cursor": cursor})
        page = get(f"/v2/entries?{query}")
        found += page["results"]
        cursor = page["nextCursor"]
        if not cursor:
            return found


def fold(entries: Iterable[JsonEntry], at: str | datetime | None = None) -> dict[str, int]:
    """Return the balance at a moment (None: of all entries) that these entries add up to."""
    moment = _time(at) if at is not None else None
    sums = dict.fromkeys(FOLDED, 0)
    for entry in entries:
        if moment is not None and _time(entry["at"]) > moment:
            continue
        amount, source, target = entry["amount"], entry["from"], entry["to"]
        assert amount > 0, entry
        assert source != target, entry
        if source == "outside":
            sums[_flow_in(entry)] += amount
        else:
            sums[source] -= amount
            assert source in BUCKETS, entry
        if target == "outside":
            sums["sent"] += amount
        else:
            sums[target] += amount
            assert target in BUCKETS, entry
    return sums


def fold_by_group(
    entries: Iterable[JsonEntry],
    grouping: Sequence[str],
    at: str | datetime | None = None,
    zone: str = "UTC",
) -> dict[tuple[str, ...], dict[str, int]]:
    """Return the balance of each group at a moment, without those of zeros."""
    groups: dict[tuple[str, ...], list[JsonEntry]] = defaultdict(list)
    for entry in entries:
        groups[tuple(_value(entry["ggo"], each, zone) for each in grouping)].append(entry)
    folded = {group: fold(each, at) for group, each in groups.items()}
    return {group: sums for group, sums in folded.items() if any(sums.values())}


def check_identity(balance: dict[str, int]) -> None:
    """Check that what came to the account is what left it, and what is there."""
    came = balance["issued"] + balance["received"]
    assert came == balance["sent"] + sum(balance[each] for each in BUCKETS), balance
    assert all(balance[each] >= 0 for each in FOLDED), balance


def check_folds(get: Get, entries: Sequence[JsonEntry] | None = None) -> dict[str, int]:
    """Check that the entries of an account add up to its balance, at one moment; return the balance.

    :param entries: Read at or after the moment's question; None: read now.
    """
    told = get("/v2/balances")
    check_identity(told["total"])
    found = read_entries(get) if entries is None else entries
    assert len({entry["id"] for entry in found}) == len(found)
    assert found == sorted(found, key=lambda entry: _time(entry["at"]))
    folded = fold(found, told["at"])
    assert folded == {name: told["total"][name] for name in FOLDED}, (folded, told)
    total: dict[str, int] = told["total"]
    return total


def _flow_in(entry: JsonEntry) -> str:
    """Return the flow that a line from outside counts to."""
    if entry["kind"] == "opening":
        return "issued" if entry["counterpart"] is None else "received"
    return {"issue": "issued", "receive": "received"}[entry["kind"]]


def _value(ggo: dict[str, str], name: str, zone: str) -> str:
    if name == "month":
        return f"{_time(ggo['begin']).astimezone(ZoneInfo(zone)):%Y-%m}"
    return ggo[name]


def _time(text: str | datetime) -> datetime:
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)
