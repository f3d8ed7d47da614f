"""Bulk orders and their lists read indexes, not tables: PostgreSQL's plans are checked, not times."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from origin.bulk.rules.limits import MAX_CANDIDATES_IN_REQUEST
from origin.db.raw_connections import RawConnection
from tests.support.bulk_orders import got, order, plan_of, transfer
from tests.support.market import CONSUMPTION, Market

# One in ten GGOs is Alice's stock. The others are Bob's: received from Alice, or retired.
ROWS = """
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    issue_time, expire_time, issue_gsrn, stored)
SELECT :alice, 'a ' || n, 10, begin + n * interval '1 hour', "end" + n * interval '1 hour', sector,
    technology_code, fuel_code, issue_time, expire_time, issue_gsrn, n % 10 = 0
FROM ggos, generate_series(1, 9000) AS n;
INSERT INTO operations (id, user_id, kind, origin, accepted_at)
VALUES ('01999d7c-2f4e-7000-8000-000000000000', :alice, 'transfer', 'api', now());
INSERT INTO batches (user_id, ggo_id, state, next_attempt_at, ended_at, moved, operation_id, sequence)
SELECT owner_id, id, 'COMPLETED', NULL, now(), 10,
    CASE WHEN id < 20 THEN uuid '01999d7c-2f4e-7000-8000-000000000000' END, id
FROM ggos WHERE NOT stored;
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    issue_time, expire_time, parent_id, split_position, sender_id, key_index, stored, retired,
    retire_gsrn, retire_address, settled_at, spent_at, retired_at)
SELECT CASE WHEN id % 2 = 0 THEN :bob ELSE :alice END, 'part ' || id, amount, begin, "end", sector,
    technology_code, fuel_code, issue_time, expire_time, id, 0, :alice, id, id % 2 = 0, id % 2 = 1,
    CASE WHEN id % 2 = 1 THEN :gsrn END, CASE WHEN id % 2 = 1 THEN 'm ' || id END, now(),
    CASE WHEN id % 2 = 1 THEN now() END, CASE WHEN id % 2 = 1 THEN now() END
FROM ggos WHERE NOT stored;
INSERT INTO transactions (batch_id, position, type, ggo_id)
SELECT batches.id, 1, 'retire', ggos.id FROM batches JOIN ggos ON parent_id = ggo_id WHERE retired;
"""
OPERATION = "01999d7c-2f4e-7000-8000-000000000000"


@pytest.fixture
def large(market: Market) -> Iterator[Market]:
    market.issue(10)
    values = {"alice": market.alice, "bob": market.bob, "gsrn": CONSUMPTION}
    for statement in ROWS.split(";\n"):
        if statement.strip():
            market.rows(
                statement,
                **{name: value for name, value in values.items() if f":{name}" in statement},
            )
    market.rows("ANALYZE ggos, batches, operations, transactions, users")
    yield market
    market.rows("TRUNCATE transactions, batches, operations, ggos CASCADE")


def rows_read(market: Market, ask: Callable[[], object]) -> float:
    """Return how many rows of GGOs and batches the statements of a call read."""
    asked: list[tuple[str, Any]] = []
    original = RawConnection.rows

    def noting(self: RawConnection, sql: str, values: Any) -> Any:
        asked.append((sql, values))
        return original(self, sql, values)

    with patch.object(RawConnection, "rows", noting):
        ask()
    assert asked
    return sum(_read(market, sql, values) for sql, values in asked)


def _read(market: Market, sql: str, values: Any) -> float:
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}"
    [[[found]]] = market.runtime.database.query(explain, values)
    return sum(_rows_of(node) for node in _nodes(found["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _rows_of(node: dict[str, Any]) -> float:
    if node.get("Relation Name") not in {"ggos", "batches", "transactions"}:
        return 0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def test_pages_read_what_they_show(large: Market):
    """A page of ten lines, of more than eight thousand."""
    for path in (
        "/v2/transfers?limit=10",
        "/v2/transfers?limit=10&direction=out",
        "/v2/retirements?limit=10",
        f"/v2/transfers?limit=10&operation={OPERATION}",
        f"/v2/retirements?limit=10&operation={OPERATION}",
        "/v2/transfers?limit=10&from=2020-02-01&to=2020-02-02",
    ):
        assert rows_read(large, lambda path=path: got(large, path)) < 400, path
    received = "/v2/transfers?limit=10&direction=in"
    assert rows_read(large, lambda: got(large, received, "bob")) < 400
    second = got(large, "/v2/transfers?limit=10")["nextCursor"]
    assert rows_read(large, lambda: got(large, f"/v2/transfers?limit=10&cursor={second}")) < 400


def test_an_order_reads_the_stock_alone(large: Market):
    """Alice has 901 free GGOs, and 26 of them in this period."""
    period = {"from": "2020-02-01T00:00:00Z", "to": "2020-02-11T20:00:00Z"}
    body = transfer(None, select={"period": period})
    assert rows_read(large, lambda: plan_of(large, body)) < 60
    assert rows_read(large, lambda: plan_of(large, transfer(None))) < 1000


def test_a_request_reads_no_more_candidates_than_it_plans(large: Market):
    """Alice has 901 free GGOs: a worker plans the order, and the request reads few of them."""
    lengths: list[int] = []
    original = RawConnection.rows

    def noting(self: RawConnection, sql: str, values: Any) -> Any:
        found = original(self, sql, values)
        lengths.append(len(found))
        return found

    with patch.object(RawConnection, "rows", noting):
        assert order(large, transfer(None))["status"] == "queued"
    assert max(lengths) == MAX_CANDIDATES_IN_REQUEST
