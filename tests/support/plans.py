"""PostgreSQL's plans of the statements that a call makes."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from origin.db.raw_connections import RawConnection, prepare
from tests.support.market import Market


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


def plans(market: Market, ask: Any) -> list[dict[str, Any]]:
    """Return the nodes of the plans of all statements that a call makes; prepared ones' generic plan."""
    seen: list[tuple[str, Any, bool]] = []
    prepared, rows = RawConnection.prepared, RawConnection.rows

    def note(self: RawConnection, sql: str, values: Any, *, is_prepared: bool) -> Any:
        seen.append((sql, values, is_prepared))
        return (prepared if is_prepared else rows)(self, sql, values)

    with (
        patch.object(RawConnection, "prepared", lambda *a: note(*a, is_prepared=True)),
        patch.object(RawConnection, "rows", lambda *a: note(*a, is_prepared=False)),
    ):
        ask()
    assert seen
    found = []
    with market.runtime.database.raw_connection() as link:
        link.rows("SET plan_cache_mode = force_generic_plan", {})
        for sql, values, is_prepared in seen:
            if is_prepared:
                link.prepared(sql, values)
                sql = prepare(sql).execute  # noqa: PLW2901
            ((plan,),) = link.rows(f"EXPLAIN (FORMAT JSON) {sql}", values)
            found += nodes_of(plan[0]["Plan"])
        link.rows("RESET plan_cache_mode", {})
    return found
