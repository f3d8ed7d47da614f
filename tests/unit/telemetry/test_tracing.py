"""Request ids and traces are passed to peers, and accepted only if they are well-formed."""

import pytest

from origin.peers.http import PeerClient
from origin.telemetry import context
from origin.telemetry.tracing import FinishedSpan, delivery, export_to, peer_call
from tests.support.recording_server import recording_server

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_peer_call_carries_request_id_and_trace():
    peer = PeerClient("Peer", tls_verify=True)
    with recording_server() as recorder:
        span = context.begin_work("POST /ggo/compose", "order-17", f"00-{TRACE}-{PARENT}-01")
        try:
            peer.post_json(f"{recorder.url}/a", {}, {"Authorization": "x"})
        finally:
            context.end_work()
        peer.post_json(f"{recorder.url}/b", {})
    first, second = recorder.requests
    assert first.headers["x-request-id"] == "order-17"
    assert first.headers["authorization"] == "x"
    version, trace, parent, flags = first.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    # The call has its own span.
    assert parent not in {PARENT, span.span_id}
    assert "x-request-id" not in second.headers
    assert TRACE not in second.headers["traceparent"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01more",
    ],
)
def test_a_malformed_trace_is_replaced(header: str):
    span = context.begin_work("x", None, header)
    context.end_work()
    assert span.trace_id != TRACE
    assert span.parent_id is None


def test_unsampled_traces_are_not_exported():
    span = context.begin_work("x", None, f"00-{TRACE}-{PARENT}-00")
    context.end_work()
    assert not span.sampled
    assert span.header == f"00-{TRACE}-{span.span_id}-00"


def test_spans_contain_only_the_server_of_a_peers_url():
    ended: list[FinishedSpan] = []
    export_to(ended.append)
    context.begin_work("POST /ggo/compose", None, f"00-{TRACE}-{PARENT}-01")
    try:
        with peer_call("Peer", "GET", "https://me:secret@peer.test:8443/path?query=1"):
            pass
    finally:
        context.end_work()
        export_to()
    [call] = ended
    assert call.attributes == {
        "http.request.method": "GET",
        "url.full": "https://peer.test:8443",
        "server.address": "peer.test",
        "server.port": 8443,
        "service.peer.name": "Peer",
    }


@pytest.mark.parametrize(
    "header", [f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-03-what-may-come"]
)
def test_later_versions_of_the_header_are_read_as_the_first(header: str):
    span = context.begin_work("x", None, header)
    context.end_work()
    assert (span.trace_id, span.parent_id, span.sampled) == (TRACE, PARENT, True)
    assert span.header.startswith(f"00-{TRACE}-")


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("a=1", "a=1"),
        ("a=1 , tenant@vendor=x y,\tb/c=2,,", "a=1,tenant@vendor=x y,b/c=2"),
        (",".join(f"k{number}=v" for number in range(32)), None),
        (None, ""),
        ("", ""),
        ("a", ""),
        ("a=", ""),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a=1\n", ""),
        ("a=ü", ""),
        ("a=1=2", ""),
        (",".join(f"k{number}=v" for number in range(33)), ""),
        (f"a={'x' * 600}", ""),
        ("a=" + "x" * 250 + ",b=" + "x" * 250 + ",c=" + "x" * 20, ""),
    ],
)
def test_a_trace_state_is_passed_on_if_it_is_valid(given: str | None, passed_on: str | None):
    context.begin_work("x", None, f"00-{TRACE}-{PARENT}-01", given)
    child = context.child_span("y")
    headers = context.outgoing_headers(child)
    context.end_work()
    assert headers.get("tracestate", "") == (given if passed_on is None else passed_on)


def test_a_new_trace_has_no_state():
    span = context.begin_work("x", None, "garbage", "a=1")
    context.end_work()
    assert span.state == ""


def test_a_delivery_tells_only_the_receivers_server():
    ended: list[FinishedSpan] = []
    export_to(ended.append)
    for status in (204, 410, None):
        with delivery("https://me:secret@hooks.test/secret?key=1") as call:
            assert call.headers == {}
            call.status = status
    export_to()
    assert "secret" not in repr(ended)
    assert [(each.span.name, each.error) for each in ended] == [
        ("POST receiver", None),
        ("POST receiver", "410"),
        ("POST receiver", "no response"),
    ]
    assert ended[0].attributes["url.full"] == "https://hooks.test"
