"""Queries of operations read indexes, not tables: PostgreSQL's plans are checked, not times."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from origin.ggos.queries import by_address
from origin.operations.queries import idempotency, operations
from origin.operations.queries.operations import OperationFilter
from origin.operations.rules import Hold
from tests.support.market import Market
from tests.support.operations import issue_next
from tests.support.plans import plans

# Alice has two of three operations; one in a hundred is declined, and the newest ten are pending.
ROWS = """
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    issue_time, expire_time, issue_gsrn, stored)
SELECT owner_id, 'a ' || n, 1, begin, "end", sector, technology_code, fuel_code, issue_time,
    expire_time, issue_gsrn, true
FROM generate_series(1, 9000) AS n, ggos;
INSERT INTO operations (id, user_id, kind, origin, created_at, accepted_at, request, idempotency_key)
SELECT gen_random_uuid(), CASE WHEN n % 3 > 0 THEN :alice ELSE :bob END, 'compose', 'legacy',
    timestamptz '2026-01-01' + n * interval '1 min', now(), '{}', 'k ' || n
FROM generate_series(1, 9000) AS n;
INSERT INTO batches (user_id, ggo_id, state, next_attempt_at, ended_at, operation_id, sequence, moved)
SELECT user_id, ggos.id, CASE WHEN n > 8990 THEN 'PENDING' WHEN n % 100 = 1 THEN 'DECLINED'
    ELSE 'COMPLETED' END, CASE WHEN n > 8990 THEN now() END, CASE WHEN n <= 8990 THEN now() END,
    operations.id, 0, 1
FROM operations, LATERAL (SELECT substr(idempotency_key, 3)::int AS n) AS numbered
JOIN ggos ON ggos.address = 'a ' || n;
"""
TABLES = {"operations", "batches", "ggos", "transactions", "idempotency_keys"}
NONE = OperationFilter(
    (), (), datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), None
)


@pytest.fixture
def large(market: Market) -> Iterator[Market]:
    issue_next(market)
    market.rows(ROWS, alice=market.alice, bob=market.bob)
    market.rows("ANALYZE operations, batches, ggos, users")
    yield market
    market.rows("TRUNCATE batches, operations CASCADE")
    market.rows("DELETE FROM ggos")


def test_every_query_reads_indexes(large: Market):
    database, alice = large.runtime.database, large.alice
    row = large.rows(
        "SELECT id, created_at FROM operations ORDER BY created_at LIMIT 1 OFFSET 4000"
    )
    found_id, created_at = UUID(str(row[0][0])), row[0][1]

    def page(after: Any = None, **wanted: Any) -> None:
        operations.page(database, alice, OperationFilter(**{**vars(NONE), **wanted}), after, 100)

    def read(of: Any) -> None:
        with database.raw_connection() as connection:
            of(connection)

    hold = Hold(alice, "k 7", "hash", "holder")
    calls = {
        "first page": page,
        "later page": lambda: page((created_at, found_id)),
        "by kind": lambda: page(kinds=["compose"]),
        "by key": lambda: page(idempotency_key="k 7"),
        "pending": lambda: page(statuses=["pending"]),
        "queued": lambda: page(statuses=["queued"]),
        "one": lambda: read(lambda link: operations.get(link, found_id, alice)),
        "items": lambda: read(lambda link: operations.items(link, found_id, (), -1, 100)),
        "final": lambda: operations.final_ones(database, [found_id, uuid4()]),
        "take": lambda: read(lambda link: idempotency.take(link, hold, 60, for_compose=False)),
        "find": lambda: read(lambda link: idempotency.find(link, alice, "k 7")),
        "GGO": lambda: by_address.find(database, alice, "a 7", ledger_enabled=True),
    }
    for name, call in calls.items():
        nodes = plans(large, call)
        scanned = [
            node["Relation Name"]
            for node in nodes
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES
        ]
        # The key's table is empty here, so that no plan is better than another.
        assert set(scanned) <= {"idempotency_keys"}, (name, nodes)
        if name in {"first page", "later page", "by kind"}:
            indexes = {node.get("Index Name") for node in nodes}
            assert "ix_operations_user_created" in indexes, name
            assert "ix_batches_operation" in indexes, name
