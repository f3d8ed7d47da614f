"""The examples of the API's description work on a system with the demo's users, as they stand.

Only a GGO's address and the month of bulk orders differ in each run: the test puts Anna's into the
examples, as the page /docs does with the address.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
import requests

from devstack.client import Browser
from devstack.scenario import Scenario
from origin.web.described import A_GGO_ADDRESS
from origin.webhooks.rules.signatures import SIGNATURE_HEADER, hub_signature
from tests.support.live_system import FIRST_HOUR, Household, LiveSystem, hour
from tests.support.waiting import eventually

_NOT_TRIED = {
    # It ends the account.
    "/auth/disable-user",
    # Another name of a path that is tried.
    "/compose",
    # No order of the examples is queued.
    "/v2/operations/{operation_id}/cancel",
}
_MONTH = ("2026-03-01", "2026-04-01")
"""The month of the examples of bulk orders."""


@pytest.fixture(scope="module")
def anna(system: LiveSystem) -> Household:
    """The demo's Anna, with two GGOs and her consumption; Bo has logged in, too."""
    scenario = Scenario(in_new_database=True)
    for person in scenario.people:
        with closing(Browser()) as browser:
            url = system.stack.url
            browser.log_in(url, person.subject, f"{url}/home")
            token = system.stack.oauth.token(browser, person.subject)
        system.wait_until_subscribed(person.subject)
        system.sandbox.datahub.add_meteringpoints(person.points())
        if person is scenario.anna:
            home = Household(
                person.subject,
                system.client(token),
                person.production_gsrn or "",
                person.consumption_gsrn,
            )
    gsrns = (home.production, home.consumption)
    keys = system.sandbox.datahub.keys(*gsrns, wait=30)
    assert all(keys[each] for each in gsrns)
    for number in range(4):
        system.issue(home, number, 1000)
        system.publish_consumption(home, number, 500)
    return home


@pytest.fixture(scope="module")
def document(system: LiveSystem) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{system.stack.url}/openapi.json", timeout=10).json()
    return found


def _examples(operation: dict[str, Any]) -> Iterator[Any]:
    """Yield the examples of an operation's request; None if it reads no body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        yield None
    elif "example" in content:
        yield content["example"]
    else:
        yield from (each["value"] for each in content["examples"].values())


def _filled(example: Any, address: str) -> bytes:
    text = "" if example is None else json.dumps(example)
    begin = FIRST_HOUR.date().replace(day=1)
    for written, day in zip(_MONTH, (begin, begin + timedelta(days=31)), strict=True):
        text = text.replace(written, day.isoformat())
    return text.replace(A_GGO_ADDRESS, address).encode()


def _send(system: LiveSystem, anna: Household, path: str, signed: bool, body: bytes) -> Any:
    headers = {"Idempotency-Key": uuid4().hex} if path.startswith("/v2/") else {}
    if signed:
        secret = system.stack.environment["WEBHOOK_SECRET"]
        headers = {"Authorization": "", SIGNATURE_HEADER: hub_signature(secret, body)}
    return anna.api.session.post(f"{system.stack.url}{path}", body, headers=headers, timeout=30)


def _check_response(document: dict[str, Any], operation: dict[str, Any], answer: Any) -> None:
    described = operation["responses"][str(answer.status_code)]
    assert described["headers"].keys() <= {*map(_as_written, answer.headers), *answer.headers}
    [(kind, content)] = described["content"].items()
    assert answer.headers["Content-Type"].startswith(kind)
    if kind == "application/json":
        whole = {**content["schema"], "components": document["components"]}
        jsonschema_rs.validator_for(whole, validate_formats=True).validate(answer.json())


def _as_written(header: str) -> str:
    return {"x-request-id": "X-Request-ID"}.get(header.lower(), header)


def test_every_example_of_a_request_is_done(
    system: LiveSystem, anna: Household, document: dict[str, Any]
):
    *rest, last = [each["address"] for each in anna.stored()]
    addresses = iter(rest)
    tried = 0
    for path, methods in sorted(document["paths"].items()):
        operation = methods.get("post")
        if operation is None or path in _NOT_TRIED:
            continue
        signed = operation["security"] == [{"signature": []}]
        for example in _examples(operation):
            address = next(addresses) if path == "/ggo/compose" else last
            answer = _send(system, anna, path, signed, _filled(example, address))
            assert answer.ok, f"{path} {example} {answer.text}"
            _check_response(document, operation, answer)
            tried += 1
    assert tried > 25
    assert anna.api.total_wh(category="retired") == 2 * 50


def test_what_is_posted_to_subscribers_is_as_described(
    system: LiveSystem, anna: Household, document: dict[str, Any]
):
    system.subscribe(anna)
    body = {"url": system.sandbox.receiver.hook("forecasts"), "secret": "hook's secret"}
    assert anna.api.request("/webhook/on-forecast-received/subscribe", body).ok
    operation = document["paths"]["/forecast/submit"]["post"]
    [forecast] = _examples(operation)
    assert anna.api.request("/forecast/submit", {**forecast, "account": anna.subject}).ok
    system.sandbox.datahub.issue(anna.production, hour(5), 1000)
    for hook, event in ((anna.subject, "ON_GGO_RECEIVED"), ("forecasts", "ON_FORECAST_RECEIVED")):
        eventually(lambda hook=hook: system.sandbox.receiver.deliveries(hook), f"{event} comes")
        # The composes of the examples before may end meanwhile: each part that Anna kept is told, too.
        for delivery in system.sandbox.receiver.deliveries(hook):
            _check_delivery(document, document["webhooks"][event]["post"], delivery)


def _check_delivery(
    document: dict[str, Any], webhook: dict[str, Any], delivery: dict[str, Any]
) -> None:
    schema = webhook["requestBody"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.validator_for(whole, validate_formats=True).validate(delivery["json"])
    headers = {name.lower(): text for name, text in delivery["headers"].items()}
    for parameter in webhook["parameters"]:
        jsonschema_rs.validate(parameter["schema"], headers[parameter["name"]])
