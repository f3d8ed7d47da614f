"""The message of every rule that a request can break, to the letter (contract: http-api).

Clients in the field match some of these sentences.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from werkzeug.test import TestResponse

from origin.ggos.rules import summaries
from origin.operations.service import idempotency
from origin.webhooks.rules import subscriptions
from sandbox.running import Sandbox
from tests.support.market import BOBS_CONSUMPTION, CONSUMPTION, OTHER_CONSUMPTION, Market
from tests.support.world import ggo_of

HOOK = "/webhook/on-ggo-received/subscribe"
RANGE = {"begin": "2020-01-01T00:00:00+00:00", "end": "2020-01-02T00:00:00+00:00"}
LAST_DAY = {"begin": "9999-12-31T00:00:00Z", "end": "9999-12-31T23:00:00Z"}
DECLARATION = {"resolution": "hour", "beginRange": RANGE}
FORECAST = {
    "account": "bob",
    "reference": "r",
    "sector": "DK1",
    "begin": "2020-01-01T00:00:00Z",
    "resolution": "PT1H",
    "forecast": [1],
}

Call = Callable[[Market], TestResponse]


@pytest.fixture(scope="module")
def market(module_database_uri: str, sandbox: Sandbox) -> Iterator[Market]:
    """One market for all tests. Each test uses its own periods and accounts."""
    sandbox.reset()
    made = Market(module_database_uri, sandbox)
    made.new_user("gone")
    made.rows("UPDATE users SET disabled_at = now() WHERE subject = 'gone'")
    yield made
    made.runtime.database.dispose()
    sandbox.reset()


def check(answer: TestResponse, status: int, message: object) -> None:
    assert answer.json == {"success": False, "message": message}
    assert answer.status_code == status


def alice(path: str, body: Any, **headers: str) -> Call:
    """A request of Alice's."""
    return lambda market: market.post(path, body, market.tokens["alice"], **headers)


def raw(path: str, body: bytes) -> Call:
    """A request of Alice's whose body is given as bytes."""
    return lambda market: market.client().post(
        path, data=body, headers={"Authorization": f"Bearer {market.tokens['alice']}"}
    )


def subscribe(**body: str) -> Call:
    """A subscription of Alice's."""
    return alice(HOOK, {"url": "https://example.test/hook", "secret": "s", **body})


def unknown(subject: str) -> dict[str, list[str]]:
    return {"account": [f"No user exists with subject: {subject}"]}


CASES: dict[str, tuple[Call, int, object]] = {
    "no body": (raw("/compose", b" "), 400, "No JSON body provided"),
    "no JSON": (raw("/compose", b"{"), 400, "Bad JSON body provided"),
    "no field": (
        alice("/compose", {}),
        400,
        {"address": ["Missing data for required field."]},
    ),
    "an unknown field": (
        alice("/compose", {"address": "a", "x": 1}),
        400,
        {"x": ["Unknown field."]},
    ),
    "an empty order": (alice("/compose", {"address": "a"}), 400, "Nothing to transfer/retire"),
    "an unknown GGO": (
        lambda market: market.compose("nowhere", transfers=[(1, "bob")]),
        400,
        "GGO not found or is unavailable: nowhere",
    ),
    "unknown recipients": (
        lambda market: market.compose("a", transfers=[(1, "bob"), (1, "x"), (1, "y")]),
        400,
        {"transfers": {"1": unknown("x"), "2": unknown("y")}},
    ),
    "a disabled recipient": (
        lambda market: market.compose("a", transfers=[(1, "gone")]),
        400,
        "Account unavailable (gone)",
    ),
    "too much": (
        lambda market: market.compose(
            market.issue(100, market.hour(1)), transfers=[(99, "bob")], retires=[(2, CONSUMPTION)]
        ),
        400,
        "Requested amount exceeds available amount",
    ),
    "a foreign metering point": (
        lambda market: market.compose(
            market.issue(100, market.hour(2)), retires=[(1, BOBS_CONSUMPTION)]
        ),
        400,
        f"MeteringPoint unavailable (GSRN: {BOBS_CONSUMPTION})",
    ),
    "no measurement": (
        lambda market: market.compose(
            market.issue(100, market.hour(3)), retires=[(1, CONSUMPTION)]
        ),
        400,
        f"No measurement available at 2020-01-01T15:00:00+00:00 for GSRN {CONSUMPTION}",
    ),
    "an Idempotency-Key that is too long": (
        alice("/compose", {"address": "a"}, **{"Idempotency-Key": "x" * 256}),
        400,
        "Idempotency-Key: 1 to 255 characters",
    ),
    "a time that the zone does not have": (
        alice(
            "/ggo/summary",
            {
                "resolution": "day",
                "fill": True,
                "utcOffset": 1,
                "filters": {"beginRange": LAST_DAY},
            },
        ),
        400,
        {"filters": {"beginRange": ["A time is out of bounds."]}},
    ),
    "too many labels": (
        alice(
            "/ggo/summary",
            {
                "resolution": "hour",
                "fill": True,
                "filters": {
                    "beginRange": {"begin": "2000-01-01T00:00:00Z", "end": "2011-05-29T16:00:00Z"}
                },
            },
        ),
        400,
        {"fill": ["More than 100000 labels."]},
    ),
    "a cursor of another listing": (
        alice("/ggo", {"filters": {}, "cursor": "nonsense"}),
        400,
        {"cursor": ["Not a valid cursor of this account, with these filters and this order."]},
    ),
    "no return URL": (
        lambda market: market.client().get("/auth/login"),
        400,
        {"returnUrl": ["Missing data for required field."]},
    ),
    "a foreign return URL": (
        lambda market: market.client().get("/auth/login?returnUrl=https://example.test"),
        400,
        {"returnUrl": ["Not a URL of an allowed origin."]},
    ),
    "an unknown state": (
        lambda market: market.client().get("/auth/login/callback?state=x&code=y"),
        400,
        {"state": ["Unknown, used or expired."]},
    ),
    "a forecast for nobody": (
        alice("/forecast/submit", {**FORECAST, "account": "x"}),
        400,
        unknown("x"),
    ),
    "a forecast for a disabled account": (
        alice("/forecast/submit", {**FORECAST, "account": "gone"}),
        400,
        unknown("gone"),
    ),
    "a forecast that ends too late": (
        alice("/forecast/submit", {**FORECAST, "begin": LAST_DAY["end"]}),
        400,
        {"resolution": ["The forecast would end after the year 9999."]},
    ),
    "a declaration of foreign metering points": (
        alice(
            "/eco-declaration", {**DECLARATION, "gsrn": ["x", CONSUMPTION, BOBS_CONSUMPTION, "x"]}
        ),
        400,
        f"MeteringPoint unavailable (GSRN: x, {BOBS_CONSUMPTION})",
    ),
    "an impossible GGO": (
        lambda market: market.webhook(
            "on-ggo-issued",
            {
                "sub": "alice",
                "ggo": ggo_of(
                    CONSUMPTION,
                    begin="1969-12-31T23:00:00Z",
                    end="1969-12-31T23:00:00Z",
                    technologyCode="",
                    fuelCode="",
                ),
            },
        ),
        400,
        {
            "ggo": {
                "technologyCode": ["Missing data for required field."],
                "fuelCode": ["Missing data for required field."],
                "begin": [
                    "No keys can be derived for a begin before 1970 or from 2038-01-19T03:14:08Z on."
                ],
                "end": ["Must be after begin."],
            }
        },
    ),
    "a GGO of another's metering point": (
        lambda market: market.webhook(
            "on-ggo-issued", {"sub": "alice", "ggo": ggo_of(BOBS_CONSUMPTION)}
        ),
        400,
        {"ggo": {"gsrn": [f"MeteringPoint unavailable (GSRN: {BOBS_CONSUMPTION})"]}},
    ),
    "a secret that is no base64": (
        subscribe(secret="whsec_*"),
        400,
        {"secret": ["What follows whsec_ must be base64."]},
    ),
    "a URL of another scheme": (
        subscribe(url="ftp://example.test"),
        400,
        {"url": ["Must be an http or https URL."]},
    ),
    "no URL": (subscribe(url="https://a:b@example.test"), 400, {"url": ["Not a valid URL."]}),
    "a URL that can not be parsed": (subscribe(url="http://["), 400, {"url": ["Not a valid URL."]}),
    "a URL with an impossible port": (
        subscribe(url="http://example.test:0/"),
        400,
        {"url": ["Not a valid URL."]},
    ),
    "a private URL": (
        subscribe(url="http://127.0.0.1/hook"),
        400,
        {"url": ["The host's address is not allowed."]},
    ),
    "no token": (lambda market: market.post("/accounts"), 401, "No bearer token"),
    "an unknown token": (
        lambda market: market.post("/accounts", token="x"),
        401,
        "The token is not valid",
    ),
    "a scope short": (
        lambda market: market.post("/compose", {}, market.token("alice", "openid ggo.read")),
        403,
        "The token lacks a scope of: ggo.retire ggo.transfer",
    ),
    "a wrong signature": (
        lambda market: market.webhook("on-ggo-issued", {}, signature="sha256=x"),
        401,
        "The signature is missing or wrong",
    ),
    "no such path": (lambda market: market.post("/nowhere"), 404, "Not Found"),
    "a wrong method": (lambda market: market.client().get("/accounts"), 405, "Method Not Allowed"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rejected_request_gets_the_contracts_message(market: Market, case: str):
    call, status, message = CASES[case]
    check(call(market), status, message)


def test_a_measurement_of_another_sector(market: Market):
    address = market.issue(100, market.hour(4))
    market.rows("UPDATE ggos SET sector = 'DK2' WHERE address = :address", address=address)
    measurement = market.consume(CONSUMPTION, 10, market.hour(4))
    answer = market.compose(address, retires=[(1, CONSUMPTION)])
    check(answer, 400, f"Can not retire GGO to measurement {measurement}")


def test_more_than_the_headroom(market: Market):
    address = market.issue(100, market.hour(5))
    market.consume(OTHER_CONSUMPTION, 10, market.hour(5))
    answer = market.compose(address, retires=[(4, OTHER_CONSUMPTION), (7, OTHER_CONSUMPTION)])
    check(answer, 400, "Can only retire up to 6 (you tried to retire 7)")


def test_a_rejection_under_an_idempotency_key_is_repeated_to_the_letter(market: Market):
    key = {"Idempotency-Key": "rejected"}
    for _ in range(2):
        answer = market.compose("nowhere", transfers=[(1, "bob")], **key)
        check(answer, 400, "GGO not found or is unavailable: nowhere")
    other = market.compose("elsewhere", transfers=[(1, "bob")], **key)
    check(other, 422, "This Idempotency-Key came before with another body")


def test_an_idempotency_key_in_use(market: Market):
    body = {"address": "a"}
    idempotency.take(market.runtime.database, market.alice, "running", orjson.dumps(body), 60)
    answer = alice("/compose", body, **{"Idempotency-Key": "running"})(market)
    check(answer, 409, "A request with this Idempotency-Key still runs")
    assert answer.headers["Retry-After"] == "1"


def test_too_many_values(market: Market):
    market.issue(100, market.hour(6))
    with patch.object(summaries, "MAX_VALUES", 0):
        answer = alice("/ggo/summary", {"resolution": "all", "filters": {}})(market)
    check(answer, 400, {"grouping": ["More than 0 values: 1 labels, 1 groups."]})


def test_a_time_zone_that_the_database_does_not_know(market: Market):
    """Python's list of zones and PostgreSQL's may be of different years."""
    body = {"resolution": "hour", "timezone": "Europe/Copenhagen", "filters": {}}
    with patch(
        "origin.ggos.queries.summaries._local", return_value=("timezone(%(zone)s, begin)", "x")
    ):
        answer = alice("/ggo/summary", body)(market)
    check(answer, 400, {"timezone": ["Not known to the database."]})


@pytest.mark.parametrize("subject", ["alice", "nobody"])
def test_too_many_subscriptions(market: Market, subject: str):
    body = {"url": "https://one.example.test/hook", "secret": "s"}
    with (
        patch.object(subscriptions, "MAX_PER_EVENT", 0),
        patch.object(subscriptions, "MAX_PER_SUBJECT", 0),
    ):
        answer = market.post(HOOK, body, market.token(subject))
    message = {
        "alice": "At most 0 subscriptions to one event",
        "nobody": "At most 0 subscriptions before the first login",
    }
    check(answer, 400, message[subject])


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ({"status": 500}, 503, "Hydra is out of reach"),
        ({"status": 200, "body": []}, 502, "Hydra answered what it should not"),
    ],
)
def test_a_failing_peer(market: Market, fault: dict[str, Any], status: int, message: str):
    market.hydra.fault(endpoint="/oauth2/introspect", times=1, **fault)
    check(market.post("/accounts", token="of-nobody"), status, message)


def test_tokens_that_only_a_login_renews(market: Market):
    address = market.issue(100, market.hour(7))
    market.rows(
        "UPDATE users SET access_token = NULL, refresh_token = NULL WHERE subject = 'alice'"
    )
    answer = market.compose(address, retires=[(1, CONSUMPTION)])
    message = (
        "DataHubService takes this account's tokens no more: its holder must log in here again"
    )
    check(answer, 403, message)
    assert "WWW-Authenticate" not in answer.headers
    market.login("alice")


def test_recovery(market: Market):
    runtime = market.runtime
    try:
        market.use(
            replace(runtime, settings=runtime.settings.model_copy(update={"recovery_mode": True}))
        )
        answer = market.compose("a")
    finally:
        market.use(runtime)
    check(answer, 503, "The service is being recovered")
    assert answer.headers["Retry-After"] == "60"


def test_a_begin_without_keys(market: Market):
    """DataHub sends a GGO of a period for which no key can be derived."""
    begin = datetime(2038, 1, 19, 4, tzinfo=UTC)
    ggo = ggo_of(CONSUMPTION, begin=begin.isoformat(), end=(begin + timedelta(hours=1)).isoformat())
    answer = market.webhook("on-ggo-issued", {"sub": "alice", "ggo": ggo})
    no_keys = "No keys can be derived for a begin before 1970 or from 2038-01-19T03:14:08Z on."
    check(answer, 400, {"ggo": {"begin": [no_keys]}})


def test_a_code_that_no_index_holds(market: Market):
    """500 characters of several bytes: the schema counts characters, the rule counts bytes."""
    ggo = ggo_of(CONSUMPTION, technologyCode="æ" * 251)
    answer = market.webhook("on-ggo-issued", {"sub": "alice", "ggo": ggo})
    check(answer, 400, {"ggo": {"technologyCode": ["Longer than 500 bytes in UTF-8."]}})
