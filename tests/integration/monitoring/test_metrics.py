"""`/metrics`: counters, database gauges, and the response without a database."""

from collections.abc import Callable
from copy import copy

import pytest
from sqlalchemy import make_url

from origin.identity.service import tokens
from origin.monitoring.service.database_gauges import DatabaseGauges
from tests.support.market import Market
from tests.support.scraping import Scrape


def scrape(market: Market) -> Scrape:
    answer = market.client().get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return Scrape(answer.text)


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("origin.monitoring.service.database_gauges._FRESH_S", 0)


def test_metrics_of_a_compose_in_flight(market: Market):
    before = scrape(market)
    address = market.issue(100)
    assert market.compose(address, transfers=[(30, "bob")]).status_code == 200
    assert market.compose(address, transfers=[(30, "bob")]).status_code == 400
    waiting = scrape(market)
    assert waiting.value("database_up") == 1
    assert waiting.value("batches", state="PENDING") == 1
    assert waiting.value("batches", state="SUBMITTED") == 0
    assert waiting.value("users") == 2
    for status in ("200", "400"):
        labels = {"endpoint": "/ggo/compose", "status": status}
        grown = waiting.value("request_seconds_count", **labels) - before.value(
            "request_seconds_count", **labels
        )
        assert grown == 1, labels
    market.settle()
    after = scrape(market)
    assert after.value("batches", state="PENDING") == 0
    ended = {"name": "batches_ended_total", "state": "COMPLETED"}
    assert after.value(**ended) - before.value(**ended) == 1
    posted = {"name": "peer_call_seconds_count", "peer": "Ledger", "status": "202"}
    assert after.value(**posted) - before.value(**posted) == 1
    # All connections of this process have been returned to the pool.
    assert after.value("pool_connections_used") == before.value("pool_connections_used")
    assert after.value("pool_connections") >= 1
    assert after.value("requests_running") == 1


def test_metrics_of_datahub_jobs_and_kept_events(market: Market):
    market.sandbox.hydra.fault("/oauth2/token", status=400)
    before = scrape(market)
    with pytest.raises(tokens.TokensSpent):
        market.runtime.user_tokens.refresh_now(market.value("SELECT id FROM users LIMIT 1"))
    point = {"gsrn": "571313180400000777", "type": "production", "sector": "DK1"}
    answer = market.webhook("on-meteringpoint-available", {"sub": "bob", "meteringpoint": point})
    assert answer.json == {"success": True}
    answer = market.webhook("on-meteringpoint-available", {"sub": "new", "meteringpoint": point})
    assert answer.json == {"success": False}
    after = scrape(market)
    assert before.value("datahub_jobs", kind="fetch_ggos") == 0
    assert after.value("datahub_jobs", kind="send_key") == 1
    assert after.value("kept_events", kind="metering_point") == 1
    assert after.value("kept_events", kind="ggo") == 0
    assert after.value("users_to_log_in") == 1
    refused = {"name": "token_refreshes_total", "outcome": "refused"}
    assert after.value(**refused) - before.value(**refused) == 1


def test_a_stuck_batch_and_a_peer_out_of_reach_are_counted(new_market: Callable[..., Market]):
    market = new_market(batch_resubmit_after=0.001)
    before = scrape(market)
    market.sandbox.ledger.fault("/batches", times=None, cut="before")
    market.compose(market.issue(100), transfers=[(30, "bob")])
    market.run_batches()
    market.runtime.batch_runner.resubmit_stuck()
    after = scrape(market)
    assert after.value("batch_alerts_total", reason="stuck") > before.value(
        "batch_alerts_total", reason="stuck"
    )
    unanswered = {"name": "peer_call_seconds_count", "peer": "Ledger", "status": "none"}
    assert after.value(**unanswered) > before.value(**unanswered)


def test_unknown_paths_make_no_label(market: Market):
    for path in ("/nowhere-1", "/nowhere-2"):
        market.client().get(path)
    lost = scrape(market)
    assert lost.total("request_seconds_count", endpoint="none", status="404") >= 2
    assert not any("nowhere" in value for value in lost.label_values)


def test_without_a_database_the_process_still_has_metrics(market: Market):
    runtime = copy(market.runtime)
    runtime.database_gauges = DatabaseGauges(
        make_url("postgresql+psycopg2://nobody:hidden@127.0.0.1:1/none")
    )
    market.use(runtime)
    unreadable = scrape(market)
    assert unreadable.value("database_up") == 0
    assert "account_service_batches" not in unreadable.names
    assert unreadable.total("request_seconds_count") > 0


def test_each_can_be_disabled(new_market: Callable[..., Market]):
    paths = ("/metrics", "/health/live", "/openapi.json", "/docs", "/docs/start.js")
    off = ("metrics_enabled", "health_enabled", "openapi_enabled", "docs_enabled")
    for settings, status in (({}, 200), (dict.fromkeys(off, False), 404)):
        client = new_market(**settings).client()
        assert [client.get(path, buffered=True).status_code for path in paths] == [status] * 5
