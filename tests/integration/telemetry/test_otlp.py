"""What a collector learns of a request: its peers' calls, its statements, and no secret."""

import logging
from collections.abc import Callable, Iterator

import pytest

from origin.telemetry.logs import configure_logging
from tests.support.market import CONSUMPTION, Market
from tests.support.otlp_collector import CollectedSpan, Collector, otlp_collector
from tests.support.waiting import eventually

_PARENT = "00f067aa0ba902b7"
_HEADER = "Bearer of-the-collector"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with otlp_collector() as running:
        yield running


@pytest.fixture
def traced(collector: Collector, new_market: Callable[..., Market]) -> Iterator[Market]:
    """A market whose spans go to the collector."""
    before = logging.getLogger().handlers[:]
    market = new_market(
        otel_exporter_otlp_endpoint=collector.url,
        otel_exporter_otlp_headers=f"Authorization={_HEADER}",
        otel_bsp_schedule_delay=20,
    )
    yield market
    configure_logging(market.settings.model_copy(update={"otel_sdk_disabled": True}))
    logging.getLogger().handlers[:] = before


def request_of(collector: Collector, trace: str) -> CollectedSpan:
    """Wait for the trace's request, which ends last, and return it."""

    def found() -> list[CollectedSpan]:
        return [each for each in collector.of_trace(trace) if each.kind == "server"]

    [request] = eventually(found, "the request was sent")
    return request


def test_a_request_its_statements_and_its_calls_are_one_trace(traced: Market, collector: Collector):
    trace = "4bf92f3577b34da6a3ce929d0e0e4731"
    address = traced.issue(100)
    traced.consume(amount=100)
    answer = traced.compose(
        address,
        retires=[(40, CONSUMPTION)],
        traceparent=f"00-{trace}-{_PARENT}-01",
        tracestate="vendor=value",
    )
    assert answer.status_code == 200
    request = request_of(collector, trace)
    assert (request.name, request.parent_id) == ("POST /ggo/compose", _PARENT)
    assert request.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/ggo/compose",
        "url.path": "/ggo/compose",
        "url.scheme": "http",
    }
    assert request.resource["service.name"] == "accounts"
    spans = collector.of_trace(trace)
    assert {each.raw.get("traceState") for each in spans} == {"vendor=value"}
    others = [each for each in spans if each is not request]
    assert {each.kind for each in others} == {"client"}
    assert {each.parent_id for each in others} == {request.span_id}
    calls = [each for each in others if "http.request.method" in each.attributes]
    assert "POST DataHubService" in {each.name for each in calls}
    statements = [each for each in others if "db.system.name" in each.attributes]
    assert {"SELECT ggos", "UPDATE ggos", "COMMIT"} <= {each.name for each in statements}
    assert len(calls) + len(statements) == len(others)
    for each in statements:
        assert each.attributes["db.namespace"] == traced.settings.database_url.database
        assert each.attributes["db.query.summary"] == each.name
        assert not each.is_error


def test_what_is_kept_back(
    traced: Market, collector: Collector, capsys: pytest.CaptureFixture[str]
):
    """Secrets, clients' inventions, and traces that the caller doesn't want."""
    unwanted, trace = "4bf92f3577b34da6a3ce929d0e0e4732", "4bf92f3577b34da6a3ce929d0e0e4733"
    client, headers = traced.client(), {"traceparent": f"00-{trace}-{_PARENT}-01"}
    client.get("/nowhere", headers={"traceparent": f"00-{unwanted}-{_PARENT}-00"})
    client.get("/auth/login/callback?code=the-code&state=the-state", headers=headers)
    traced.compose(traced.issue(100), transfers=[(5, "bob")], **headers)
    assert client.open("/nowhere", method="INVENTED", headers=headers).status_code == 404
    [invented] = eventually(
        lambda: [each for each in collector.of_trace(trace) if each.name == "HTTP"], "it was sent"
    )
    # A client's error is none of ours, and names of spans are few.
    assert not invented.is_error
    assert invented.attributes["http.request.method"] == "_OTHER"
    assert invented.attributes["http.request.method_original"] == "INVENTED"
    assert "http.route" not in invented.attributes
    assert collector.of_trace(unwanted) == []
    assert "POST /ggo/compose" in {each.name for each in collector.of_trace(trace)}
    sent, settings = b"".join(collector.bodies), traced.settings
    secrets = (
        "the-code",
        "the-state",
        "alice",
        _HEADER,
        settings.secret.get_secret_value(),
        settings.hydra_client_secret.get_secret_value(),
        *traced.tokens.values(),
    )
    assert [each for each in secrets if each.encode() in sent] == []
    assert {each["authorization"] for each in collector.requests} == {_HEADER}
    assert _HEADER not in capsys.readouterr().out
