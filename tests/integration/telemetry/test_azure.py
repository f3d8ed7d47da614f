"""What is sent to Azure Application Insights, which a local server replaces here."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opencensus.ext.azure.statsbeat.state import is_statsbeat_enabled
from pydantic import SecretStr

from origin.shared.release import VERSION
from origin.telemetry.logs import configure_logging
from tests.support.market import CONSUMPTION, Market
from tests.support.recording_server import Recorder, recording_server
from tests.support.waiting import eventually

KEY = "00000000-1111-4222-8333-444444444444"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

_NONE = SecretStr("")

Envelope = dict[str, Any]


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr("origin.telemetry.azure.EXPORT_INTERVAL_S", 0.05)
    with recording_server() as recorder:
        yield recorder


@pytest.fixture
def watched(azure: Recorder, new_market: Callable[..., Market]) -> Iterator[Market]:
    """A market whose logs and traces go to the local server."""
    before = logging.getLogger().handlers[:]
    market = new_market(
        azure_app_insights_conn_string=f"InstrumentationKey={KEY};IngestionEndpoint={azure.url}"
    )
    yield market
    # Closes the handler and ends its thread.
    configure_logging(market.settings.model_copy(update={"azure_app_insights_conn_string": _NONE}))
    logging.getLogger().handlers[:] = before


def envelopes(azure: Recorder, kind: str) -> list[Envelope]:
    """Return the envelopes of this kind that were sent."""
    sent = [envelope for each in azure.requests for envelope in each.json()]
    return [each for each in sent if each["data"]["baseType"] == kind]


def test_a_request_its_calls_and_its_log_lines_are_one_operation(watched: Market, azure: Recorder):
    address = watched.issue(100)
    watched.consume(amount=100)
    headers = {"X-Request-ID": "order-17", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert watched.compose(address, retires=[(40, CONSUMPTION)], **headers).status_code == 200

    def of_the_trace(kind: str) -> list[Envelope]:
        return [each for each in envelopes(azure, kind) if each["tags"]["ai.operation.id"] == TRACE]

    kinds = ("RequestData", "RemoteDependencyData", "MessageData")
    eventually(lambda: all(of_the_trace(kind) for kind in kinds), "all three were sent")
    [request] = of_the_trace("RequestData")
    data = request["data"]["baseData"]
    assert request["iKey"] == KEY
    assert request["tags"]["ai.operation.parentId"] == PARENT
    assert request["tags"]["ai.cloud.role"] == "accounts"
    assert request["tags"]["ai.application.ver"] == VERSION
    assert (data["name"], data["responseCode"], data["success"]) == (
        "POST /ggo/compose",
        "200",
        True,
    )
    calls = of_the_trace("RemoteDependencyData")
    assert {call["tags"]["ai.operation.parentId"] for call in calls} == {data["id"]}
    assert {call["data"]["baseData"]["name"] for call in calls} >= {"DataHubService POST"}
    lines = [each["data"]["baseData"] for each in of_the_trace("MessageData")]
    [line] = [each for each in lines if each["message"] == "POST /ggo/compose 200"]
    assert line["properties"]["request_id"] == "order-17"


def test_no_secret_and_no_statistics_are_sent(watched: Market, azure: Recorder):
    token = watched.tokens["alice"]
    secret = watched.settings.secret.get_secret_value()
    error = ValueError(f"refused: Bearer {token}")
    logging.getLogger("test").error("with %s", secret, exc_info=error)
    logging.getLogger("test").warning("the last", extra={"access_token": token})
    eventually(lambda: b"the last" in b"".join(each.body for each in azure.requests), "it was sent")
    sent = b"".join(each.body for each in azure.requests)
    assert envelopes(azure, "ExceptionData")
    assert token.encode() not in sent
    assert secret.encode() not in sent
    assert not is_statsbeat_enabled()
    assert {each.path for each in azure.requests} == {"/v2.1/track"}
