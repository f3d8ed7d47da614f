"""Invalid bodies of up to a megabyte: each is rejected quickly, with a bounded message."""

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from origin.web.gunicorn.gc_tuning import tune_gc
from sandbox.running import Sandbox
from tests.support.market import PRODUCTION, Market
from tests.support.world import ggo_of

MAX_CPU_S = 0.5
"""CPU seconds of this process for one request. A rejection usually takes a tenth of that."""
MAX_REFUSAL_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024

RANGE = {"begin": "2020-01-01T00:00", "end": "2020-01-01T00:00"}
FORECAST = {
    "account": "bob",
    "reference": "",
    "sector": "DK1",
    "begin": "2020-01-01T00:00",
    "resolution": "PT1H",
}
DECLARATION = {"gsrn": ["1"], "resolution": "all", "beginRange": RANGE}
GGO_LISTS = (
    "address",
    "sector",
    "technologyCode",
    "fuelCode",
    "issueGsrn",
    "retireGsrn",
    "retireAddress",
)


def _filtered(path: str, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    names = (*GGO_LISTS, "reference") if "transfer" in path else GGO_LISTS
    return [(path, {**body, "filters": {name: "here"}}) for name in names]


LISTS: list[tuple[str, dict[str, Any]]] = [
    ("/ggo/compose", {"address": "a", "transfers": "here"}),
    ("/ggo/compose", {"address": "a", "retires": "here"}),
    ("/ggo", {"filters": {}, "order": "here"}),
    ("/ggo/summary", {"filters": {}, "resolution": "all", "grouping": "here"}),
    ("/forecast/submit", {**FORECAST, "forecast": "here"}),
    ("/eco-declaration", {**DECLARATION, "gsrn": "here"}),
    ("/eco-declaration/export-pdf", {**DECLARATION, "gsrn": "here"}),
    *_filtered("/ggo"),
    *_filtered("/transfer/summary", resolution="all"),
]
"""Every list of every schema of a request."""

OBJECTS: list[tuple[str, dict[str, Any]]] = [
    ("/ggo/compose", {"address": "a"}),
    ("/ggo", {"filters": {}}),
    ("/forecast/submit", {**FORECAST, "forecast": [1]}),
    ("/forecast", {}),
    ("/forecast/list", {}),
    ("/eco-declaration", DECLARATION),
    ("/accounts/find-suppliers", {"dateRange": {}, "minAmount": 1, "minCoverage": 1}),
    ("/webhook/on-ggo-received/subscribe", {"url": "http://example.com", "secret": "x"}),
]


def _long(item: str) -> bytes:
    """Return a list of as many of these items as fit into a body."""
    count = (MAX_BODY_BYTES - 500) // (len(item) + 1)
    return f"[{','.join([item] * count)}]".encode()


def _some(item: str, count: int) -> bytes:
    return f"[{','.join([item] * count)}]".encode()


def _many_keys(form: str, value: str) -> bytes:
    size = len(f'"{form}12345":{value},')
    names = [form % number for number in range((MAX_BODY_BYTES - 500) // size)]
    return ("{" + ",".join(f'"{name}":{value}' for name in names) + "}").encode()


@pytest.fixture
def reject(market: Market) -> Callable[..., Any]:
    """Post a body that must be rejected quickly; return the answer."""

    def call(path: str, raw: bytes, *, signed: bool = False) -> Any:
        assert len(raw) <= MAX_BODY_BYTES
        began = time.process_time()
        if signed:
            answer = market.webhook(path, raw)
        else:
            headers = {"Authorization": f"Bearer {market.tokens['alice']}"}
            answer = market.client().post(path, data=raw, headers=headers)
        spent = time.process_time() - began
        assert answer.status_code == 400, (path, answer.text[:200])
        assert spent < MAX_CPU_S, (path, spent)
        assert len(answer.data) <= MAX_REFUSAL_BYTES, path
        assert answer.json["success"] is False
        return answer

    return call


@pytest.fixture(scope="module")
def market(module_database_uri: str, sandbox: Sandbox) -> Iterator[Market]:
    """One market for all tests, as none of them changes anything."""
    sandbox.reset()
    made = Market(module_database_uri, sandbox)
    # Creates what is created at the first request, and does what a web process does after loading.
    made.post("/accounts", token=made.tokens["alice"])
    threshold = gc.get_threshold()
    tune_gc()
    yield made
    gc.set_threshold(*threshold)
    gc.unfreeze()
    made.runtime.database.dispose()
    sandbox.reset()


@pytest.mark.parametrize(("path", "body"), LISTS, ids=lambda part: str(part)[-40:])
@pytest.mark.parametrize("item", ["{}", "1", '"x"', "[]"])
def test_a_list_that_fills_the_body(
    reject: Callable[..., Any], path: str, body: dict[str, Any], item: str
):
    answer = reject(path, orjson.dumps(body).replace(b'"here"', _long(item)))
    assert "ength" in answer.text


@pytest.mark.parametrize(("path", "body"), LISTS, ids=lambda part: str(part)[-40:])
@pytest.mark.parametrize("item", ["{}", "null", '{"amount":"x","x":1,"y":{}}', '"\\u0000"'])
def test_a_list_of_wrong_items(
    reject: Callable[..., Any], path: str, body: dict[str, Any], item: str
):
    """The list has as many items as it may have. The message names some of them."""
    count = {"transfers": 1000, "retires": 1000, "order": 4, "grouping": 5, "forecast": 35_136}
    most = next((count[name] for name in count if name in body), 10_000)
    reject(path, orjson.dumps(body).replace(b'"here"', _some(item, most)))


@pytest.mark.parametrize(("path", "body"), OBJECTS, ids=lambda part: str(part)[:30])
@pytest.mark.parametrize("value", ["0", "null", "{}"])
def test_very_many_unknown_fields(
    reject: Callable[..., Any], path: str, body: dict[str, Any], value: str
):
    unknown = _many_keys("unknown%d", value)
    if body:
        unknown = orjson.dumps(body)[:-1] + b"," + unknown[1:]
    answer = reject(path, unknown)
    assert "Unknown field." in answer.text


@pytest.mark.parametrize(("path", "body"), OBJECTS, ids=lambda part: str(part)[:30])
@pytest.mark.parametrize("name", ["x" * 1_000_000, "\u0001" * 160_000, "\U0001f600" * 240_000])
def test_a_very_long_unknown_field(
    reject: Callable[..., Any], path: str, body: dict[str, Any], name: str
):
    reject(path, orjson.dumps({**body, name: 1}))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000_000,
        b'{"filters":' * 90_000,
        b'{"filters":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
        b'{"filters":{"address":["' + b"x" * 1_000_000 + b'"]}}',
        b'{"filters":{"begin":"' + b"2" * 1_000_000 + b'"}}',
        b'{"filters":{},"limit":' + b"1" * 1_000_000 + b"}",
        b'{"filters":{},"limit":1.' + b"1" * 1_000_000 + b"}",
        b'{"filters":{},"limit":1e' + b"1" * 1_000_000 + b"}",
        b'{"filters":{},"limit":0.' + b"0" * 1_000_000 + b"1}",
        b'{"filters":{"category":"' + b"x" * 1_000_000 + b'"}}',
        b'{"filters":{"category":' + _long("1") + b"}}",
        b'{"filters":{},"cursor":"' + b"x" * 1_000_000 + b'"}',
        _long("1.5"),
        _long('{"a":{"b":{}}}'),
    ],
    ids=range(14),
)
def test_odd_values(reject: Callable[..., Any], raw: bytes):
    reject("/ggo", raw)


@pytest.mark.parametrize("part", [{"transfers": "here"}, {"retires": "here"}])
def test_unknown_fields_within_items(reject: Callable[..., Any], part: dict[str, Any]):
    many = "{" + ",".join(f'"unknown{number}":0' for number in range(60)) + "}"
    body = orjson.dumps({"address": "a", **part})
    reject("/ggo/compose", body.replace(b'"here"', _some(many, 1000)))
    reject("/ggo/compose", body.replace(b'"here"', b"[" + _many_keys("unknown%d", "0") + b"]"))


def test_a_long_message_about_each_of_many_items(reject: Callable[..., Any]):
    """A thousand unknown accounts, each of which the message would name."""
    part = {"amount": 1, "account": "x" * 480, "reference": "y" * 400}
    transfers = [{**part, "account": f"{number:04}{part['account']}"} for number in range(1000)]
    reject("/ggo/compose", orjson.dumps({"address": "a", "transfers": transfers}))


@pytest.mark.parametrize("value", ["1", '"x"', "{}", "null", "1e300"])
def test_emissions_that_fill_the_body(reject: Callable[..., Any], value: str):
    ggo = orjson.dumps({"sub": "alice", "ggo": ggo_of(PRODUCTION, emissions="here")})
    raw = ggo.replace(b'"here"', _many_keys("CO%d", value))
    answer = reject("on-ggo-issued", raw, signed=True)
    assert list(answer.json["message"]["ggo"]) == ["emissions"]


def test_a_long_message_is_also_bounded_under_an_idempotency_key(market: Market):
    transfers = [
        {"amount": 1, "account": f"{number:04}" + "x" * 490, "reference": ""}
        for number in range(1000)
    ]
    body = {"address": "a", "transfers": transfers}
    answers = [
        market.post("/ggo/compose", body, market.tokens["alice"], **{"Idempotency-Key": "long"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json == answers[1].json
    assert len(answers[1].data) <= MAX_REFUSAL_BYTES
