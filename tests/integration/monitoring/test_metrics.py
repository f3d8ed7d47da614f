"""`/metrics`: counters, database gauges, and the response without a database."""

import math
import time
from collections.abc import Callable
from copy import copy
from unittest.mock import patch

import pytest
from sqlalchemy import make_url, text

from devstack.configured import Redis
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


def test_a_job_that_waits_for_a_login_has_no_age(market: Market):
    """Otherwise AccountServiceDataHubWorkWaits would fire until the user logs in."""
    market.rows(
        "INSERT INTO datahub_jobs (user_id, kind, created_at, next_attempt_at) "
        "SELECT id, 'subscribe_ggos', now() - interval '2 hours', now() FROM users"
    )
    assert 7200 <= scrape(market).value("datahub_job_oldest_seconds", kind="subscribe_ggos") < 7260
    market.rows("UPDATE datahub_jobs SET next_attempt_at = NULL")
    after = scrape(market)
    assert after.value("datahub_jobs", kind="subscribe_ggos") == 2
    assert after.value("datahub_job_oldest_seconds", kind="subscribe_ggos") == 0


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


def test_overdue_work_is_told_by_queue(market: Market):
    market.compose(market.issue(100), transfers=[(30, "bob")])
    market.rows("UPDATE batches SET next_attempt_at = now() - interval '700 seconds'")
    market.rows(
        "INSERT INTO datahub_jobs (user_id, kind, next_attempt_at) "
        "SELECT id, 'subscribe_ggos', now() + interval '1 hour' FROM users LIMIT 1"
    )
    market.rows(
        "INSERT INTO operations (id, user_id, kind, origin, next_attempt_at) "
        "SELECT gen_random_uuid(), id, 'transfer', 'api', now() - interval '800 s' "
        "FROM users LIMIT 1"
    )
    after = scrape(market)
    assert 700 <= after.value("work_overdue_seconds", queue="batches") < 760
    assert 800 <= after.value("work_overdue_seconds", queue="bulk") < 860
    assert ("account_service_work_overdue_seconds", frozenset({("queue", "webhooks")})) in (
        after.samples
    )
    assert after.value("work_overdue_seconds", queue="datahub_jobs") == 0


def test_what_failed_in_the_last_day_is_counted_without_the_workers(market: Market):
    market.compose(market.issue(100), transfers=[(30, "bob")])
    market.rows(
        "INSERT INTO webhook_subscriptions (user_id, event, url, host, secret) "
        "SELECT id, 'ON_GGO_RECEIVED', 'https://a.example', 'a.example:443', 's' FROM users LIMIT 1"
    )
    given_up = (
        "INSERT INTO webhook_deliveries (subscription_id, body, state, next_attempt_at, ended_at) "
        "SELECT id, '', 'GIVEN_UP', NULL, now() - make_interval(hours => :hours) "
        "FROM webhook_subscriptions"
    )
    for hours in (1, 23, 25):
        market.rows(given_up, hours=hours)
    market.rows("UPDATE batches SET state = 'DECLINED', next_attempt_at = NULL, ended_at = now()")
    market.rows("UPDATE ggos SET key_mismatch = true WHERE issue_gsrn IS NOT NULL")
    after = scrape(market)
    assert after.value("webhooks_given_up_last_day") == 2
    assert after.value("batches_declined_last_day") == 1
    assert after.value("key_mismatches_last_day") == 1


def test_an_unfinished_reconciliation_run_has_an_age_before_any_has_ended(market: Market):
    assert math.isnan(scrape(market).value("ledger_walk_age_seconds"))
    assert scrape(market).value("ledger_walk_running_seconds") == 0
    market.rows("INSERT INTO ledger_walks (started_at) VALUES (now() - interval '2 days')")
    after = scrape(market)
    assert math.isnan(after.value("ledger_walk_age_seconds"))
    assert 172800 <= after.value("ledger_walk_running_seconds") < 172860
    assert after.value("reconcile_interval_seconds") > 0


def test_periodic_work_has_an_age(market: Market):
    market.rows(
        "INSERT INTO schedules (name, last_run_at) VALUES "
        "('origin.tokens', now() - interval '2 hours'), ('origin.pruning', now() + interval '1 h')"
    )
    after = scrape(market)
    assert 7200 <= after.value("periodic_run_age_seconds", task="origin.tokens") < 7260
    # A clock was set back.
    assert after.value("periodic_run_age_seconds", task="origin.pruning") == 0


def test_processes_tell_their_clocks_and_secrets(new_market: Callable[..., Market]):
    market = new_market()
    announcer = market.runtime.secret_announcer
    announcer.announce("web on a, process 1", "web")
    after = scrape(market)
    assert after.value("processes", kind="web") == 1
    assert after.value("processes", kind="beat") == 0
    # A busy machine may pause between its clock and PostgreSQL's.
    assert after.value("process_clock_skew_seconds", kind="web") < 60
    assert after.value("processes_lacking_a_secret") == 0
    with patch("time.time", return_value=time.time() - 700):
        announcer.announce("worker on a, process 2", "worker")
    market.rows(
        "INSERT INTO process_secrets (process, prefixes, kind) VALUES ('beat on b', '{x}', 'beat')"
    )
    after = scrape(market)
    assert 700 <= round(after.value("process_clock_skew_seconds", kind="worker")) < 760
    assert after.value("processes_lacking_a_secret") == 3


def test_a_web_tells_whether_it_can_write_to_redis(
    new_market: Callable[..., Market], valkey: Redis
):
    assert scrape(new_market(redis_port=9)).value("redis_up") == 0
    there = {"redis_host": valkey.host, "redis_port": valkey.port}
    login = {"redis_username": valkey.username, "redis_password": valkey.password}
    assert scrape(new_market(**there, **login)).value("redis_up") == 1


def test_the_counts_of_the_last_day_read_no_other_rows(market: Market):
    """Each is read from an index that has only the rows to count."""
    for index in ("ix_batches_declined", "ix_webhook_deliveries_given_up", "ix_ggos_key_mismatch"):
        [(table, condition, column)] = market.rows(
            "SELECT c.relname, pg_get_expr(i.indpred, i.indrelid), a.attname FROM pg_index i "
            "JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid "
            "JOIN pg_attribute a ON a.attrelid = x.oid WHERE x.relname = :index",
            index=index,
        )
        with market.runtime.database.transaction() as session:
            session.execute(text("SET LOCAL enable_seqscan = off"))
            counted = f"SELECT count(*) FROM {table} WHERE {condition} AND {column} > now()"  # noqa: S608
            plan = "\n".join(session.scalars(text(f"EXPLAIN {counted}")))
        assert index in plan


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
        assert (client.get("/health/work").status_code == 404) == bool(settings)
