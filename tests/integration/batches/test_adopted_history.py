"""Batches that had ended in the original service: nothing needs their bytes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from origin.cli import ledger as cli
from origin.maintenance.service.pruning import prune
from tests.support.adopted import adopt_ended, adopt_in_flight
from tests.support.auditor import audit, read_books, read_ledger
from tests.support.market import CONSUMPTION, Market

NEVER_SENT = (
    "never sent to the ledger: it was completed while the ledger was switched off, "
    "here or by the original service"
)


@pytest.fixture
def adopted(market: Market) -> Market:
    """An adopted market, in order with the ledger.

    A split, a retirement of a whole GGO, and a declined batch, of three GGOs of 1000 Wh.
    """
    market.consume(amount=1000)
    market.consume(amount=1000, begin=market.hour(1))
    split = market.issue(1000)
    market.compose(split, transfers=[(300, "bob")], retires=[(50, CONSUMPTION)])
    market.settle()
    market.begin = market.hour(1)
    market.compose(market.issue(1000), retires=[(1000, CONSUMPTION)])
    market.settle()
    market.begin = market.hour(1)
    market.sandbox.ledger.refuse_next(message="Not on my watch")
    market.compose(market.issue(1000), transfers=[(400, "bob")])
    market.settle()
    adopt_ended(market)
    return market


def reconciled(market: Market) -> list[str]:
    """Reconcile everything; return the kinds of the differences."""
    for _ in market.runtime.reconciliation.run(anew=True, calls_per_second=10_000):
        pass
    return sorted(each.kind for each in market.runtime.reconciliation.open_differences())


def invoke(market: Market, *arguments: str) -> str:
    result = market.app.test_cli_runner().invoke(args=list(arguments))
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_adopted_ggos_are_in_step_with_the_ledger_and_go_on(adopted: Market, tmp_path: Path):
    """Reconciliation, recovery, pruning, gauges and commands need no bytes."""
    market = adopted
    assert reconciled(market) == []
    assert (
        market.runtime.batch_runner.run_due() == market.runtime.batch_runner.resubmit_stuck() == 0
    )
    prune(market.runtime.database)
    assert 'account_service_batches{state="PENDING"} 0.0' in market.client().get("/metrics").text
    report = tmp_path / "report.json"
    invoke(market, "ledger", "recover", "--dry-run", "--rate", "100000", "--json", str(report))
    assert json.loads(report.read_text())["complete"]
    for name in ("1", "3"):
        shown = invoke(market, "ledger", "batch", name)
        assert "On the ledger: ended without being signed here" in shown
        assert "Adopted from the original service; its batch on the ledger: " in shown
    assert "Not on my watch" in invoke(market, "ledger", "batch", "3")
    # What the original declined, received and kept is traded on.
    stored = "SELECT address FROM ggos WHERE stored AND amount = :amount"
    for amount, subject in ((1000, "alice"), (300, "bob")):
        address = market.value(stored, amount=amount)
        answer = market.compose(address, transfers=[(7, "alice")], subject=subject)
        assert answer.status_code == 200, answer.text
    market.settle()
    assert [state for state, _ in market.batches()][3:] == ["COMPLETED"] * 2
    assert reconciled(market) == []
    uri = market.settings.database_uri.get_secret_value().replace("+psycopg2", "")
    assert audit(read_books(uri), read_ledger(market.sandbox.urls["ledger"])) == []


def test_a_declined_batch_that_was_adopted_is_never_done_again_by_guessing(adopted: Market):
    """Its parts are unknown: what spent its source on the ledger is told, and blocks it at a compose."""
    market = adopted
    source = market.value(
        "SELECT address FROM ggos JOIN batches ON ggo_id = ggos.id WHERE batches.id = 3"
    )
    market.compose(source, transfers=[(400, "bob")])
    original = adopt_in_flight(market)
    market.rows("DELETE FROM transactions WHERE batch_id = 4")
    market.rows("DELETE FROM batch_events")
    market.rows("DELETE FROM batches WHERE id = 4")
    market.rows(
        "DELETE FROM ggos WHERE parent_id = (SELECT id FROM ggos WHERE address = :a)", a=source
    )
    market.rows("UPDATE ggos SET stored = true, locked = false WHERE address = :a", a=source)
    market.runtime.ledger.post(original.batch_list)
    market.sandbox.ledger.batches(count=4, wait=10)
    assert reconciled(market) == ["spent_there"]
    assert [state for state, _ in market.batches()] == ["COMPLETED", "COMPLETED", "DECLINED"]


@pytest.fixture
def never_sent(new_market: Callable[..., Market]) -> tuple[Market, str]:
    """A market whose first GGO was composed while the original's ledger was off; a part's address."""
    market = new_market()
    market.compose(market.issue(1000), transfers=[(100, "bob")])
    part = market.value("SELECT address FROM ggos WHERE amount = 100")
    market.rows(
        "UPDATE batches SET state = 'COMPLETED', never_sent = true, adopted_at = now(), "
        "submitted_at = now(), ended_at = now(), next_attempt_at = NULL"
    )
    market.rows("UPDATE ggos SET locked = false, never_sent = true")
    market.compose(market.issue(500, begin=market.hour(1)), transfers=[(200, "bob")])
    market.settle()
    return market, part


def test_a_million_that_were_never_sent_hide_nothing_and_cost_no_calls(
    never_sent: tuple[Market, str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    """Commands print some of them, after all else; the ledger is not asked about them."""
    market, _ = never_sent
    monkeypatch.setattr(cli, "SHOWN_NEVER_SENT", 2)
    market.sandbox.ledger.forget_calls()
    stranded = market.value("SELECT address FROM ggos WHERE amount = 200")
    market.rows("UPDATE ggos SET locked = true WHERE address = :address", address=stranded)
    assert reconciled(market) == ["never_sent"] * 3 + ["stranded"]
    # The other three of the six GGOs are asked about.
    assert market.sandbox.ledger.count("GET /state/<address>") == 3
    errors = [each.kind for each in caplog.records if each.levelname == "ERROR"]  # type: ignore[attr-defined]
    assert errors == ["stranded"]
    status = market.app.test_cli_runner().invoke(args=["ledger", "status"])
    assert status.output.count("never_sent") == 2
    assert status.output.index("stranded") < status.output.index("never_sent")
    assert "3 GGOs were never sent to the ledger, of which 2 are shown" in status.output
    written = market.app.test_cli_runner().invoke(
        args=["ledger", "reconcile", "--repair", "--rate", "100000", "--json", "-"]
    )
    assert written.exit_code == 1
    assert written.output.count('"never_sent"') == 3


def test_ggos_that_the_original_never_sent_are_a_kind_of_their_own(
    never_sent: tuple[Market, str], caplog: pytest.LogCaptureFixture
):
    """Neither theft nor lost: and a compose of one is rejected, with the reason for operators."""
    market, part = never_sent
    assert reconciled(market) == ["never_sent"] * 3
    answer = market.compose(part, transfers=[(1, "alice")], subject="bob")
    assert answer.status_code == 400
    assert answer.json["message"] == f"GGO not found or is unavailable: {part}"
    assert "while the ledger was switched off, here or by the original service" in caplog.text
    assert NEVER_SENT in invoke(market, "ledger", "batch", part)
    status = market.app.test_cli_runner().invoke(args=["ledger", "status"])
    assert status.exit_code == 1
    assert status.output.count("never_sent") == 3
    # Nothing of it is sent later.
    assert market.runtime.batch_runner.resubmit_stuck() == 0
    assert len(market.sandbox.ledger.batches()) == 1
    report = market.app.test_cli_runner().invoke(
        args=["ledger", "recover", "--rate", "100000", "--margin", "10"]
    )
    assert report.exit_code == 0, report.output
    assert market.value("SELECT count(*) FROM ggos WHERE never_sent") == 3
