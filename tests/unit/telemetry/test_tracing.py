"""Request ids and traces are passed to peers, and accepted only if they are well-formed."""

import pytest

from origin.peers.http import PeerClient
from origin.telemetry import context
from origin.telemetry.tracing import FinishedSpan, export_to, peer_call
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
