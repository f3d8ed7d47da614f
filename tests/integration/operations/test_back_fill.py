"""Operations of batches that earlier versions wrote."""

from uuid import UUID

import orjson
import pytest

from origin.operations.service import back_fill
from tests.support.adopted import adopt_ended
from tests.support.concurrency import at_once
from tests.support.market import CONSUMPTION, OTHER_CONSUMPTION, Market
from tests.support.operations import end, found, issue_next

SHAPES = [
    {"transfers": [(100, "bob")]},
    {"transfers": [(1000, "bob")]},
    {"transfers": [(100, "bob"), (200, "alice")], "retires": [(30, CONSUMPTION)]},
    {"transfers": [(1000, "alice")]},
    {"transfers": [(970, "alice")], "retires": [(30, CONSUMPTION)]},
    {"retires": [(1000, CONSUMPTION)]},
    {"retires": [(40, CONSUMPTION), (50, OTHER_CONSUMPTION)]},
]


def forget_operations(market: Market) -> None:
    """Leave the batches as a version before migration 0016 wrote them."""
    market.rows("UPDATE batches SET operation_id = NULL, sequence = NULL, moved = NULL")
    market.rows("DELETE FROM operations")


def operations(market: Market) -> list[dict]:
    """Return all operations of Alice's with their items, oldest first, without what is forgotten."""
    results = found(market, "/v2/operations")["results"]
    for each in results:
        each["items"] = found(market, each["links"]["items"])["results"]
        for name in ("id", "links", "idempotencyKey"):
            del each[name]
        each["actor"]["client"] = None
    return results


def end_all(market: Market, state: str) -> None:
    for [batch] in market.rows("SELECT id FROM batches"):
        end(market, batch, state)


@pytest.fixture
def composed(market: Market) -> Market:
    for number, shape in enumerate(SHAPES):
        for _, gsrn in shape.get("retires", ()):
            market.consume(gsrn, 1000, market.hour(number))
        answer = market.compose(issue_next(market), **shape)
        assert answer.status_code == 200, answer.text
    return market


@pytest.mark.parametrize("outcome", ["pending", "completed", "declined"])
def test_operations_are_made_as_composes_write_them(composed: Market, outcome: str):
    market = composed
    if outcome != "pending":
        end_all(market, outcome.upper())
    before = operations(market)
    forget_operations(market)
    assert operations(market) == []
    assert market.runtime.operation_back_fill.run() == len(SHAPES)
    assert operations(market) == before
    assert {each["status"] for each in before} == {outcome}
    ids = [
        UUID(str(row[0])) for row in market.rows("SELECT id FROM operations ORDER BY created_at")
    ]
    assert ids == sorted(ids), "ids are of the batches' creation times"
    assert market.runtime.operation_back_fill.run() == 0


def test_an_order_that_is_not_known_any_more_is_null(composed: Market):
    market = composed
    market.run_batches()
    end_all(market, "DECLINED")
    adopt_ended(market)
    forget_operations(market)
    market.runtime.operation_back_fill.run()
    for each in operations(market):
        assert each["request"] is None
        assert each["status"] == "declined"
        assert each["totals"]["requested"] is None
        [item] = each["items"]
        assert item["parts"] == []
        assert item["ledger"]["batchId"] is not None


def test_it_goes_on_until_no_batch_lacks_an_operation(composed: Market, monkeypatch):
    monkeypatch.setattr(back_fill, "_SLICE", 2)
    forget_operations(composed)
    assert composed.runtime.operation_back_fill.run() == len(SHAPES)
    # An old web goes on during a rolling update.
    forget_operations(composed)
    counts = at_once(*[composed.runtime.operation_back_fill.run] * 3)
    assert sum(counts) + composed.runtime.operation_back_fill.run() == len(SHAPES)
    assert composed.value("SELECT count(*) FROM operations") == len(SHAPES)
    assert composed.value("SELECT count(DISTINCT operation_id) FROM batches") == len(SHAPES)


def test_a_batch_that_is_being_ended_is_left_for_later(composed: Market):
    forget_operations(composed)
    with composed.runtime.database.transaction() as session:
        session.connection().exec_driver_sql("SELECT 1 FROM batches ORDER BY id LIMIT 1 FOR UPDATE")
        assert composed.runtime.operation_back_fill.run() == len(SHAPES) - 1
    assert composed.runtime.operation_back_fill.run() == 1


def test_a_metric_counts_the_batches_without_an_operation(composed: Market):
    def count() -> str:
        lines = composed.client().get("/metrics").text.splitlines()
        [line] = [each for each in lines if each.startswith("account_service_batches_without_op")]
        return line.split()[1]

    forget_operations(composed)
    assert float(count()) == len(SHAPES)


def test_the_request_is_in_the_form_of_a_compose(composed: Market):
    forget_operations(composed)
    composed.runtime.operation_back_fill.run()
    [raw] = composed.rows("SELECT request FROM operations ORDER BY created_at LIMIT 1")[0]
    body = raw if isinstance(raw, dict) else orjson.loads(raw)
    source = composed.value("SELECT address FROM ggos ORDER BY id LIMIT 1")
    assert body == {
        "address": source,
        "transfers": [{"amount": 100, "account": "bob", "reference": "ref 0"}],
        "retires": [],
    }
