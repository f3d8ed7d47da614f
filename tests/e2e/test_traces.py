"""One compose is one trace, from the client's request to the ledger, at a collector with TLS."""

import json
import secrets

from origin.shared.release import VERSION
from tests.e2e.conftest import COLLECTORS_TOKEN
from tests.support.live_system import LiveSystem
from tests.support.otlp_collector import CollectedSpan, Collector
from tests.support.waiting import eventually

_PARENT = "00f067aa0ba902b7"


def _children(spans: list[CollectedSpan], parent: CollectedSpan) -> set[str]:
    return {each.name for each in spans if each.parent_id == parent.span_id}


def test_a_compose_is_one_trace_and_the_end_of_a_process_sends_its_spans(
    system: LiveSystem, collector: Collector
):
    """The processes send nothing before they end or a batch is full (`conftest.py`)."""
    anna, bo = system.households("anna", "bo")
    addresses = [system.issue(anna, number, 100) for number in range(3)]
    system.publish_consumption(anna, 0, 100)
    traces = {address: secrets.token_hex(16) for address in addresses}
    # A sweep may take a batch before the wake-up of its request; it has a trace of its own.
    system.services.beat.terminate()
    for address, trace in traces.items():
        answer = anna.api.request(
            "/ggo/compose",
            anna.order(
                address, transfers=[(40, bo)], retires=[10] if address == addresses[0] else []
            ),
            headers={"traceparent": f"00-{trace}-{_PARENT}-01", "tracestate": "frontend=7"},
        )
        assert answer.status_code == 200
    eventually(
        lambda: all(system.batch_states(each) == ["COMPLETED"] for each in addresses),
        "all are on the ledger",
    )
    ended = (system.services.web, system.services.worker)
    for process in ended:
        process.ask_to_end()
    assert [process.wait(30) for process in ended] == [0, 0]
    for process in system.services.all:
        process.launch()
    for process in system.services.all:
        process.wait_until_ready()
    collected = [collector.of_trace(trace) for trace in traces.values()]
    for spans in collected:
        [request] = [each for each in spans if each.kind == "server"]
        assert (request.name, request.parent_id) == ("POST /ggo/compose", _PARENT)
        assert "UPDATE ggos" in _children(spans, request)
    [first] = [each for each in collected[0] if each.kind == "server"]
    assert "POST DataHubService" in _children(collected[0], first)
    # Composes at the same moment may share a wake-up, which belongs to one of them.
    tasks = [
        (spans, each)
        for spans in collected
        for each in spans
        if each.name == "process origin.batches"
    ]
    [request] = [each for each in tasks[0][0] if each.kind == "server"]
    assert {each.kind for _, each in tasks} == {"consumer"}
    assert request.span_id in {each.parent_id for _, each in tasks}
    names = set().union(*(_children(spans, each) for spans, each in tasks))
    assert {"POST Ledger", "GET Ledger", "UPDATE batches"} <= names
    everything = [each for spans in collected for each in spans]
    assert {each.raw["traceState"] for each in everything} == {"frontend=7"}
    for each in everything:
        assert each.resource["service.name"] == system.stack.environment["SERVICE_NAME"]
        assert each.resource["service.version"] == VERSION
        assert each.resource["deployment.environment.name"] == "e2e"


def test_the_collectors_token_is_in_each_request_and_nowhere_else(
    system: LiveSystem, collector: Collector
):
    eventually(lambda: collector.requests, "something was sent")
    tokens = {each["authorization"] for each in collector.requests}
    assert tokens == {f"Bearer {COLLECTORS_TOKEN}"}
    assert {each["content-encoding"] for each in collector.requests} == {"gzip"}
    assert COLLECTORS_TOKEN.encode() not in b"".join(collector.bodies)
    for process in system.services.all:
        assert COLLECTORS_TOKEN not in process.output()
    assert json.loads(collector.bodies[0])
