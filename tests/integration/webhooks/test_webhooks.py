"""Webhooks to subscribers: which events reach whom, when, and how often."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from origin.accounts.service import users
from origin.keys.sealing import webhook_secret_context
from origin.maintenance.service import pruning
from origin.webhooks.queries import delivery_queue
from origin.webhooks.rules.signatures import is_hub_signature, signed_headers
from sandbox.running import Sandbox
from tests.support.market import CONSUMPTION, Market
from tests.support.scripted_peer import ScriptedPeer, http_answer

SECRET = "a subscriber's secret"


@pytest.fixture(scope="module")
def shared_market(module_database_uri: str, sandbox: Sandbox) -> Iterator[Market]:
    """Receivers are on this machine; failed deliveries are retried only when a test says so."""
    sandbox.reset()
    market = Market(
        module_database_uri, sandbox, webhook_allow_private=True, webhook_retry_delay=1000
    )
    yield market
    market.runtime.receivers.close()
    market.runtime.database.dispose()
    sandbox.reset()


@pytest.fixture
def market(shared_market: Market) -> Market:
    """The module's market, emptied, on days of its own."""
    market = shared_market
    market.rows("TRUNCATE ggos, forecasts, webhook_subscriptions CASCADE")
    market.sandbox.receiver.reset()
    market.sandbox.ledger.clear_faults()
    market.wakeups.deliveries = 0
    market.begin += timedelta(days=2)
    return market


def subscription(
    market: Market, subject: str, name: str, verb: str = "subscribe", **changes: Any
) -> TestResponse:
    body = {"url": market.sandbox.receiver.hook(name), "secret": SECRET, **changes}
    event = changes.pop("event", "on-ggo-received")
    body.pop("event", None)
    return market.post(f"/webhook/{event}/{verb}", body, market.tokens[subject])


def subscribe(market: Market, subject: str, name: str, **changes: Any) -> None:
    market.sandbox.receiver.secret(changes.get("secret", SECRET), name)
    assert subscription(market, subject, name, **changes).json == {"success": True}


def deliver(market: Market) -> int:
    """Make all pending deliveries due, and deliver."""
    market.rows(
        "UPDATE webhook_deliveries SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL"
    )
    market.rows(
        "UPDATE webhook_subscriptions SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL"
    )
    return market.runtime.delivery_runner.run_due()


def received(market: Market, name: str) -> list[dict[str, Any]]:
    """Return the received deliveries; check both kinds of signature on each."""
    found = market.sandbox.receiver.deliveries(name)
    assert all(each["verified"] and each["standard_verified"] for each in found)
    return found


def states(market: Market) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in market.rows(
            "SELECT state, attempts, last_status, last_error FROM webhook_deliveries ORDER BY id"
        )
    ]


def test_an_issued_ggo_is_announced_as_it_is_listed(market: Market):
    subscribe(market, "alice", "alice")
    subscribe(market, "bob", "bob")
    market.issue(emissions={"CO2": 1.5})
    assert market.wakeups.deliveries == 1
    assert deliver(market) == 1
    [came] = received(market, "alice")
    assert json.loads(came["body"]) == {"sub": "alice", "ggo": market.listed("alice")[0]}
    assert came["headers"]["content-type"] == "application/json"
    assert received(market, "bob") == []
    assert states(market) == [("DELIVERED", 1, 200, None)]
    assert deliver(market) == 0


def test_a_compose_is_announced_when_the_ledger_has_committed_it(market: Market):
    """Transfers go to their recipients, the remainder to the sender, retires to nobody."""
    market.consume(amount=100)
    address = market.issue(1000)
    subscribe(market, "alice", "alice")
    subscribe(market, "bob", "bob")
    market.compose(address, transfers=[(30, "bob"), (20, "alice")], retires=[(10, CONSUMPTION)])
    market.run_batches()
    assert deliver(market) == 0
    market.settle()
    assert deliver(market) == 3
    told = {
        name: [each["json"]["ggo"] for each in received(market, name)] for name in ("alice", "bob")
    }
    assert told["bob"] == market.listed("bob")
    assert [ggo["amount"] for ggo in told["alice"]] == [20, 940]
    assert all(ggo["issueGsrn"] is None for ggo in told["alice"])


def test_a_declined_compose_is_announced_to_nobody(market: Market):
    address = market.issue()
    subscribe(market, "bob", "bob")
    market.sandbox.ledger.refuse_next()
    market.compose(address, transfers=[(30, "bob")])
    market.settle()
    assert market.batches()[0][0] == "DECLINED"
    assert deliver(market) == 0


def test_subscribing_again_replaces_the_secret(market: Market):
    subscribe(market, "alice", "alice", secret="another")
    subscribe(market, "alice", "alice", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    market.issue()
    assert deliver(market) == 1
    assert len(received(market, "alice")) == 1
    assert SECRET not in str(market.rows("SELECT secret FROM webhook_subscriptions"))


def test_unsubscribing_needs_url_and_secret(market: Market):
    subscribe(market, "alice", "alice")
    for wrong in (
        {"secret": "another"},
        {"url": market.sandbox.receiver.hook("other")},
        {"event": "on-forecast-received"},
    ):
        answer = subscription(market, "alice", "alice", "unsubscribe", **wrong)
        assert (answer.status_code, answer.json) == (200, {"success": False})
    assert subscription(market, "bob", "alice", "unsubscribe").json == {"success": False}
    market.issue()
    assert subscription(market, "alice", "alice", "unsubscribe").json == {"success": True}
    assert subscription(market, "alice", "alice", "unsubscribe").json == {"success": False}
    market.issue(begin=market.hour(1))
    assert deliver(market) == 0
    assert states(market) == [("CANCELLED", 0, None, None)]


def test_invalid_urls_are_rejected(market: Market):
    for url in (
        "ftp://example.com/",
        "example.com",
        "http://",
        "http://a:b@example.com/",
        "http://h:99999/",
        "http://h/a b",
        "http://h/\n",
    ):
        answer = subscription(market, "alice", "", url=url)
        assert answer.status_code == 400, url
        assert list(answer.json["message"]) == ["url"]


@pytest.mark.parametrize("secret", ["whsec_", "whsec_no base64", "whsec_æ"])
def test_a_secret_that_cannot_sign_is_rejected(market: Market, secret: str):
    answer = subscription(market, "alice", "alice", secret=secret)
    assert answer.status_code == 400
    assert list(answer.json["message"]) == ["secret"]
    assert subscription(market, "alice", "alice", "unsubscribe", secret=secret).status_code == 200


def test_an_older_secret_that_the_check_rejects_still_signs(market: Market):
    subscribe(market, "alice", "alice")
    secret = "whsec_æ"
    [(user_id, url)] = market.rows("SELECT user_id, url FROM webhook_subscriptions")
    context = webhook_secret_context(user_id, "ON_GGO_RECEIVED", url)
    market.rows(
        "UPDATE webhook_subscriptions SET secret = :s",
        s=market.runtime.sealer.seal(secret, context),
    )
    market.issue()
    assert deliver(market) == 1
    assert states(market) == [("DELIVERED", 1, 200, None)]
    [came] = market.sandbox.receiver.deliveries("alice")
    body, headers = came["body"].encode(), came["headers"]
    assert is_hub_signature(headers["x-hub-signature"], secret, body)
    at, webhook_id = int(headers["webhook-timestamp"]), headers["webhook-id"]
    signed = signed_headers(secret, body, webhook_id, at)
    assert headers["webhook-signature"] == signed["webhook-signature"]


def test_a_failed_delivery_is_retried_and_blocks_no_others(market: Market):
    subscribe(market, "alice", "alice")
    market.sandbox.receiver.answer(500, name="alice", times=1)
    for number in range(3):
        market.issue(begin=market.hour(number))
    assert deliver(market) == 3
    assert states(market) == [
        ("PENDING", 1, 500, "answered 500"),
        ("DELIVERED", 1, 200, None),
        ("DELIVERED", 1, 200, None),
    ]
    # It is not due yet; then it is, and the same bytes are sent.
    assert market.runtime.delivery_runner.run_due() == 0
    assert deliver(market) == 1
    came = received(market, "alice")
    assert [came[0]["json"]["ggo"]["begin"], came[1]["json"]["ggo"]["begin"]] == [
        market.hour(0).isoformat(),
        market.hour(1).isoformat(),
    ]
    assert came[0]["body"] == came[3]["body"]
    assert came[0]["headers"]["webhook-id"] == came[3]["headers"]["webhook-id"]
    assert len({each["headers"]["webhook-id"] for each in came}) == 3
    assert states(market)[0] == ("DELIVERED", 2, 200, None)


def test_many_failed_deliveries_are_each_retried_when_due(market: Market):
    subscribe(market, "alice", "alice")
    market.sandbox.receiver.answer(500, name="alice")
    for number in range(30):
        market.issue(begin=market.hour(number))
    for attempts in (1, 2):
        assert deliver(market) == 30
        assert states(market) == [("PENDING", attempts, 500, "answered 500")] * 30
        early, late = market.rows(
            "SELECT extract(epoch FROM min(next_attempt_at - last_attempt_at)), "
            "extract(epoch FROM max(next_attempt_at - last_attempt_at)) FROM webhook_deliveries"
        )[0]
        assert 800 <= early < late <= 1200


def test_results_are_kept_until_the_database_takes_them(
    market: Market, monkeypatch: pytest.MonkeyPatch
):
    """Leases end meanwhile: no further delivery is begun, and none is sent twice."""
    subscribe(market, "alice", "alice")
    market.sandbox.receiver.answer(name="alice", delay=0.02)
    for number in range(20):
        market.issue(begin=market.hour(number))
    settings = market.settings.model_copy(update={"lease_seconds": 0.4})
    runtime = replace(market.runtime, settings=settings)
    record, renew = delivery_queue.record, delivery_queue.renew
    tries = iter(range(1000))

    def fail_at_first(*_: object) -> None:
        if next(tries) < 40:
            raise OperationalError("away", {}, Exception())

    def record_later(*arguments: Any) -> None:
        fail_at_first()
        record(*arguments)

    def renew_later(*arguments: Any) -> set[int]:
        fail_at_first()
        return renew(*arguments)

    monkeypatch.setattr(delivery_queue, "record", record_later)
    monkeypatch.setattr(delivery_queue, "renew", renew_later)
    assert runtime.delivery_runner.run_due() == 20
    assert next(tries) > 40
    assert states(market) == [("DELIVERED", 1, 200, None)] * 20
    assert len(received(market, "alice")) == 20


def test_deliveries_keep_their_order(market: Market):
    subscribe(market, "alice", "alice")
    hours = [market.hour(number) for number in (5, 2, 9, 1, 7, 3)]
    for begin in hours:
        market.issue(begin=begin)
    assert deliver(market) == 6
    begins = [each["json"]["ggo"]["begin"] for each in received(market, "alice")]
    assert begins == [begin.isoformat() for begin in hours]


def test_redirects_are_not_followed(market: Market):
    subscribe(market, "alice", "alice")
    elsewhere = market.sandbox.receiver.hook("elsewhere")
    market.sandbox.receiver.answer(307, name="alice", headers={"Location": elsewhere})
    market.issue()
    deliver(market)
    assert received(market, "elsewhere") == []
    assert states(market) == [("PENDING", 1, 307, "answered 307")]


def test_410_ends_the_subscription(market: Market):
    subscribe(market, "alice", "alice")
    market.sandbox.receiver.answer(410, name="alice", times=1)
    for number in range(3):
        market.issue(begin=market.hour(number))
    assert deliver(market) == 1
    assert states(market) == [
        ("CANCELLED", 1, 410, "answered 410"),
        ("CANCELLED", 0, None, None),
        ("CANCELLED", 0, None, None),
    ]
    assert market.rows("SELECT secret FROM webhook_subscriptions WHERE ended_at IS NOT NULL") == [
        (None,)
    ]
    subscribe(market, "alice", "alice")
    market.issue(begin=market.hour(3))
    assert deliver(market) == 1
    assert len(received(market, "alice")) == 2


def test_a_delivery_is_given_up_after_a_day(market: Market):
    subscribe(market, "alice", "alice")
    market.sandbox.receiver.answer(503, name="alice")
    market.issue()
    market.rows("UPDATE webhook_deliveries SET created_at = now() - interval '23 hours'")
    assert deliver(market) == 1
    assert states(market) == [("PENDING", 1, 503, "answered 503")]
    market.rows("UPDATE webhook_deliveries SET created_at = now() - interval '24 hours'")
    assert deliver(market) == 1
    assert states(market) == [("GIVEN_UP", 2, 503, "answered 503")]
    assert deliver(market) == 0


def test_a_disabled_account_gets_no_webhooks(market: Market):
    carol = market.new_user("carol")
    market.tokens["carol"] = market.token("carol")
    subscribe(market, "carol", "carol")
    market.compose(market.issue(), transfers=[(30, "carol")])
    market.settle()
    market.compose(market.issue(begin=market.hour(1)), transfers=[(30, "carol")])
    users.disable(market.runtime.database, carol)
    market.settle()
    assert deliver(market) == 0
    assert states(market) == [("CANCELLED", 0, None, None)]
    assert subscription(market, "carol", "carol").json == {"success": True}
    assert subscription(market, "carol", "carol", "unsubscribe").json == {"success": False}


def test_token_and_scope_are_required(market: Market):
    answer = market.post("/webhook/on-ggo-received/subscribe", {"url": "x"})
    assert answer.status_code == 401
    token = market.token("alice", "profile ggo.read")
    assert market.post("/webhook/on-ggo-received/subscribe", {}, token).status_code == 403


def test_a_silent_receiver_delays_no_others(market: Market):
    """It hangs on more deliveries than one queue takes; meanwhile the other receiver gets all of its own."""
    hanging = [f"hanging/{number}" for number in range(30)]
    for name in hanging:
        subscribe(market, "alice", name)
    market.sandbox.receiver.fault("/hook/hanging/*", times=None, delay_before=60)
    subscribe(market, "alice", "well")
    # Another host for the limits per host.
    market.rows("UPDATE webhook_subscriptions SET host = 'another:80' WHERE url LIKE '%well'")
    for number in range(20):
        market.issue(begin=market.hour(number))
    done = deliveries_beside(market)
    came = market.sandbox.receiver.deliveries("well", count=20, wait=40)
    assert len(came) == 20
    market.sandbox.receiver.clear_faults()
    done()


def deliveries_beside(market: Market) -> Callable[[], None]:
    """Deliver in a thread; return how to wait for its end."""
    pool = ThreadPoolExecutor(1)
    run = pool.submit(deliver, market)

    def wait() -> None:
        run.result(60)
        pool.shutdown()

    return wait


def test_operators_list_replay_and_end_subscriptions(market: Market):
    def run(*command: str, status: int = 0) -> str:
        result = market.app.test_cli_runner().invoke(args=["webhooks", *command])
        assert result.exit_code == status, result.output
        return str(result.output)

    subscribe(market, "alice", "alice", url=market.sandbox.receiver.hook("alice") + "?key=hidden")
    market.sandbox.receiver.answer(500, name="alice", times=1)
    market.issue()
    assert deliver(market) == 1
    [subscription_id] = [str(row.id) for row in market.rows("SELECT id FROM webhook_subscriptions")]
    listed = run("list", "--subject", "alice")
    assert "failing" in listed
    assert "hidden" not in listed
    shown = run("show", subscription_id)
    assert "answered 500" in shown
    assert "1 waiting, 1 failures in a row" in shown
    metrics = market.client().get("/metrics").text
    assert "account_service_webhooks_waiting 1.0" in metrics
    assert "account_service_webhook_subscriptions_failing{host=" in metrics
    market.rows(
        "UPDATE webhook_deliveries SET state = 'GIVEN_UP', next_attempt_at = NULL, ended_at = now()"
    )
    assert "1 deliveries are due" in run("replay", subscription_id)
    assert market.runtime.delivery_runner.run_due() == 1
    assert states(market) == [("DELIVERED", 2, 200, None)]
    assert "0 deliveries are due" in run("replay", subscription_id)
    assert "Ended." in run("disable", subscription_id, "--yes")
    assert "no live subscription" in run("disable", subscription_id, "--yes", status=1)
    assert "no live subscription" in run("replay", subscription_id, status=1)
    assert "disabled by an operator" in run("list", "--ended")
    market.rows("UPDATE webhook_deliveries SET ended_at = now() - interval '31 days'")
    market.rows("UPDATE webhook_subscriptions SET ended_at = now() - interval '31 days'")
    gone = pruning.prune(market.runtime.database)
    assert (gone["webhook_deliveries"], gone["webhook_subscriptions"]) == (1, 1)


def test_an_interim_response_is_not_the_answer(market: Market):
    """103 Early Hints (RFC 8297) precedes the response: the 200 after it counts, and nothing is resent."""
    receiver = ScriptedPeer()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    receiver.scripts = [lambda to: to.sendall(hints + http_answer(b"")) for _ in range(4)]
    subscribe(market, "alice", "alice", url=f"http://{receiver.address}/")
    market.issue()
    for _ in range(3):
        deliver(market)
    assert states(market) == [("DELIVERED", 1, 200, None)]
    assert len(receiver.requests) == 1
    receiver.close()
