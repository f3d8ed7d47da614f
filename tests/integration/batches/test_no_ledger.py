"""LEDGER_ENABLED=0: operations are final at once, and recognised if the ledger is switched on later."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from origin import migrate
from origin.app import create_app
from origin.batches.service.ledger_mode import check_ledger_mode
from origin.errors import ConfigurationError
from origin.runtime import build_runtime
from tests.support.market import BOBS_CONSUMPTION, CONSUMPTION, PRODUCTION, Market

NO_LEDGER = {"ledger_enabled": "0", "ledger_url": ""}


@pytest.fixture
def market(new_market: Callable[..., Market]) -> Market:
    return new_market(**NO_LEDGER)


def switched_on(market: Market) -> Market:
    """The same service, with the ledger switched on."""
    # On the same database: only the settings differ.
    other = object.__new__(Market)
    vars(other).update(vars(market))
    other.settings = type(market.settings).of(
        {
            **vars(market.settings),
            "ledger_enabled": "1",
            "ledger_url": market.sandbox.urls["ledger"],
        }
    )
    other.app = create_app(other.settings)
    other.use(build_runtime(other.settings, market.wakeups))
    return other


def test_a_compose_is_final_at_once(market: Market):
    market.consume(amount=70)
    address = market.issue(1000)
    market.rows(
        "INSERT INTO webhook_subscriptions (user_id, event, url, host, secret) "
        "SELECT id, 'ON_GGO_RECEIVED', 'http://r.example', 'r.example:80', 'sealed' FROM users"
    )
    answer = market.compose(address, transfers=[(100, "bob")], retires=[(50, CONSUMPTION)])
    assert answer.json == {"success": True, "message": None}

    assert market.amounts("alice", category="stored") == [850]
    assert market.amounts("alice", category="retired") == [50]
    assert market.amounts("bob") == [100]
    deliveries = market.rows(
        "SELECT convert_from(body, 'UTF8')::json->>'sub' FROM webhook_deliveries ORDER BY 1"
    )
    assert [row[0] for row in deliveries] == ["alice", "bob"]
    assert market.rows("SELECT state, never_sent, ledger_batch_id, posts FROM batches") == [
        ("COMPLETED", True, None, 0)
    ]
    assert (
        market.runtime.batch_runner.run_due() == market.runtime.batch_runner.resubmit_stuck() == 0
    )
    assert market.sandbox.ledger.batches() == []


def test_received_ggos_can_be_composed(market: Market):
    market.sandbox.datahub.publish(BOBS_CONSUMPTION, market.begin, 100)
    market.compose(market.issue(1000), transfers=[(100, "bob")])
    [received] = market.listed("bob")
    answer = market.compose(received["address"], retires=[(100, BOBS_CONSUMPTION)], subject="bob")
    assert answer.json["success"]
    assert market.amounts("bob", category="retired") == [100]
    again = market.compose(received["address"], retires=[(1, BOBS_CONSUMPTION)], subject="bob")
    assert again.json == {
        "success": False,
        "message": f"GGO not found or is unavailable: {received['address']}",
    }


def test_batches_that_were_never_sent_are_recognised_when_the_ledger_is_switched_on(
    market: Market, capsys: pytest.CaptureFixture[str]
):
    market.compose(market.issue(1000), transfers=[(100, "bob")])
    untouched = market.issue(500, begin=market.hour(1))
    [received] = market.listed("bob")
    on = switched_on(market)

    answer = on.compose(received["address"], transfers=[(1, "alice")], subject="bob")
    assert answer.status_code == 400
    assert answer.json["message"] == f"GGO not found or is unavailable: {received['address']}"
    assert "never sent to the ledger" in capsys.readouterr().out

    for _ in on.runtime.reconciliation.run(anew=True, calls_per_second=10_000):
        pass
    kinds = sorted(each.kind for each in on.runtime.reconciliation.open_differences())
    assert kinds == ["never_sent"] * 3
    # GGOs that the ledger has work as usual.
    assert on.compose(untouched, transfers=[(500, "bob")]).status_code == 200
    on.settle()
    assert on.amounts("bob") == [100, 500]
    batch_ids = [str(row[0]) for row in on.rows("SELECT id FROM batches ORDER BY id")]
    shown = on.app.test_cli_runner().invoke(args=["ledger", "batch", batch_ids[0]])
    assert (
        "never sent to the ledger: it was completed while the ledger was switched off"
        in shown.output
    )


def test_the_service_does_not_start_while_batches_are_under_way(
    market: Market, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        check_ledger_mode(market.runtime.database, ledger_enabled=market.settings.ledger_enabled)
    assert "switched off" in caplog.text
    on = switched_on(market)
    on.compose(on.issue(1000), transfers=[(100, "bob")])
    check_ledger_mode(on.runtime.database, ledger_enabled=on.settings.ledger_enabled)
    with pytest.raises(ConfigurationError, match="batches are under way"):
        check_ledger_mode(market.runtime.database, ledger_enabled=market.settings.ledger_enabled)
    on.settle()
    check_ledger_mode(market.runtime.database, ledger_enabled=market.settings.ledger_enabled)


def test_health_metrics_and_commands_show_that_the_ledger_is_off(market: Market):
    ready = market.client().get("/health/ready")
    assert ready.json["ledger"] == "disabled"
    assert "account_service_ledger_enabled 0.0" in market.client().get("/metrics").text
    walked = market.app.test_cli_runner().invoke(args=["ledger", "reconcile"])
    assert walked.exit_code == 2
    assert "LEDGER_ENABLED=0" in walked.output
    assert market.runtime.reconciliation.continue_run() == 0
    on = switched_on(market)
    assert "ledger" not in on.client().get("/health/ready").json
    assert "account_service_ledger_enabled 1.0" in on.client().get("/metrics").text


def test_migrate_fails_while_batches_are_under_way(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in market.environment().items():
        monkeypatch.setenv(name, value)
    assert migrate.main(["--check-settings"]) == 0
    on = switched_on(market)
    on.compose(on.issue(1000), transfers=[(100, "bob")])
    assert migrate.main(["--check-settings"]) == 2
    assert "batches are under way" in capsys.readouterr().err


def test_a_recovery_counts_batches_that_were_never_sent(market: Market, tmp_path: Path):
    """They are no difference, as the ledger can't have them."""
    market.consume(amount=70)
    market.compose(market.issue(1000), transfers=[(100, "bob")], retires=[(50, CONSUMPTION)])
    market.compose(market.issue(20, begin=market.hour(1)), transfers=[(20, "bob")])
    before = market.rows("SELECT * FROM ggos ORDER BY id")
    report = tmp_path / "report.json"
    done = recover(switched_on(market), report)
    assert done.exit_code == 0, done.output
    counts = json.loads(report.read_text())["counts"]
    assert (counts["ggos"], counts["never_sent"]) == (6, 6)
    assert market.rows("SELECT * FROM ggos ORDER BY id") == before


def test_a_recovery_without_a_ledger_restores_what_datahub_has(market: Market, tmp_path: Path):
    market.compose(market.issue(1000), transfers=[(100, "bob")])
    codes = {"technologyCode": "T020001", "fuelCode": "F01050100"}
    for hour in (1, 2):
        market.sandbox.datahub.issue(PRODUCTION, market.hour(hour), 70, webhooks="none", **codes)
    report = tmp_path / "report.json"
    dry = recover(market, report, "--dry-run")
    assert dry.exit_code == 1, dry.output
    assert json.loads(report.read_text())["counts"]["issued"] == 2
    done = recover(market, report)
    assert done.exit_code == 0, done.output
    assert json.loads(report.read_text())["complete"]
    assert "LEDGER_ENABLED=0" in done.output
    assert market.amounts("alice", category="stored") == [900, 70, 70]
    assert market.value("SELECT min(next_trade_index) FROM users") >= 1000


def recover(market: Market, report: Path, *arguments: str) -> Result:
    """Recover as operators do."""
    command = ["ledger", "recover", "--rate", "100000", "--margin", "1000", "--json", str(report)]
    return market.app.test_cli_runner().invoke(args=[*command, *arguments])
