"""Subscriptions before the first login, as example-backend makes them in its callback."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from origin.db.locks import lock_subject
from origin.keys.sealing import CannotUnseal, Sealer, webhook_secret_context
from origin.maintenance.service import pruning
from sandbox.running import Sandbox
from tests.support.market import Market
from tests.support.waiting import eventually
from tests.support.world import at_once, query_of

SECRET = "a subscriber's secret"
EVENTS = ("on-ggo-received", "on-forecast-received")
CODES = {"technologyCode": "T020001", "fuelCode": "F01050100"}


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
    """The module's market, without subscriptions."""
    shared_market.rows("TRUNCATE webhook_subscriptions, early_subscriptions CASCADE")
    shared_market.sandbox.receiver.reset()
    return shared_market


@pytest.fixture
def newcomer(market: Market, request: pytest.FixtureRequest) -> str:
    """A subject with a token and no account."""
    subject = f"newcomer of {request.node.name}"
    market.tokens[subject] = market.token(subject)
    return subject


def call(
    market: Market, subject: str, verb: str = "subscribe", event: str = EVENTS[0], **changes: Any
) -> TestResponse:
    body = {"url": market.sandbox.receiver.hook("new"), "secret": SECRET, **changes}
    return market.post(f"/webhook/{event}/{verb}", body, market.tokens[subject])


def outcome(answer: TestResponse) -> tuple[int, Any]:
    return answer.status_code, answer.json


DONE, NOT_THERE = (200, {"success": True}), (200, {"success": False})


def early_count(market: Market) -> int:
    return int(market.value("SELECT count(*) FROM early_subscriptions"))


def live(market: Market, subject: str) -> list[tuple[str, str]]:
    return [
        tuple(row)
        for row in market.rows(
            "SELECT event, url FROM webhook_subscriptions JOIN users ON users.id = user_id "
            "WHERE subject = :subject AND ended_at IS NULL ORDER BY event, url",
            subject=subject,
        )
    ]


def test_early_subscriptions_are_delivered_to_after_the_first_login(market: Market, newcomer: str):
    """As example-backend does: subscribe to both events, log in; then a GGO is issued."""
    market.sandbox.receiver.secret(SECRET, "new")
    for event in EVENTS:
        assert outcome(call(market, newcomer, event=event)) == DONE
        assert outcome(call(market, newcomer, event=event)) == DONE
    assert market.value("SELECT count(*) FROM users WHERE subject = :s", s=newcomer) == 0
    assert SECRET not in str(market.rows("SELECT * FROM early_subscriptions"))
    market.new_user(newcomer)
    url = market.sandbox.receiver.hook("new")
    assert live(market, newcomer) == [("ON_FORECAST_RECEIVED", url), ("ON_GGO_RECEIVED", url)]
    assert early_count(market) == 0

    gsrn = "571313180499999999"
    market.sandbox.datahub.add_meteringpoint(newcomer, gsrn, "production", webhooks="none")
    assert market.point(newcomer, gsrn).json == {"success": True}
    while market.run_jobs():
        pass
    ggo = market.sandbox.datahub.issue(gsrn, market.begin, 1000, webhooks="none", **CODES)
    told = market.webhook("on-ggo-issued", {"sub": newcomer, "ggo": ggo})
    assert told.json == {"success": True}
    assert market.runtime.delivery_runner.run_due() == 1
    forecast = {
        "account": newcomer,
        "reference": "wind",
        "sector": "DK1",
        "begin": "2020-01-01T00:00:00",
        "resolution": "PT1H",
        "forecast": [1],
    }
    assert market.post("/forecast/submit", forecast, market.tokens["alice"]).status_code == 200
    assert market.runtime.delivery_runner.run_due() == 1
    came = market.sandbox.receiver.deliveries("new")
    assert all(each["verified"] and each["standard_verified"] for each in came)
    assert [sorted(each["json"]) for each in came] == [["ggo", "sub"], ["forecast", "sub"]]
    assert came[0]["json"]["ggo"]["address"] == ggo["address"]


def test_a_ggo_from_before_the_first_login_is_announced_at_the_login(market: Market, newcomer: str):
    market.sandbox.receiver.secret(SECRET, "new")
    assert outcome(call(market, newcomer)) == DONE
    gsrn = "571313180488888888"
    market.sandbox.datahub.add_meteringpoint(newcomer, gsrn, "production", webhooks="none")
    assert market.point(newcomer, gsrn).json == {"success": False}
    ggo = {
        "address": "849c0b" + "6" * 64,
        "gsrn": gsrn,
        "begin": "2020-01-01T12:00:00Z",
        "end": "2020-01-01T13:00:00Z",
        "sector": "DK1",
        "amount": 100,
        "issueTime": "2020-01-02T00:00:00Z",
        "expireTime": "2050-01-01T00:00:00Z",
        **CODES,
    }
    assert market.webhook("on-ggo-issued", {"sub": newcomer, "ggo": ggo}).json["success"] is False
    market.wakeups.deliveries = 0
    market.new_user(newcomer)
    assert market.wakeups.deliveries == 1
    assert market.runtime.delivery_runner.run_due() == 1
    [came] = market.sandbox.receiver.deliveries("new")
    assert came["json"]["ggo"]["amount"] == 100


def test_urls_and_scopes_are_checked_without_an_account(market: Market, newcomer: str):
    assert call(market, newcomer, url="ftp://example.com/").status_code == 400
    for verb in ("subscribe", "unsubscribe"):
        market.tokens["short"] = market.token(newcomer, "profile")
        assert call(market, "short", verb).status_code == 403
        market.tokens["unknown"] = "nobody's"
        assert call(market, "unknown", verb).status_code == 401
    assert early_count(market) == 0


# With a database of its own: other tests here share a market in the module's.
@pytest.mark.usefixtures("database_uri")
def test_private_addresses_are_rejected_without_an_account(new_market: Callable[..., Market]):
    market = new_market()
    market.tokens["dora"] = market.token("dora")
    for url in (
        "http://127.0.0.1/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://10.0.0.1/",
    ):
        assert call(market, "dora", url=url).status_code == 400
    assert early_count(market) == 0


def test_unsubscribing_before_the_first_login_needs_url_and_secret(market: Market, newcomer: str):
    assert outcome(call(market, newcomer, "unsubscribe")) == NOT_THERE
    assert outcome(call(market, newcomer)) == DONE
    for wrong in (
        {"secret": "another"},
        {"url": market.sandbox.receiver.hook("other")},
        {"event": EVENTS[1]},
    ):
        assert outcome(call(market, newcomer, "unsubscribe", **wrong)) == NOT_THERE
    # Subscribing again has replaced the secret.
    assert outcome(call(market, newcomer, secret="another")) == DONE
    assert outcome(call(market, newcomer, "unsubscribe")) == NOT_THERE
    assert outcome(call(market, newcomer, "unsubscribe", secret="another")) == DONE
    assert outcome(call(market, newcomer, "unsubscribe", secret="another")) == NOT_THERE
    market.new_user(newcomer)
    assert live(market, newcomer) == []


def test_a_subject_has_at_most_ten_before_its_first_login(market: Market, newcomer: str):
    hooks = [market.sandbox.receiver.hook(str(number)) for number in range(11)]
    market.tokens["another"] = market.token(f"another {newcomer}")
    assert outcome(call(market, "another")) == DONE
    for number, hook in enumerate(hooks[:10]):
        assert outcome(call(market, newcomer, event=EVENTS[number % 2], url=hook)) == DONE
    refused = call(market, newcomer, url=hooks[10])
    assert refused.status_code == 400
    assert "10" in refused.json["message"]
    # An existing one may change its secret, or be replaced.
    assert outcome(call(market, newcomer, url=hooks[0], secret="another")) == DONE
    assert outcome(call(market, newcomer, "unsubscribe", url=hooks[2])) == DONE
    assert outcome(call(market, newcomer, url=hooks[10])) == DONE
    market.new_user(newcomer)
    assert len(live(market, newcomer)) == 10
    # An account's limit is higher.
    assert outcome(call(market, newcomer, url=hooks[2])) == DONE


def test_the_limit_holds_for_many_requests_at_once(market: Market, newcomer: str):
    hooks = [market.sandbox.receiver.hook(str(number)) for number in range(13)]
    answers = at_once(*[lambda hook=hook: call(market, newcomer, url=hook) for hook in hooks])
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [400] * 3
    assert early_count(market) == 10


def test_subscriptions_older_than_thirty_days_do_not_become_live(market: Market, newcomer: str):
    hooks = [market.sandbox.receiver.hook(str(number)) for number in range(11)]
    for hook in hooks[:10]:
        assert outcome(call(market, newcomer, url=hook)) == DONE
    market.rows("UPDATE early_subscriptions SET subscribed_at = now() - interval '31 days'")
    assert outcome(call(market, newcomer, "unsubscribe", url=hooks[0])) == NOT_THERE
    # They do not count against the ten, and subscribing again renews one.
    assert outcome(call(market, newcomer, url=hooks[10])) == DONE
    assert outcome(call(market, newcomer, url=hooks[1])) == DONE
    market.new_user(newcomer)
    assert [url for _, url in live(market, newcomer)] == sorted([hooks[1], hooks[10]])
    assert early_count(market) == 0


def test_subscriptions_older_than_thirty_days_are_pruned(market: Market, newcomer: str):
    for event in EVENTS:
        assert outcome(call(market, newcomer, event=event)) == DONE
    market.rows(
        "UPDATE early_subscriptions SET subscribed_at = now() - interval '31 days' "
        "WHERE event = 'ON_GGO_RECEIVED'"
    )
    assert pruning.prune(market.runtime.database)["early_subscriptions"] == 1
    assert early_count(market) == 1


def test_a_first_login_at_the_same_moment_takes_it_up(market: Market, newcomer: str):
    for turn in range(5):
        subject = f"{newcomer} {turn}"
        market.tokens[subject] = market.token(subject)
        client = market.client()
        path = market.consented(client, subject)
        login, subscribed = at_once(
            lambda client=client, path=path: client.get(path),
            lambda subject=subject: call(market, subject),
        )
        assert query_of(login)["success"] == "1"
        assert outcome(subscribed) == DONE
        assert len(live(market, subject)) == 1
    assert early_count(market) == 0


def test_a_subscription_waits_for_a_first_login_under_way(market: Market, newcomer: str):
    """The login has read early subscriptions, and is not committed yet."""
    market.new_user("erin")
    with market.runtime.database.transaction() as session:
        lock_subject(session, newcomer)
        answers: list[TestResponse] = []

        def subscribe() -> None:
            answers.append(call(market, newcomer))

        def release() -> None:
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            eventually(lambda: market.value(waiting), "the subscription waits for the login")
            assert answers == []
            session.execute(
                text("UPDATE users SET subject = :new WHERE subject = 'erin'"), {"new": newcomer}
            )
            session.commit()

        at_once(subscribe, release)
    assert outcome(answers[0]) == DONE
    assert len(live(market, newcomer)) == 1
    assert early_count(market) == 0
    # The account's keys are sealed for its own subject.
    market.rows("UPDATE users SET subject = 'erin' WHERE subject = :s", s=newcomer)


def test_the_next_login_takes_what_an_earlier_one_left(market: Market, newcomer: str):
    """A web process of the previous version makes accounts and ignores early subscriptions."""
    for event in EVENTS:
        assert outcome(call(market, newcomer, event=event)) == DONE
    market.rows("UPDATE early_subscriptions SET subject = 'somebody else'")
    user_id = market.new_user(newcomer)
    assert outcome(call(market, newcomer, secret="its own")) == DONE
    market.rows("UPDATE early_subscriptions SET subject = :s", s=newcomer)
    market.login(newcomer)
    url = market.sandbox.receiver.hook("new")
    assert live(market, newcomer) == [("ON_FORECAST_RECEIVED", url), ("ON_GGO_RECEIVED", url)]
    assert early_count(market) == 0
    sealed = market.value("SELECT secret FROM webhook_subscriptions WHERE event LIKE '%GGO%'")
    context = webhook_secret_context(user_id, "ON_GGO_RECEIVED", url)
    assert market.runtime.sealer.open(sealed, context) == "its own"


def test_a_disabled_account_has_no_subscriptions(market: Market, newcomer: str):
    market.new_user(newcomer)
    assert outcome(call(market, newcomer)) == DONE
    assert market.post("/auth/disable-user", None, market.tokens[newcomer]).status_code == 200
    assert outcome(call(market, newcomer, event=EVENTS[1])) == DONE
    assert live(market, newcomer) == []
    assert early_count(market) == 0
    assert outcome(call(market, newcomer, "unsubscribe")) == NOT_THERE


def test_secrets_are_sealed_for_their_row_and_rotate(market: Market, newcomer: str):
    assert outcome(call(market, newcomer)) == DONE
    sealed, subject, event, url = market.rows(
        "SELECT secret, subject, event, url FROM early_subscriptions"
    )[0]
    assert sealed.startswith(market.runtime.sealer.current_prefix)
    with pytest.raises(CannotUnseal):
        market.runtime.sealer.open(sealed, webhook_secret_context(0, event, url))
    assert market.runtime.secret_changes.status().outdated == 0

    secret = market.settings.key_encryption_secrets[0].get_secret_value()
    rotated = replace(market.runtime, sealer=Sealer(["a new secret of some length", secret]))
    before = rotated.secret_changes.status().outdated
    last = list(rotated.key_rotation.rotate())[-1]
    assert (last.done, last.failed) == (before, 0)
    assert rotated.secret_changes.status().outdated == 0
    assert market.value("SELECT secret FROM early_subscriptions") != sealed
    # Rotate back for the following tests; then the login opens it.
    back = replace(market.runtime, sealer=Sealer([secret, "a new secret of some length"]))
    list(back.key_rotation.rotate())
    market.new_user(subject)
    assert len(live(market, subject)) == 1
