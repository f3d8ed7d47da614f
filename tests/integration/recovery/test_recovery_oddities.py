"""Recovery of a database that was used after the restore, or that can't know everything."""

import json
import threading
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from origin.batches.client.sdk import Split, sign_batch
from origin.batches.queries.outcomes import complete_batches, decline_batch
from origin.batches.service.redo import redo
from origin.errors import OwnerChanged
from origin.intake.service.issued_ggos import IssuedGgos
from origin.keys.derivation import ExtendedKey, metering_point_key, period_key
from origin.recovery.queries import progress, restoring
from tests.support.drill import Drill, composed, one, stored
from tests.support.market import BOBS_CONSUMPTION, CONSUMPTION, PRODUCTION, Market
from tests.support.waiting import eventually
from tests.support.world import query_of

NEW_CONSUMPTION, NEW_PRODUCTION = "571313180400000128", "571313180400000111"


class Recovered:
    """The result and the JSON report of a run."""

    def __init__(self, drill: Drill, path: Path, *arguments: str) -> None:
        self.result = drill.recover("--margin", "1000", "--json", str(path), *arguments)
        self.exit_code = self.result.exit_code
        self.report = json.loads(path.read_text())


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def lost_split(drill: Drill) -> str:
    """Issue 500 Wh to Alice, back up, send 200 Wh to Bob, and restore; return the GGO's address."""
    market = drill.market
    source = market.issue(500)
    composed(market, market.issue(1000, begin=market.hour(1)), transfers=[(100, "bob")])
    drill.backup()
    composed(market, source, transfers=[(200, "bob")])
    drill.restore()
    return source


def amounts(market: Market, subject: str) -> list[int]:
    return sorted(ggo["amount"] for ggo in stored(market, subject))


@pytest.mark.parametrize("order", [(70, "carol"), (199, "bob")])
def test_a_batch_under_way_that_the_ledger_contradicts_is_declined(
    drill: Drill, report: Path, order: tuple[int, str]
):
    """It splits to other addresses, or to the same ones, handed out again, with other amounts."""
    market = drill.market
    source = lost_split(drill)
    assert market.compose(source, transfers=[order]).status_code == 200
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert drill.audit() == []
    assert amounts(market, "bob") == [100, 200]
    assert amounts(market, "alice") == [300, 900]
    [*_, (state, reason), done] = market.batches()
    assert (state, done) == ("DECLINED", ("COMPLETED", None))
    assert "another operation" in str(reason)


def test_parts_with_wrong_amounts_get_those_of_the_ledger(drill: Drill, report: Path):
    """A batch under way that spends a wrong part is declined. The wrong order is forgotten."""
    market = drill.market
    source = lost_split(drill)
    assert market.compose(source, transfers=[(199, "bob")]).status_code == 200
    wrong_order = market.value("SELECT operation_id FROM batches WHERE ended_at IS NULL")
    [[batch]] = market.rows("SELECT id FROM batches WHERE ended_at IS NULL")
    with market.runtime.database.transaction() as session:
        complete_batches(session, [batch])
    market.tokens["bob"] = market.token("bob")
    wrong = one(market, "bob", 199)
    assert market.compose(wrong, transfers=[(10, "carol")], subject="bob").status_code == 200
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert drill.audit() == []
    assert amounts(market, "bob") == [100, 200]
    assert market.rows("SELECT reference FROM ggos WHERE amount = 200") == [(None,)]
    assert [state for state, _ in market.batches()][-1] == "DECLINED"
    assert market.rows("SELECT 1 FROM operations WHERE id = :id", id=wrong_order) == []
    market.runtime.operation_back_fill.run()
    made = market.rows(
        "SELECT moved, request::text FROM batches JOIN operations ON operations.id = operation_id "
        "WHERE batches.id = :id",
        id=batch,
    )
    transfer = {"amount": 200, "account": "bob"}
    assert [(moved, json.loads(request)) for moved, request in made] == [
        (200, {"address": source, "transfers": [transfer], "retires": []})
    ]


def test_a_batch_to_an_address_that_is_in_use_on_the_ledger_is_declined(drill: Drill, report: Path):
    """Another GGO's batch splits to an address of the lost split."""
    market = drill.market
    lost_split(drill)
    other = market.issue(40, begin=market.hour(2))
    assert market.compose(other, transfers=[(30, "bob")]).status_code == 200
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert found.report["counts"]["declined"] == 1
    assert drill.audit() == []
    assert amounts(market, "alice") == [40, 300, 900]
    composed(market, other, transfers=[(30, "bob")])
    assert drill.audit() == []


def test_a_declined_batch_that_stands_on_the_ledger_is_done_again_with_its_reference(
    drill: Drill, report: Path
):
    market = drill.market
    source = market.issue(500)
    assert market.compose(source, transfers=[(200, "bob")]).status_code == 200
    market.run_batches()
    market.sandbox.ledger.batches(wait=10)
    with market.runtime.database.transaction() as session:
        [[batch]] = market.rows("SELECT id FROM batches")
        assert decline_batch(session, batch, "not so")
    drill.backup()
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert found.report["counts"]["completed"] == 1
    assert drill.audit() == []
    assert market.rows("SELECT reference FROM ggos WHERE amount = 200") == [("ref 0",)]
    assert market.batches() == [("COMPLETED", "not so")]


def test_a_part_of_a_user_whose_key_is_lost_is_reported(drill: Drill, report: Path):
    """The other parts are restored, and can be traded."""
    market = drill.market
    source = market.issue(500)
    drill.backup()
    market.new_user("dave")
    composed(market, source, transfers=[(200, "dave"), (50, "bob")])
    drill.restore(recovery_mode=True)
    for _ in range(2):
        found = Recovered(drill, report, "--reach", "300")
        assert found.exit_code == 1, found.result.output
        assert [(each["wh"], each["source"]) for each in found.report["unmatched"]] == [
            (200, source)
        ]
        assert found.report["differing"] == []
        assert "NOT OURS OR LOST KEY" in found.result.output
        assert amounts(market, "alice") == [250]
        assert amounts(market, "bob") == [50]
    drill.restart(recovery_mode=False)
    composed(market, one(market, "alice", 250), transfers=[(1, "bob")])


def test_datahub_is_not_asked_for_a_user_whose_key_is_lost(drill: Drill, report: Path):
    drill.backup()
    drill.restore()
    drill.market.rows(
        "UPDATE users SET master_key = 'lost', access_token = NULL, token_expires_at = NULL, "
        "refresh_token = NULL WHERE subject = 'alice'"
    )
    found = Recovered(drill, report, "--reach", "300")
    reason = found.report["not_asked"][0]["reason"]
    assert "KEY_ENCRYPTION_SECRETS" in reason


def test_a_key_rotation_does_not_stop_a_recovery(
    drill: Drill, report: Path, monkeypatch: pytest.MonkeyPatch
):
    """It may change a user between the look-up and the insert of GGOs."""
    drill.backup()
    drill.market.issue(500)
    drill.restore()
    issue, calls = IssuedGgos.issue, []

    def changed_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise OwnerChanged
        return issue(*arguments)

    monkeypatch.setattr(IssuedGgos, "issue", changed_once)
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert len(calls) > 1
    assert amounts(drill.market, "alice") == [500]


def test_a_spent_ggo_whose_parts_are_all_unknown_is_not_on_offer(drill: Drill, report: Path):
    market = drill.market
    source = market.issue(500)
    drill.backup()
    market.new_user("dave")
    composed(market, source, transfers=[(500, "dave")])
    drill.restore()
    found = Recovered(drill, report, "--reach", "300")
    assert found.exit_code == 1, found.result.output
    assert amounts(market, "alice") == []
    assert market.compose(source, transfers=[(1, "bob")]).status_code == 400


def learn(market: Market) -> int:
    """Add a metering point to Alice; return its key index."""
    market.sandbox.datahub.add_meteringpoint(
        "alice", NEW_CONSUMPTION, "consumption", webhooks="none"
    )
    assert market.point("alice", NEW_CONSUMPTION, type="consumption").json == {"success": True}
    while market.run_jobs():
        pass
    return int(
        market.value("SELECT key_index FROM metering_points WHERE gsrn = :g", g=NEW_CONSUMPTION)
    )


def test_a_point_without_proof_of_its_key_gets_a_fresh_one(drill: Drill, report: Path):
    market = drill.market
    drill.backup()
    before = learn(market)
    drill.restore(recovery_mode=True)
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    [point] = found.report["points"]
    assert point["key_index"] >= before + 1000
    assert "fresh key" in point["proof"]
    while market.run_jobs():
        pass
    sealed = market.value("SELECT master_key FROM users WHERE subject = 'alice'")
    master = ExtendedKey.from_base58(market.runtime.sealer.open(sealed, "users.master_key:alice"))
    sent = market.sandbox.datahub.keys(NEW_CONSUMPTION)[NEW_CONSUMPTION]
    assert sent == metering_point_key(master, point["key_index"]).base58()


def test_points_of_users_who_must_log_in_keep_their_keys(drill: Drill, report: Path):
    """DataHub can't be asked for them at first; after the login the import uses DataHub's addresses."""
    market = drill.market
    drill.backup()
    before = learn(market)
    market.consume(NEW_CONSUMPTION, 90)
    drill.restore(recovery_mode=True)
    market.sandbox.hydra.revoke(sub="alice")
    found = Recovered(drill, report)
    assert found.exit_code == 1, found.result.output
    assert {each["subject"] for each in found.report["not_asked"]} == {"alice"}
    assert query_of(market.login("alice"))["success"] == "1"
    market.rows(
        "INSERT INTO datahub_jobs (user_id, kind) SELECT id, 'import_metering_points' FROM users "
        "WHERE subject = 'alice' ON CONFLICT DO NOTHING"
    )
    while market.run_jobs():
        pass
    query = "SELECT key_index FROM metering_points WHERE gsrn = :g"
    assert market.value(query, g=NEW_CONSUMPTION) == before
    again = Recovered(drill, report)
    assert again.exit_code == 0, again.result.output


@pytest.mark.parametrize(
    ("measurements", "ggos"), [([{}], []), ([], [{}])], ids=["a measurement", "a GGO"]
)
def test_an_unexpected_answer_does_not_prove_that_a_point_has_no_key(
    market: Market, measurements: list[Any], ggos: list[Any]
):
    market.sandbox.datahub.add_meteringpoint(
        "alice", NEW_CONSUMPTION, "production", webhooks="none"
    )
    market.rows("INSERT INTO recoveries (margin) VALUES (1)")
    for endpoint, found in (
        ("/measurements", {"total": len(measurements), "measurements": measurements}),
        ("/ggo", {"ggos": ggos}),
    ):
        market.datahub.fault(endpoint=endpoint, status=200, body={"success": True, **found})
    market.rows(
        "INSERT INTO datahub_jobs (user_id, kind) SELECT id, 'import_metering_points' FROM users "
        "WHERE subject = 'alice'"
    )
    market.run_jobs()
    query = "SELECT count(*) FROM metering_points WHERE gsrn = :g"
    assert market.value(query, g=NEW_CONSUMPTION) == 0
    error = "SELECT last_error FROM datahub_jobs WHERE kind = 'import_metering_points'"
    assert market.value(error).startswith("DataHubService: ")


def test_unspent_parts_are_announced_once(drill: Drill, report: Path):
    """Spent parts are not announced; a part that was announced before has the same webhook-id."""
    market = drill.market
    body = {"url": "https://93.184.216.34/", "secret": "a secret of some length"}
    path = "/webhook/on-ggo-received/subscribe"
    assert market.post(path, body, market.tokens["bob"]).status_code == 200
    source = market.issue(500)
    drill.backup()
    composed(market, source, transfers=[(200, "bob")])
    composed(market, one(market, "bob", 200), transfers=[(80, "carol")], subject="bob")
    query = "SELECT body, webhook_id FROM webhook_deliveries ORDER BY id"
    _, remainder = market.rows(query)
    drill.restore(recovery_mode=True)
    assert market.rows(query) == []
    for _ in range(2):
        assert Recovered(drill, report).exit_code == 0
        [delivery] = market.rows(query)
        assert json.loads(bytes(delivery.body))["ggo"]["amount"] == 120
        assert delivery.webhook_id == remainder.webhook_id


def test_a_recovery_continues_where_it_stopped(
    drill: Drill, report: Path, monkeypatch: pytest.MonkeyPatch
):
    market = drill.market
    lost_split(drill)
    refused = drill.recover("--continue")
    assert refused.exit_code == 2
    assert "no recovery" in refused.output
    counters = "SELECT sum(next_trade_index) FROM users"
    before = market.value(counters)
    with monkeypatch.context() as patch:
        patch.setattr(progress, "finish", _interrupted)
        assert Recovered(drill, report).exit_code == 2
    moved = market.value(counters)
    assert moved > before
    found = Recovered(drill, report, "--continue")
    assert found.exit_code == 0, found.result.output
    # Only the two parts that were added are compared, and the counters are not moved again.
    assert found.report["counts"]["ggos"] == 2
    assert market.value(counters) == moved


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_one_recovery_at_a_time(drill: Drill):
    drill.backup()
    with progress.only_one(drill.market.runtime.database) as alone:
        assert alone
        refused = drill.recover()
    assert refused.exit_code == 2
    assert "Another recovery" in refused.output
    assert drill.recover().exit_code == 0


@pytest.mark.parametrize("peer", ["ledger", "datahub"])
def test_a_peer_that_is_away_is_status_2(
    drill: Drill, report: Path, monkeypatch: pytest.MonkeyPatch, peer: str
):
    market = drill.market
    lost_split(drill)
    monkeypatch.setattr("origin.peers.retrying.interruptible_sleep", lambda _: None)
    sandbox = getattr(market.sandbox, peer)
    sandbox.fault("/state/*" if peer == "ledger" else "/meteringpoints", status=503, times=None)
    away = Recovered(drill, report)
    assert away.exit_code == 2, away.result.output
    assert away.report["complete"] is False
    assert "Run it again" in away.result.output
    sandbox.clear_faults()
    assert Recovered(drill, report).exit_code == 0
    assert drill.audit() == []


def test_what_only_the_database_has_is_reported(drill: Drill, report: Path):
    market = drill.market
    market.consume()
    source = market.issue(500)
    drill.backup()
    market.rows(
        "UPDATE ggos SET stored = false, retired = true, retire_gsrn = :g, retire_address = 'x'",
        g=CONSUMPTION,
    )
    found = Recovered(drill, report)
    assert found.exit_code == 1, found.result.output
    [differing] = found.report["differing"]
    assert differing["address"] == source
    assert "spent here" in differing["what"]
    assert market.rows("SELECT count(*) FROM ggos WHERE issue_gsrn = :g", g=PRODUCTION) == [(1,)]


def test_an_unexpected_answer_declines_nothing(drill: Drill, report: Path):
    """One part of a batch under way, which the ledger has committed, can't be read for now."""
    market = drill.market
    source = market.issue(500)
    assert market.compose(source, transfers=[(200, "bob")]).status_code == 200
    market.run_batches()
    market.sandbox.ledger.batches(wait=10)
    drill.backup()
    part = market.value("SELECT address FROM ggos WHERE amount = 200")
    market.sandbox.ledger.fault(f"/state/{part}", status=200, body={"data": "bm8="}, times=None)
    before = market.snapshot()["batches"]
    found = Recovered(drill, report)
    assert found.exit_code == 1, found.result.output
    assert {each["address"] for each in found.report["differing"]} == {part, source}
    assert market.snapshot()["batches"] == before
    market.sandbox.ledger.clear_faults()
    assert Recovered(drill, report).exit_code == 0
    assert market.batches() == [("COMPLETED", None)]
    assert drill.audit() == []


def test_a_split_without_its_retirement_is_another_operation(drill: Drill, report: Path):
    """The parts are restored as the ledger has them: not retired."""
    market = drill.market
    market.consume(amount=100)
    source = market.issue(500)
    assert market.compose(source, retires=[(100, CONSUMPTION)]).status_code == 200
    drill.backup()
    sealed = market.value("SELECT master_key FROM users WHERE subject = 'alice'")
    master = ExtendedKey.from_base58(market.runtime.sealer.open(sealed, "users.master_key:alice"))
    index = market.value("SELECT key_index FROM metering_points WHERE gsrn = :g", g=PRODUCTION)
    key = period_key(metering_point_key(master, index), market.begin)
    targets = [
        (row[0], row[1])
        for row in market.rows(
            "SELECT address, amount FROM ggos WHERE parent_id IS NOT NULL ORDER BY split_position"
        )
    ]
    market.runtime.ledger.post(sign_batch(master, Split(key, targets), []).batch_list)
    market.sandbox.ledger.batches(wait=10)
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert amounts(market, "alice") == [100, 400]
    assert [state for state, _ in market.batches()] == ["DECLINED", "COMPLETED"]
    assert drill.audit() == []


def test_posts_from_before_the_restore_may_still_arrive(drill: Drill, report: Path):
    """Their addresses are not handed out again, and another run restores their parts."""
    market = drill.market
    source, other = market.issue(500), market.issue(90, begin=market.hour(1))
    drill.backup()
    with market.sandbox.ledger.held():
        assert market.compose(source, transfers=[(200, "bob")]).status_code == 200
        market.run_batches()
        drill.restore(recovery_mode=True)
        assert Recovered(drill, report).exit_code == 0
        assert amounts(market, "alice") == [90, 500]
    market.sandbox.ledger.batches(wait=10)
    drill.restart(recovery_mode=False)
    composed(market, other, transfers=[(40, "bob")])
    assert market.batches() == [("COMPLETED", None)]
    assert Recovered(drill, report).exit_code == 0
    assert amounts(market, "alice") == [50, 300]
    assert amounts(market, "bob") == [40, 200]
    assert drill.audit() == []


def test_recovery_waits_for_a_reconciliation_that_does_a_batch_again(drill: Drill, report: Path):
    """Both lock batches first, then GGOs: otherwise they would deadlock."""
    market = drill.market
    source = market.issue(500)
    assert market.compose(source, transfers=[(200, "bob")]).status_code == 200
    market.run_batches()
    market.sandbox.ledger.batches(wait=10)
    [[batch]] = market.rows("SELECT id FROM batches")
    with market.runtime.database.transaction() as session:
        assert decline_batch(session, batch, "not so")
    drill.backup()
    found: list[Recovered] = []
    runs = threading.Thread(target=lambda: found.append(Recovered(drill, report)))
    with market.runtime.database.transaction() as session:
        session.execute(text("SELECT FROM batches FOR UPDATE"))
        runs.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        eventually(lambda: market.value(waiting) == 1, "the recovery waits for the batch")
        assert redo(session, batch, market.value("SELECT id FROM ggos"))
    runs.join()
    assert found[0].exit_code == 0, found[0].result.output
    assert market.batches() == [("COMPLETED", "not so")]
    assert drill.audit() == []


def fails_once(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, after: int = 0) -> None:
    """Make one restoration fail, after so many that succeed."""
    restore, calls = restoring.restore, [0]

    def failing(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == after + 1:
            raise error
        return restore(*arguments)

    monkeypatch.setattr(restoring, "restore", failing)


def test_parts_are_not_changed_while_their_source_is_under_way(
    drill: Drill, report: Path, monkeypatch: pytest.MonkeyPatch
):
    """The source could not be restored: if its parts changed, its batch could never be completed."""
    market = drill.market
    source = market.issue(500)
    assert market.compose(source, transfers=[(200, "bob")]).status_code == 200
    drill.backup()
    market.settle()
    market.new_user("dave")
    composed(market, one(market, "bob", 200), transfers=[(200, "dave")], subject="bob")
    drill.restore()
    fails_once(monkeypatch, IntegrityError("a statement", {}, UniqueViolation()))
    found = Recovered(drill, report, "--reach", "300")
    assert found.exit_code == 1, found.result.output
    assert "can't be put in place now" in found.report["differing"][0]["what"]
    assert market.batches() == [("PENDING", None)]
    again = Recovered(drill, report, "--reach", "300")
    assert [each["wh"] for each in again.report["unmatched"]] == [200]
    assert again.report["differing"] == []
    assert market.batches() == [("COMPLETED", None)]
    assert (amounts(market, "alice"), amounts(market, "bob")) == ([300], [])


def test_a_database_error_ends_the_recovery(
    drill: Drill, report: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is no difference, and no GGO is skipped."""
    lost_split(drill)
    fails_once(monkeypatch, OperationalError("a statement", {}, psycopg2.OperationalError()))
    away = Recovered(drill, report)
    assert away.exit_code not in {0, 1}, away.result.output
    assert away.report["differing"] == []
    assert Recovered(drill, report, "--continue").exit_code == 0
    assert drill.audit() == []


def test_a_known_part_is_not_reported_as_lost(
    drill: Drill, report: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its split was restored in part, by a recovery that was stopped afterwards."""
    market = drill.market
    source = market.issue(500)
    drill.backup()
    market.new_user("dave")
    composed(market, source, transfers=[(200, "dave"), (50, "bob")])
    composed(market, one(market, "bob", 50), transfers=[(10, "carol")], subject="bob")
    drill.restore()
    with monkeypatch.context() as patch:
        fails_once(patch, KeyboardInterrupt(), after=1)
        assert Recovered(drill, report, "--reach", "300").exit_code == 2
    found = Recovered(drill, report, "--reach", "300")
    assert [(each["wh"], each["source"]) for each in found.report["unmatched"]] == [(200, source)]
    assert (amounts(market, "bob"), amounts(market, "carol")) == ([40], [10])


def test_a_continued_recovery_asks_for_all_ggos_of_new_points(
    drill: Drill, report: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also of points that the run before had added: their spent GGOs must not be on offer."""
    market = drill.market
    drill.backup()
    market.sandbox.datahub.add_meteringpoint("alice", NEW_PRODUCTION, "production", webhooks="none")
    assert market.point("alice", NEW_PRODUCTION, type="production").json == {"success": True}
    while market.run_jobs():
        pass
    codes = {"technologyCode": "T020001", "fuelCode": "F01050100"}
    issued = market.sandbox.datahub.issue(
        NEW_PRODUCTION, market.begin, 70, webhooks="none", **codes
    )
    market.webhook("on-ggo-issued", {"sub": "alice", "ggo": issued})
    composed(market, issued["address"], transfers=[(70, "bob")])
    drill.restore(recovery_mode=True)
    since = ("--since", "2021-01-01")
    with monkeypatch.context() as patch:
        patch.setattr(
            "origin.recovery.service.forgotten_points.ForgottenPoints.fetch_issued", _interrupted
        )
        assert Recovered(drill, report, *since).exit_code == 2
    found = Recovered(drill, report, "--continue", *since)
    assert found.exit_code == 0, found.result.output
    assert (amounts(market, "alice"), amounts(market, "bob")) == ([], [70])
    assert drill.audit() == []


def test_a_part_that_was_retired_by_mistake_can_be_composed(drill: Drill, report: Path):
    """An earlier version had completed its batch with wrong amounts."""
    market = drill.market
    market.consume(amount=1000)
    source = lost_split(drill)
    order = {"transfers": [(201, "bob")], "retires": [(299, CONSUMPTION)]}
    assert market.compose(source, **order).status_code == 200
    [[batch]] = market.rows("SELECT id FROM batches WHERE ended_at IS NULL")
    with market.runtime.database.transaction() as session:
        complete_batches(session, [batch])
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert (amounts(market, "alice"), amounts(market, "bob")) == ([300, 900], [100, 200])
    composed(market, one(market, "alice", 300), transfers=[(1, "bob")])
    assert drill.audit() == []


@pytest.mark.parametrize(
    ("again", "since", "state"),
    [
        ((70, "carol"), {"transfers": [(80, "carol")]}, "DECLINED"),
        ((200, "bob"), {"transfers": [(80, "carol")]}, "COMPLETED"),
        ((200, "bob"), {"retires": [(200, BOBS_CONSUMPTION)]}, "DECLINED"),
    ],
    ids=["another", "the same, spent on", "the same, retired since"],
)
def test_batches_that_workers_ended_before_the_recovery(
    drill: Drill, report: Path, again: tuple[int, str], since: dict[str, Any], state: str
):
    """RECOVERY_MODE was not set: a compose of the lost source was declined, or completed."""
    market = drill.market
    market.consume(BOBS_CONSUMPTION, amount=1000)
    source = market.issue(500)
    drill.backup()
    composed(market, source, transfers=[(200, "bob")])
    composed(market, one(market, "bob", 200), subject="bob", **since)
    wanted = {subject: amounts(market, subject) for subject in ("alice", "bob", "carol")}
    drill.restore()
    composed(market, source, transfers=[again])
    assert [each for each, _ in market.batches()] == [state]
    list(market.runtime.reconciliation.run(anew=True, calls_per_second=10_000))
    assert market.runtime.reconciliation.open_differences() != []
    found = Recovered(drill, report)
    assert found.exit_code == 0, found.result.output
    assert {subject: amounts(market, subject) for subject in wanted} == wanted
    assert drill.audit() == []
    list(market.runtime.reconciliation.run(anew=True, calls_per_second=10_000))
    assert market.runtime.reconciliation.open_differences() == []
    composed(market, one(market, "alice", 300), transfers=[(1, "bob")])
    assert drill.audit() == []
