"""Pages of entries read their indexes, however large the account is: plans are checked, not times."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from origin.balances.queries.balances import Account
from origin.balances.queries.entries import entries
from origin.balances.rules.entries import EntryFilters
from tests.support.market import Market
from tests.support.plans import plans

ROWS = """
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    issue_time, expire_time, issue_gsrn, stored, created_at)
SELECT owner_id, 'a ' || n, 1, begin, "end", sector, technology_code, fuel_code, issue_time,
    expire_time, issue_gsrn, true, timestamptz '2026-01-01' + n * interval '1 min'
FROM generate_series(1, 9000) AS n, ggos
"""


@pytest.fixture
def large(market: Market) -> Iterator[Market]:
    market.issue(1)
    market.rows(ROWS)
    market.rows("ANALYZE ggos, batches, operations, rollbacks, users")
    yield market
    market.rows("DELETE FROM ggos")


def test_a_page_reads_issued_and_expired_ggos_in_the_order_of_their_times(large: Market):
    """The prepared plan knows no values, so the statement itself must hold the indexes' conditions."""
    now = datetime.now(UTC)
    page = EntryFilters(now - timedelta(days=3650), now)

    def ask() -> None:
        account = Account(large.alice, None)
        entries(large.runtime.database, account, now, page, None, 101, ledger_enabled=True)

    nodes = plans(large, ask)
    indexes = {node.get("Index Name") for node in nodes}
    assert {"ix_ggos_owner_known", "ix_ggos_owner_expiry"} <= indexes
    assert not [
        node
        for node in nodes
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "ggos"
    ]
