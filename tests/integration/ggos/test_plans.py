"""Each query reads its index: PostgreSQL's plans are checked, not times."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from origin.db.raw_connections import prepare
from tests.support.books import Books

YEAR = {"begin": "2020-01-01T00:00:00Z", "end": "2020-12-31T23:00:00Z"}
QUARTER = {"begin": "2020-04-01T00:00:00Z", "end": "2020-06-30T23:00:00Z"}
HOUR = "2020-06-01T12:00:00Z"
DAYS = {"resolution": "day", "timezone": "Europe/Copenhagen"}

# Seven GGOs an hour over a year. The hours go to three accounts in turn; the third gets eight of ten.
# Of ten GGOs seven are stored, one is retired, and two were sent to the next account.
GGOS = """
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    issue_time, expire_time, issue_gsrn, parent_id, split_position, sender_id, reference, key_index,
    stored, retired, retire_gsrn, retire_address)
SELECT owner, 'a ' || n, 1 + n % 1000, begin, begin + interval '1 hour', 'DK1', 'T1', 'F' || 1 + n % 2,
    begin, '2100-01-01', CASE WHEN NOT sent THEN 'p' || 1 + n % 2 END,
    CASE WHEN sent THEN (SELECT min(id) FROM ggos) END, CASE WHEN sent THEN n END,
    CASE WHEN sent THEN 1 + owner % 3 END, CASE WHEN sent THEN 'ref' END, CASE WHEN sent THEN n END,
    n % 10 < 7, n % 10 = 7, CASE WHEN n % 10 = 7 THEN 'c' || 1 + n % 2 END,
    CASE WHEN n % 10 = 7 THEN 'm ' || n END
FROM (SELECT n, least(3, 1 + n / 7 % 10) AS owner, n % 10 > 7 AS sent,
    timestamptz '2020-01-01' + n / 7 * interval '1 hour' AS begin
    FROM generate_series(1, 60000) AS n) AS numbered
"""


@pytest.fixture(scope="module")
def large(books: Books) -> Iterator[Books]:
    books.write([])
    books.world.rows(GGOS)
    connection = books.world.runtime.database.engine.raw_connection()
    connection.rollback()
    driver: Any = connection.driver_connection
    driver.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE ggos")
    driver.autocommit = False
    connection.close()
    yield books
    books.write([])


def plans(books: Books, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the plan nodes of all statements about GGOs that this request makes.

    For a prepared statement, the generic plan's nodes are included.
    """
    database = books.world.runtime.database
    with (
        patch.object(database, "query", wraps=database.query) as asked,
        patch.object(database, "prepared", wraps=database.prepared) as prepared,
    ):
        books.ask(path, body)
    seen = [call.args for call in (*asked.call_args_list, *prepared.call_args_list)]
    about_ggos = [(sql, values) for sql, values in seen if " ggos" in sql]
    assert about_ggos
    nodes: list[dict[str, Any]] = []
    with database.raw_connection() as link:
        for sql, values in about_ggos:
            ((found,),) = link.rows(f"EXPLAIN (FORMAT JSON) {sql}", values)
            nodes += walk(found[0]["Plan"])
        link.rows("SET plan_cache_mode = force_generic_plan", {})
        for sql, values in (call.args for call in prepared.call_args_list):
            if " ggos" in sql:
                link.prepared(sql, values)
                ((found,),) = link.rows(f"EXPLAIN (FORMAT JSON) {prepare(sql).execute}", values)
                nodes += walk(found[0]["Plan"])
        link.rows("RESET plan_cache_mode", {})
    return nodes


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(each for child in node.get("Plans", []) for each in walk(child))]


def used(nodes: list[dict[str, Any]]) -> set[str]:
    """Return the indexes that GGOs are read from; reading them without an index fails the test."""
    ways = {node["Node Type"] for node in nodes if node.get("Relation Name") == "ggos"}
    assert ways <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}, ways
    return {node["Index Name"] for node in nodes if "ggos" in node.get("Index Name", "")}


@pytest.mark.parametrize(
    ("body", "index"),
    [
        ({"filters": {}}, "ix_ggos_owner_begin"),
        ({"filters": {"beginRange": YEAR}}, "ix_ggos_owner_begin"),
        ({"filters": {"beginRange": YEAR}, "order": ["-begin"]}, "ix_ggos_owner_begin"),
        ({"filters": {"beginRange": YEAR}, "cursor": ""}, "ix_ggos_owner_begin"),
        ({"filters": {"category": "stored"}}, "ix_ggos_owner_stored"),
        ({"filters": {"category": "issued"}}, "ix_ggos_owner_issued"),
        ({"filters": {"category": "retired"}}, "ix_ggos_owner_retired"),
        ({"filters": {}, "order": ["amount"]}, "ix_ggos_owner_amount"),
        ({"filters": {}, "order": ["-amount"], "cursor": ""}, "ix_ggos_owner_amount"),
    ],
)
def test_a_page_is_read_in_the_order_of_its_index(large: Books, body: dict[str, Any], index: str):
    """Without sorting; so is the next page, by its cursor."""
    page = {**body, "limit": 100}
    while page:
        nodes = plans(large, "/ggo", page)
        assert not [node for node in nodes if "Sort" in node["Node Type"]]
        assert index in used(nodes)
        # PostgreSQL counts the total by the smallest suitable index. With only three accounts, that
        # may be the index of all stored GGOs.
        counting = {"ix_ggos_owner_amount", "ix_ggos_owner_begin", "ix_ggos_stored_begin"}
        assert used(nodes) <= {index, *counting}
        cursor = page.get("cursor")
        following = large.ask("/ggo", page).get("nextCursor") if cursor == "" else None
        page = {**page, "cursor": following} if following else {}


@pytest.mark.parametrize(
    ("path", "body", "indexes"),
    [
        ("/ggo/get-total-amount", {"filters": {}}, {"ix_ggos_owner_amount", "ix_ggos_owner_begin"}),
        ("/ggo/get-total-amount", {"filters": {"category": "stored"}}, {"ix_ggos_owner_stored"}),
        (
            "/ggo/get-total-amount",
            {"filters": {"category": "stored", "begin": HOUR}},
            {"ix_ggos_owner_stored", "ix_ggos_stored_begin"},
        ),
        ("/ggo/get-total-amount", {"filters": {"category": "issued"}}, {"ix_ggos_owner_issued"}),
        ("/ggo/get-total-amount", {"filters": {"issueGsrn": ["p1"]}}, {"ix_ggos_owner_issued"}),
        (
            "/ggo/get-total-amount",
            {"filters": {"category": "retired"}},
            {"ix_ggos_owner_retired"},
        ),
        ("/ggo/get-total-amount", {"filters": {"address": ["a 7"]}}, {"uq_ggos_address"}),
        (
            "/ggo/get-total-amount",
            {"filters": {"retireGsrn": ["c1"], "retireAddress": ["m 7"]}},
            {"ix_ggos_retire_address"},
        ),
        (
            "/ggo/get-total-amount",
            {"filters": {"retireGsrn": ["c1"], "begin": HOUR}},
            {"ix_ggos_owner_retired"},
        ),
        (
            "/ggo/summary",
            {**DAYS, "filters": {"beginRange": QUARTER}, "grouping": ["sector"]},
            {"ix_ggos_owner_begin"},
        ),
        (
            "/ggo/summary",
            {**DAYS, "filters": {"category": "stored"}, "grouping": ["technology", "sector"]},
            {"ix_ggos_owner_stored"},
        ),
        (
            "/transfer/summary",
            {**DAYS, "filters": {}, "grouping": ["begin"]},
            {"ix_ggos_recipient_begin", "ix_ggos_sender_begin"},
        ),
        (
            "/transfer/get-total-amount",
            {"filters": {"begin": HOUR, "reference": ["ref"]}, "direction": "outbound"},
            {"ix_ggos_sender_begin"},
        ),
        (
            "/transfer/get-total-amount",
            {"filters": {}, "direction": "inbound"},
            {"ix_ggos_recipient_begin"},
        ),
    ],
)
def test_a_sum_reads_its_index(large: Books, path: str, body: dict[str, Any], indexes: set[str]):
    found = used(plans(large, path, body))
    assert found
    assert found <= indexes
