"""Batches of the original service that were in flight: each ends as the ledger has it."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from origin.batches.client.sdk import Split, sign_batch
from origin.batches.service import sign
from origin.batches.service.ledger_mode import check_ledger_mode
from origin.errors import ConfigurationError
from origin.keys.derivation import AddressKind, ExtendedKey, period_key
from origin.web.provided import provide
from sandbox.running import Sandbox
from tests.support.adopted import OriginalBatch, adopt_in_flight
from tests.support.market import CONSUMPTION, OTHER_CONSUMPTION, PRODUCTION, Market
from tests.support.world import at_once

Wishes = dict[str, Sequence[tuple[int, str]]]

_PARTS = "SELECT address, amount, owner_id, retire_address FROM ggos ORDER BY id"

SPLIT: Wishes = {
    "transfers": [(300, "bob")],
    "retires": [(50, CONSUMPTION), (20, OTHER_CONSUMPTION)],
}
WHOLE: Wishes = {"retires": [(1000, CONSUMPTION)]}


@pytest.fixture(scope="module")
def shared_market(module_database_uri: str, sandbox: Sandbox) -> Iterator[Market]:
    """Users, metering points and tokens for all tests: to make them takes longer than a test."""
    sandbox.reset()
    made = Market(module_database_uri, sandbox)
    yield made
    made.runtime.database.dispose()
    sandbox.reset()


@pytest.fixture
def market(shared_market: Market) -> Iterator[Market]:
    """A market without GGOs, whose hours no other test has used."""
    shared_market.begin += timedelta(days=1)
    runtime = shared_market.runtime
    yield shared_market
    shared_market.use(runtime)
    shared_market.sandbox.ledger.reset()
    # Through foreign keys also transactions, histories, differences and deliveries.
    shared_market.rows("TRUNCATE ggos, batches, ledger_walks, webhook_subscriptions CASCADE")


def composed(market: Market, wishes: Wishes = SPLIT) -> str:
    """Compose a GGO of 1000 Wh; return its address."""
    market.consume(amount=1000)
    market.consume(gsrn=OTHER_CONSUMPTION, amount=1000)
    address = market.issue(1000)
    assert market.compose(address, **wishes).status_code == 200
    return address


def adopted(market: Market, wishes: Wishes = SPLIT, **how: bool) -> OriginalBatch:
    """Compose a GGO as the original service did, and adopt the batch."""
    composed(market, wishes)
    return adopt_in_flight(market, **how)


def arrives(market: Market, original: OriginalBatch) -> None:
    """Let the original's batch arrive at the ledger."""
    market.runtime.ledger.post(original.batch_list)


def executed(market: Market, count: int = 1) -> None:
    """Wait until the ledger has executed or refused so many batches."""
    market.sandbox.ledger.batches(count=count, wait=10)


def states(market: Market) -> list[str]:
    return [state for state, _ in market.batches()]


def posts(market: Market) -> int:
    return int(market.value("SELECT posts FROM batches"))


def assert_completed(market: Market, wishes: Wishes = SPLIT) -> None:
    sent = sum(wh for wh, _ in wishes.get("transfers", ()))
    retired = sum(wh for wh, _ in wishes["retires"])
    assert states(market) == ["COMPLETED"]
    assert market.total("bob", category="stored") == sent
    assert market.total("alice", category="retired") == retired
    assert market.total("alice", category="stored") == 1000 - sent - retired
    assert reconciled(market) == []


def reconciled(market: Market) -> list[tuple[str, str]]:
    """Reconcile everything; return kind and address of each difference."""
    for _ in market.runtime.reconciliation.run(anew=True, calls_per_second=10_000):
        pass
    found = market.runtime.reconciliation.open_differences()
    return sorted((each.kind, each.address) for each in found)


def spend_by_a_stranger(market: Market) -> None:
    """Split the GGO on the ledger by its key, without the service."""
    point = ExtendedKey.from_base58(market.sandbox.datahub.keys(PRODUCTION)[PRODUCTION])
    key = period_key(point, market.begin)
    target = point.child(7).address(AddressKind.GGO)
    market.runtime.ledger.post(sign_batch(key, Split(key, [(target, 1000)]), []).batch_list)
    executed(market)


@pytest.mark.parametrize(("wishes", "with_id"), [(SPLIT, True), (WHOLE, False)])
def test_a_batch_that_the_ledger_has_executed_is_completed(
    market: Market, wishes: Wishes, with_id: bool
):
    """By the state alone: nothing is posted, and no status is asked for."""
    original = adopted(market, wishes, with_id=with_id)
    market.rows(
        "INSERT INTO webhook_subscriptions (user_id, event, url, host, secret) "
        "SELECT id, 'ON_GGO_RECEIVED', 'http://r.example', 'r.example:80', 's' FROM users"
    )
    arrives(market, original)
    executed(market)
    market.sandbox.ledger.fault("/batch_statuses", status=503, code=15, times=None)
    market.run_batches()
    assert_completed(market, wishes)
    assert (posts(market), market.value("SELECT signed_batch FROM batches")) == (0, None)
    deliveries = market.value("SELECT count(*) FROM webhook_deliveries")
    assert deliveries == (2 if "transfers" in wishes else 0)


@pytest.mark.parametrize(("wishes", "with_id"), [(SPLIT, True), (WHOLE, False)])
def test_a_batch_that_the_ledger_does_not_know_is_signed_anew(
    market: Market, wishes: Wishes, with_id: bool
):
    """The same addresses and amounts, in another batch."""
    original = adopted(market, wishes, with_id=with_id)
    before = market.rows(_PARTS)
    market.run_batches()
    assert (states(market), posts(market)) == (["SUBMITTED"], 1)
    market.settle()
    assert_completed(market, wishes)
    assert market.rows(_PARTS) == before
    [batch] = market.sandbox.ledger.batches()
    assert batch["id"] == market.value("SELECT ledger_batch_id FROM batches") != original.id
    events = [row[0] for row in market.rows("SELECT event FROM batch_events ORDER BY id")]
    assert events == ["signed anew", "posted: accepted"]


def test_a_batch_whose_source_another_operation_spent_is_declined(market: Market):
    adopted(market)
    spend_by_a_stranger(market)
    market.run_batches()
    [(state, reason)] = market.batches()
    assert (state, reason) == ("DECLINED", "another operation spent the source on the ledger")
    assert posts(market) == 0
    assert [kind for kind, _ in reconciled(market)] == ["spent_elsewhere"]
    assert (market.total("alice", category="issued"), market.total("bob")) == (1000, 0)


def test_parts_with_other_amounts_are_another_operation(market: Market):
    """The addresses alone prove nothing."""
    original = adopted(market, {"transfers": [(300, "bob")]})
    arrives(market, original)
    executed(market)
    market.rows("UPDATE ggos SET amount = 1000 - amount WHERE parent_id IS NOT NULL")
    market.run_batches()
    assert states(market) == ["DECLINED"]


def test_a_refused_batch_is_rolled_back_with_the_ledgers_reason(market: Market):
    """It is not signed anew, and its source can be composed again."""
    market.sandbox.ledger.refuse_next(message="Not on my watch")
    address = composed(market)
    arrives(market, adopt_in_flight(market))
    executed(market)
    market.run_batches()
    assert market.batches() == [("DECLINED", "Not on my watch")]
    assert posts(market) == 0
    assert market.total("alice", category="stored") == 1000
    assert market.compose(address, **SPLIT).status_code == 200
    market.settle()
    assert states(market) == ["DECLINED", "COMPLETED"]
    assert reconciled(market) == []


def test_a_declined_batch_that_the_ledger_executes_after_all_is_done_again(market: Market):
    """A validator forgot the refusal, and got the original's POST a second time."""
    market.sandbox.ledger.refuse_next()
    original = adopted(market)
    arrives(market, original)
    executed(market)
    market.run_batches()
    assert states(market) == ["DECLINED"]
    market.sandbox.ledger.forget()
    arrives(market, original)
    executed(market)
    assert reconciled(market) == []
    assert_completed(market)


def test_a_refusal_counts_only_if_the_source_is_unspent_afterwards(market: Market):
    """The batch is committed after the first look at the state, and then called INVALID."""
    original = adopted(market)
    source = market.value("SELECT address FROM ggos WHERE parent_id IS NULL")
    unspent = market.sandbox.ledger.state()[source]
    arrives(market, original)
    executed(market)
    market.sandbox.ledger.pretend(original.id, "INVALID")
    data = base64.b64encode(json.dumps(unspent).encode()).decode()
    market.sandbox.ledger.fault(f"/state/{source}", status=200, body={"data": data})
    market.run_batches()
    assert_completed(market)


def test_a_pending_batch_is_waited_for(market: Market):
    original = adopted(market)
    with market.sandbox.ledger.held():
        arrives(market, original)
        for _ in range(3):
            market.run_batches()
        assert (states(market), posts(market)) == (["SUBMITTED"], 0)
    executed(market)
    market.settle()
    assert_completed(market)
    assert len(market.sandbox.ledger.batches()) == 1


def stuck(market: Market) -> None:
    """Let BATCH_RESUBMIT_AFTER pass since the adoption."""
    market.rows("UPDATE batches SET adopted_at = now() - interval '7 h'")


def test_a_batch_that_stays_pending_is_signed_anew_and_never_declined(market: Market):
    """The ledger executes one of the two; the state has the same parts."""
    original = adopted(market)
    with market.sandbox.ledger.held():
        arrives(market, original)
        stuck(market)
        market.run_batches()
        assert (states(market), posts(market)) == (["SUBMITTED"], 1)
    executed(market, 2)
    market.settle()
    assert_completed(market)
    ends = [batch["status"] for batch in market.sandbox.ledger.batches()]
    assert ends == ["COMMITTED", "INVALID"]


def test_a_batch_whose_transactions_another_batch_holds_is_completed_by_state(market: Market):
    """The original built its transactions again, byte for byte: this batch stays PENDING for ever."""
    original = adopted(market)
    arrives(market, original)
    executed(market)
    market.sandbox.ledger.pretend(original.id, "PENDING")
    market.run_batches()
    assert_completed(market)


def test_a_batch_signed_anew_that_stays_pending_is_completed_by_state(market: Market):
    """As if the ledger left it out of every block: the original's has spent the source."""
    original = adopted(market, with_id=False)
    with market.sandbox.ledger.held():
        market.run_batches()
    executed(market)
    anew = market.value("SELECT ledger_batch_id FROM batches")
    market.sandbox.ledger.pretend(anew, "PENDING")
    arrives(market, original)
    market.run_batches()
    assert states(market) == ["SUBMITTED"]
    stuck(market)
    market.run_batches()
    assert_completed(market)


def test_committed_with_an_unspent_source_is_told_and_decides_nothing(
    market: Market, caplog: pytest.LogCaptureFixture
):
    original = adopted(market)
    market.sandbox.ledger.drop_next()
    arrives(market, original)
    market.sandbox.ledger.pretend(original.id, "COMMITTED")
    market.run_batches()
    assert events(caplog) == []
    stuck(market)
    market.run_batches()
    assert events(caplog) == ["ledger.odd_state"]
    assert (states(market), posts(market)) == (["SUBMITTED"], 0)
    market.sandbox.ledger.forget(committed=True)
    market.settle()
    assert_completed(market)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the events of the errors."""
    return [getattr(each, "event", "") for each in caplog.records if each.levelname == "ERROR"]


@pytest.mark.parametrize("endpoint", ["/state/*", "/batch_statuses"])
def test_a_ledger_out_of_reach_decides_nothing(market: Market, endpoint: str):
    adopted(market)
    for fault in ({"cut": "after"}, {"code": 15}, {"code": 17}):
        market.sandbox.ledger.fault(endpoint, times=None, **fault)
        market.run_batches()
        market.sandbox.ledger.clear_faults()
    assert (states(market), posts(market)) == (["SUBMITTED"], 0)
    assert market.value("SELECT signed_batch FROM batches") is None
    market.settle()
    assert_completed(market)


@pytest.mark.parametrize("name", ["F" * 128, "a,ø b&id=1"])
def test_an_id_that_no_batch_can_have_is_unknown(market: Market, name: str):
    """The original's handle was no status link of this ledger."""
    adopted(market)
    market.rows("UPDATE batches SET original_batch_id = :name", name=name)
    market.settle()
    assert_completed(market)


def test_a_source_that_is_not_on_the_ledger_is_reported_and_waits(
    market: Market, caplog: pytest.LogCaptureFixture
):
    """The issuing body has not published it; once it has, the batch goes on."""
    adopted(market)
    source = market.value("SELECT address FROM ggos WHERE parent_id IS NULL")
    market.sandbox.ledger.fault(f"/state/{source}", status=404, code=75, times=None)
    for _ in range(2):
        market.run_batches()
    assert states(market) == ["SUBMITTED"]
    assert posts(market) == 0
    assert events(caplog) == ["batch.source_not_on_ledger"] * 2
    shown = market.app.test_cli_runner().invoke(args=["ledger", "status"])
    assert shown.exit_code == 1
    assert "adopted, not signed yet" in shown.output
    assert "not_on_ledger" in shown.output
    assert source in shown.output
    assert ("not_on_ledger", source) in reconciled(market)
    market.sandbox.ledger.clear_faults()
    market.settle()
    assert_completed(market)


def test_the_original_is_executed_between_the_look_and_our_post(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    """Two batches spend one source: ours is refused, and the state has our parts."""
    original = adopted(market, with_id=False)
    store = sign.store_signed

    def late(*arguments: object) -> None:
        arrives(market, original)
        executed(market)
        store(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(sign, "store_signed", late)
        market.run_batches()
    executed(market, 2)
    ends = [batch["status"] for batch in market.sandbox.ledger.batches()]
    assert ends == ["COMMITTED", "INVALID"]
    market.run_batches()
    assert_completed(market)


def test_the_original_arrives_after_ours(market: Market):
    original = adopted(market, with_id=False)
    market.run_batches()
    arrives(market, original)
    executed(market, 2)
    market.settle()
    assert_completed(market)


@pytest.mark.parametrize("with_id", [True, False])
def test_a_batch_signed_anew_is_not_declined_while_the_original_may_be_executed(
    market: Market, with_id: bool
):
    """The ledger refuses ours; the original's is in its queue, or may be on its way."""
    ledger = market.sandbox.ledger
    original = adopted(market, with_id=with_id)
    ledger.refuse_next(message="Not yet")
    market.run_batches()
    executed(market)
    ledger.drop_next()
    arrives(market, original)
    ledger.pretend(original.id, "PENDING")
    if with_id:
        market.rows("UPDATE batches SET adopted_at = now() - interval '700 s'")
    for _ in range(2):
        market.run_batches()
    assert states(market) == ["SUBMITTED"]
    ledger.pretend(original.id, "INVALID")
    market.rows("UPDATE batches SET adopted_at = now() - interval '700 s'")
    market.run_batches()
    assert market.batches() == [("DECLINED", "Not yet")]


def test_two_workers_sign_a_batch_once(market: Market):
    adopted(market)
    runs: list[Callable[[], int]] = [market.runtime.batch_runner.run_due] * 2
    at_once(*runs, market.runtime.batch_runner.resubmit_stuck)
    market.settle()
    assert_completed(market)
    assert len(market.sandbox.ledger.batches()) == 1


def test_a_batch_is_stuck_by_the_time_since_its_adoption(
    market: Market, caplog: pytest.LogCaptureFixture
):
    """It was composed long ago. A stuck one is judged again, not posted."""
    original = adopted(market)
    assert market.runtime.batch_runner.resubmit_stuck() == 0
    arrives(market, original)
    executed(market)
    stuck(market)
    assert market.runtime.batch_runner.resubmit_stuck() == 1
    assert events(caplog) == ["batch.stuck"]
    assert_completed(market)
    assert len(market.sandbox.ledger.batches()) == 1


def test_the_command_shows_an_adopted_batch_by_any_of_its_names(market: Market):
    original = adopted(market)
    part = market.value("SELECT max(address) FROM ggos WHERE parent_id IS NOT NULL")

    def shown(name: str) -> str:
        result = market.app.test_cli_runner().invoke(args=["ledger", "batch", name])
        assert result.exit_code == 0, result.output
        return str(result.output)

    for name in (original.id, part, str(market.value("SELECT id FROM batches"))):
        assert "On the ledger: adopted, not signed yet" in shown(name)
        assert f"its batch on the ledger: {original.id}" in shown(name)
    market.settle()
    assert market.value("SELECT ledger_batch_id FROM batches") in shown(part)
    market.rows("UPDATE batches SET original_batch_id = NULL")
    assert "no id is known" in shown(part)


def declined_by_hand(market: Market, number: int | None = None) -> str:
    """Decline the batch by the command; return what it says."""
    number = number or market.value("SELECT id FROM batches")
    result = market.app.test_cli_runner().invoke(args=["ledger", "decline", str(number)])
    assert (result.exit_code == 0) == ("is declined" in result.output), result.output
    return str(result.output)


def test_an_operator_declines_only_what_the_ledger_can_not_execute(market: Market):
    """Not a batch that is unknown or signed, nor one whose source or batch the ledger has."""
    ledger = market.sandbox.ledger
    address = composed(market)
    assert "Only an adopted batch" in declined_by_hand(market)
    original = adopt_in_flight(market)
    assert "Only an adopted batch" in declined_by_hand(market, 7777)
    assert "The ledger has the batch's source" in declined_by_hand(market)
    ledger.fault(f"/state/{address}", status=404, code=75, times=None)
    with ledger.held():
        arrives(market, original)
        assert "is PENDING on the ledger" in declined_by_hand(market)
        ledger.forget()
    ledger.fault("/batch_statuses", code=15)
    assert "Ledger" in declined_by_hand(market)
    assert "is declined" in declined_by_hand(market)
    [(state, reason)] = market.batches()
    assert (state, reason) == (
        "DECLINED",
        "an operator declined it: the ledger does not have its source",
    )
    assert market.total("alice", category="stored") == 1000
    assert [kind for kind, _ in reconciled(market)] == ["not_on_ledger"]


def test_without_a_ledger_an_operator_declines_what_was_in_flight(market: Market):
    """The service does not start with LEDGER_ENABLED=0 before."""
    composed(market)
    adopt_in_flight(market)
    with pytest.raises(ConfigurationError):
        check_ledger_mode(market.runtime.database, ledger_enabled=False)
    provide(market.app, [replace(market.runtime.take_over, ledger_enabled=False)])
    assert "is declined" in declined_by_hand(market)
    check_ledger_mode(market.runtime.database, ledger_enabled=False)
