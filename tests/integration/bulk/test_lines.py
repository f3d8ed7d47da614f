"""`GET /v2/transfers` and `GET /v2/retirements`: what composes and bulks have moved."""

from typing import Any
from uuid import UUID

from tests.support.bulk_orders import got, operation, order, retirement, transfer
from tests.support.market import CONSUMPTION, OTHER_CONSUMPTION, Market

ALICE, BOB = "alice", "bob"


def lines(market: Market, path: str, subject: str = ALICE) -> list[dict[str, Any]]:
    """Return all lines, read in pages of two."""
    joint = "&" if "?" in path else "?"
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = got(market, f"{path}{joint}limit=2&cursor={cursor}", subject)
        found += page["results"]
        cursor = page["nextCursor"]
    whole = got(market, path, subject)
    assert whole == {"results": found, "nextCursor": None}
    assert len({line["id"] for line in found}) == len(found)
    assert all(UUID(line["id"]).version == 7 for line in found)
    return found


def short(found: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(line[name] for name in names) for line in found]


def test_transfers_of_composes_and_bulks(market: Market):
    first = market.issue(100)
    composed = market.compose(first, transfers=[(10, BOB), (20, ALICE), (5, BOB)])
    legacy = composed.headers["Location"].rpartition("/")[2]
    market.issue(100, market.hour(1))
    market.issue(100, market.hour(2))
    select = {"period": {"from": "2020-01-01T13:00:00Z", "to": "2020-01-02T00:00:00Z"}}
    made = order(market, transfer(150, reference="PPA 7", select=select))
    shape = ("status", "amount", "direction", "account", "reference", "gsrn", "operation")
    expected = [
        ("pending", 50, "out", BOB, "PPA 7", None, made["id"]),
        ("pending", 100, "out", BOB, "PPA 7", None, made["id"]),
    ]
    found = short(lines(market, "/v2/transfers"), *shape)
    assert found[:2] == expected
    assert sorted(found[2:]) == [
        ("pending", 5, "out", BOB, "ref 2", None, legacy),
        ("pending", 10, "out", BOB, "ref 0", None, legacy),
    ]
    # Not committed yet.
    assert lines(market, "/v2/transfers", BOB) == []

    market.settle()
    sent, received = lines(market, "/v2/transfers"), lines(market, "/v2/transfers", BOB)
    assert {line["status"] for line in sent} == {"completed"}
    assert {line["at"] for line in sent[:2]} == {operation(market, made["id"])["acceptedAt"]}
    assert sent[1]["ggo"]["begin"] == market.hour(1).isoformat()
    assert set(sent[1]["ggo"]) == {"address", "begin", "end", "sector", "technology"}
    assert (
        short(received, "status", "direction", "account", "operation")
        == [("completed", "in", ALICE, None)] * 4
    )
    assert [line["ggo"] for line in received] == [line["ggo"] for line in sent]
    assert all(line["at"] > sent[0]["at"] for line in received)

    for query, amounts, subject in (
        ("reference=PPA%207", [50, 100], ALICE),
        ("reference=PPA%207&direction=in", [50, 100], BOB),
        ("direction=in", [], ALICE),
        ("direction=in,out&account=bob", [50, 100, 5, 10], ALICE),
        ("account=carl", [], ALICE),
        (f"operation={legacy}", [5, 10], ALICE),
        (f"operation={legacy}", [], BOB),
        (f"operation={made['id']}&direction=out", [50, 100], ALICE),
        ("from=2020-01-01T13:00:00Z&to=2020-01-01T14:00:00Z", [100], ALICE),
    ):
        found = lines(market, f"/v2/transfers?{query}", subject)
        assert sorted(line["amount"] for line in found) == sorted(amounts), query


def test_declined_transfers_stay_listed(market: Market):
    market.issue(100)
    market.sandbox.ledger.refuse_next(message="Not on my watch")
    made = order(market, transfer(60, reference="a"))
    before = lines(market, "/v2/transfers")
    market.settle()
    [line] = lines(market, "/v2/transfers")
    assert line == {**before[0], "status": "declined"}
    assert lines(market, "/v2/transfers", BOB) == []
    order(market, transfer(60, reference="a"))
    market.settle()
    assert sorted(line["status"] for line in lines(market, "/v2/transfers")) == [
        "completed",
        "declined",
    ]
    of_first = lines(market, f"/v2/transfers?operation={made['id']}")
    assert short(of_first, "status") == [("declined",)]


def test_retirements_of_composes_and_bulks(market: Market):
    market.consume(CONSUMPTION, 100)
    market.consume(OTHER_CONSUMPTION, 30, market.hour(1))
    market.consume(CONSUMPTION, 200, market.hour(2))
    composed = market.compose(market.issue(100), retires=[(40, CONSUMPTION)])
    legacy = composed.headers["Location"].rpartition("/")[2]
    market.settle()
    market.issue(50, market.hour(1))
    market.sandbox.ledger.refuse_next(message="Not on my watch")
    declined = order(market, retirement(None, OTHER_CONSUMPTION))
    market.settle()
    whole = market.issue(200, market.hour(2))
    made = order(market, retirement(200, CONSUMPTION, select={"address": [whole]}))
    found = lines(market, "/v2/retirements")
    shape = ("status", "amount", "gsrn", "operation")
    assert short(found, *shape) == [
        ("pending", 200, CONSUMPTION, made["id"]),
        ("declined", 30, OTHER_CONSUMPTION, declined["id"]),
        ("completed", 40, CONSUMPTION, legacy),
    ]
    assert found[0]["ggo"]["address"] == whole
    assert short(found, "direction", "account", "reference") == [(None, None, None)] * 3
    market.settle()
    for query, amounts in (
        (f"gsrn={OTHER_CONSUMPTION}", [30]),
        (f"gsrn={OTHER_CONSUMPTION},{CONSUMPTION}", [200, 30, 40]),
        (f"operation={made['id']}", [200]),
        (f"operation={legacy}", [40]),
        (f"operation={declined['id']}", [30]),
        ("from=2020-01-01T14:00:00Z", [200]),
    ):
        found = lines(market, f"/v2/retirements?{query}")
        assert [line["amount"] for line in found] == amounts, query
    assert lines(market, "/v2/retirements", BOB) == []


def test_hostile_queries(market: Market):
    headers = {"Authorization": f"Bearer {market.tokens[ALICE]}"}
    for query, code in (
        ("direction=up", "schema_violated"),
        ("operation=7", "schema_violated"),
        ("from=2020-01-02&to=2020-01-01", "schema_violated"),
        ("colour=blue", "schema_violated"),
        ("gsrn=1", "schema_violated"),
        ("cursor=abc", "invalid_cursor"),
    ):
        answer = market.client().get(f"/v2/transfers?{query}", headers=headers)
        assert (answer.status_code, answer.json["code"]) == (400, code), query
