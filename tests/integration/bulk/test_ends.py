"""What follows an accepted order: webhooks, and the end without a ledger."""

from typing import Any

from tests.support.bulk_orders import got, order, retirement, transfer
from tests.support.market import CONSUMPTION, Market
from tests.support.webhook_receivers import SECRET

ALICE, BOB = "alice", "bob"
NO_LEDGER = {"ledger_enabled": "0", "ledger_url": ""}


def subscribe(market: Market, subject: str) -> None:
    body = {"url": f"http://127.0.0.1:9/{subject}", "secret": SECRET}
    path = "/webhook/on-ggo-received/subscribe"
    answer = market.post(path, body, market.tokens[subject])
    assert answer.json == {"success": True}, answer.text


def announced(market: Market) -> list[tuple[str, int]]:
    """Return subject and Wh of each GGO that is announced."""
    rows = market.rows("SELECT convert_from(body, 'UTF8')::json FROM webhook_deliveries")
    found: list[dict[str, Any]] = [row[0] for row in rows]
    return sorted((each["sub"], each["ggo"]["amount"]) for each in found)


def announcing(new_market: Any, **settings: Any) -> Market:
    market: Market = new_market(webhook_allow_private=True, **settings)
    for hour in range(3):
        market.issue(100, market.hour(hour))
    market.consume(CONSUMPTION, 70)
    subscribe(market, ALICE)
    subscribe(market, BOB)
    return market


def test_each_received_ggo_is_announced_once_it_is_committed(new_market):
    market = announcing(new_market)
    order(market, transfer(250))
    assert announced(market) == []
    market.settle()
    expected = [(ALICE, 50), (BOB, 50), (BOB, 100), (BOB, 100)]
    assert announced(market) == expected


def test_without_a_ledger_an_order_ends_at_once(new_market):
    market = announcing(new_market, **NO_LEDGER)
    made = order(market, retirement(None))
    assert (made["status"], made["totals"]["completed"]) == ("completed", 70)
    assert made["completedAt"] == made["acceptedAt"]
    transferred = order(market, transfer(150))
    assert transferred["status"] == "completed"
    assert market.total(BOB, category="stored") == 150
    # Alice's remainders of both orders, and what Bob has got.
    assert sum(amount for subject, amount in announced(market) if subject == BOB) == 150
    assert sum(amount for subject, amount in announced(market) if subject == ALICE) == 110
    assert market.rows("SELECT * FROM batches WHERE NOT never_sent") == []
    unended = (
        "locked OR parent_id IS NOT NULL AND settled_at IS NULL OR retired AND retired_at IS NULL"
    )
    assert market.rows(f"SELECT * FROM ggos WHERE {unended}") == []  # noqa: S608
    # The remainder can be used again.
    assert order(market, transfer(None))["totals"]["completed"] == 80
    assert got(market, "/v2/transfers", BOB)["results"][0]["status"] == "completed"
