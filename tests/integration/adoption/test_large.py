"""A database of 200,000 rows, with bad rows among them: all adds up, as counted without our SQL."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.adopting import adopt, rejections, write
from tests.support.original_database import BEGIN, OriginalDatabase, Row
from tests.support.world import World

ROWS = 200_000
GGOS = 52_000
DAYS = 1300

Energy = dict[tuple[int, str], int]


def spoil(original: OriginalDatabase) -> None:
    """Damage some rows of most kinds."""
    ggos = original.rows["ggo_ggo"]
    for number, ggo in enumerate(ggos[::700]):
        match number % 6:
            case 0:
                ggo["amount"] = -ggo["amount"]
            case 1:
                ggo["end"] = ggo["begin"]
            case 2:
                ggo["stored"] = not ggo["stored"]
            case 3:
                ggo["user_id"] = 10**6
            case 4:
                original.add("ggo_ggo", **{**ggo, "id": len(ggos) + 1})
            case 5:
                ggo["amount"] += 1
    original.rows["auth_user"][7]["master_extended_key"] = "no key"
    for batch in original.rows["ledger_batch"][::900]:
        batch["user_id"] = None
    for target in original.rows["ledger_split_target"][::900]:
        target["ggo_id"] = None


def state_of(ggo: Row, now: datetime) -> str:
    """Return where a GGO's energy stands (doc/operations/adopting.md)."""
    if ggo["stored"] and ggo["retired"]:
        return "unclear"
    if not ggo["stored"] and not ggo["retired"]:
        return "split"
    if ggo["locked"]:
        return "in flight"
    if ggo["retired"]:
        return "retired"
    return "expired" if ggo["expire_time"] <= now else "stored"


def energy_of(ggos: Any) -> Energy:
    """Return Wh by user and state."""
    now = datetime.now(UTC)
    found: Energy = defaultdict(int)
    for ggo in ggos:
        found[ggo["user_id"], state_of(ggo, now)] += ggo["amount"]
    return dict(found)


def without_zeros(energy: Mapping[tuple[int, str], int]) -> Energy:
    return {key: wh for key, wh in energy.items() if wh}


@pytest.mark.timeout(300)
def test_two_hundred_thousand_rows_add_up(world: World):
    original = OriginalDatabase(17)
    original.trade(GGOS, users=40)
    users = original.rows["auth_user"]
    for day in range(DAYS):
        begin = BEGIN + timedelta(days=day)
        for sender, recipient in pairwise(users):
            end = begin + timedelta(days=1)
            original.forecast(sender, recipient, [day] * 24, begin=begin, end=end)
    spoil(original)
    assert sum(map(len, original.rows.values())) >= ROWS
    write(world, original, constraints=False)
    report = adopt(world, status=1)

    reasons = rejections(report)
    rejected_rows = Counter(kind for kind, _ in reasons)
    kinds = {
        "GGO": "ggo_ggo",
        "user": "auth_user",
        "batch": "ledger_batch",
        "forecast": "forecast_forecast",
    }
    for kind, table in kinds.items():
        source = len(original.rows[table])
        assert report["kinds"][kind] == {
            "source": source,
            "adopted": source - rejected_rows[kind],
            "rejected": rejected_rows[kind],
        }
    assert 700 < rejected_rows["GGO"] < GGOS / 2

    kept = [ggo for ggo in original.rows["ggo_ggo"] if ("GGO", ggo["id"]) not in reasons]
    lost = [ggo for ggo in original.rows["ggo_ggo"] if ("GGO", ggo["id"]) in reasons]
    table = {
        (row["userId"], row["state"]): (row["source"], row["adopted"], row["rejected"])
        for row in report["energyByUser"]
    }
    for column, ggos in enumerate((original.rows["ggo_ggo"], kept, lost)):
        reported = {key: values[column] for key, values in table.items()}
        assert without_zeros(reported) == without_zeros(energy_of(ggos))
    _check_published(world, kept)


def _check_published(world: World, kept: list[Row]) -> None:
    """The adopted GGOs are those that the report says, row by row, and energy is conserved."""
    found = world.rows(
        "SELECT id, owner_id AS user_id, parent_id, amount, stored, retired, locked, expire_time "
        "FROM ggos ORDER BY id"
    )
    published = [dict(row._mapping) for row in found]
    assert [(row["id"], row["amount"]) for row in published] == [
        (ggo["id"], ggo["amount"]) for ggo in sorted(kept, key=lambda ggo: ggo["id"])
    ]
    assert energy_of(published) == energy_of(kept)
    roots: dict[int, int] = {}
    balance: dict[int, int] = defaultdict(int)
    for ggo in published:
        # A part's id is above its parent's in what the generator makes.
        root = roots[ggo["id"]] = roots.get(ggo["parent_id"], ggo["id"])
        balance[root] += ggo["amount"] * (
            (ggo["parent_id"] is None) - (ggo["stored"] or ggo["retired"])
        )
    assert not any(balance.values())
