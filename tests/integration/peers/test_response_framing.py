"""A call never gets the response to another call, however a peer answered the call before.

Each case is a method of a client. It calls as A, and the peer answers unusually. Then it calls as B, and
the peer answers correctly.
"""

import io
import json
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from origin.batches.client.ledger import LedgerClient
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.errors import PeerError
from origin.identity.client import HydraClient
from origin.peers.datahub import DataHubClient
from origin.peers.http import PeerClient
from origin.webhooks.client.receivers import ReceiverClient
from origin.webhooks.client.targets import target_of
from tests.support.certificates import loopback_certificate
from tests.support.scripted_peer import Script, ScriptedPeer, http_answer

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
FAILED = "failed"
FAILURES = (FAILED, "UNCERTAIN")
"""The ledger client reports UNCERTAIN for a POST that may have arrived."""


@dataclass(frozen=True)
class Case:
    """A client's method: how to call it, the response, and the expected result."""

    new_client: Callable[[str], Any]
    ask: Callable[[Any, str], Any]
    answer: Callable[[str], bytes]
    told: Callable[[str], Any]


def _json(document: Any) -> bytes:
    return http_answer(json.dumps(document).encode(), "200 OK", "Content-Type: application/json")


def _hydra(url: str) -> HydraClient:
    return HydraClient(
        url,
        f"{url}/introspect",
        client_id="us",
        client_secret="secret",
        introspect_auth=False,
        tls_verify=True,
    )


@cache
def _key(who: str) -> RSAKey:
    return RSAKey.generate_key(parameters={"kid": who}, private=True)


def _id_token(who: str) -> str:
    now = int(time.time())
    claims = {"sub": who, "aud": "us", "nonce": "n", "iat": now, "exp": now + 60}
    return jwt.encode({"alg": "RS256", "kid": who}, claims, _key(who), algorithms=["RS256"])


class _Receiver:
    """A connection to a webhook receiver, as deliveries use it."""

    def __init__(self, url: str) -> None:
        self._client = ReceiverClient(tls_verify=True, allow_private=True)
        self._target = target_of(url)

    def post(self) -> Any:
        line = self._client.take(self._target)
        answer = line.post("/", {}, b"{}")
        self._client.give_back(line)
        return FAILED if answer.status is None else answer.status

    def close(self) -> None:
        self._client.close()


def _measured(who: str) -> dict[str, Any]:
    return {
        "address": who,
        "gsrn": who,
        "begin": "2020-01-01T12:00:00Z",
        "end": "2020-01-01T13:00:00Z",
        "type": "consumption",
        "sector": "DK1",
        "amount": 7,
    }


def _state(document: Any) -> bytes:
    return _json({"data": b64encode(json.dumps(document).encode()).decode()})


def _mix(who: str) -> dict[str, Any]:
    return {
        "timestamp_utc": "2020-01-01T12:00:00Z",
        "sector": "DK1",
        "technology": who,
        "amount": 1,
    }


def _refused(code: int) -> bytes:
    error = {"error": {"code": code, "title": "Odd", "message": "No"}}
    return http_answer(json.dumps(error).encode(), "400 Bad Request")


def _status(who: str) -> str:
    return {"A": "COMMITTED", "B": "INVALID"}[who]


datahub = partial(DataHubClient, tls_verify=True)
ledger = partial(LedgerClient, tls_verify=True)

CASES = {
    "Hydra: introspection": Case(
        _hydra,
        lambda hydra, who: hydra.introspect(who).subject,
        lambda who: _json({"active": True, "sub": who, "scope": "openid", "token_type": "Bearer"}),
        str,
    ),
    "Hydra: refresh": Case(
        _hydra,
        lambda hydra, who: hydra.refresh(who).access_token,
        lambda who: _json({"access_token": who, "expires_in": 60}),
        str,
    ),
    "Hydra: code": Case(
        _hydra,
        lambda hydra, who: hydra.exchange_code(who, redirect_uri="r", code_verifier="v").id_token,
        lambda who: _json({"access_token": "x", "expires_in": 60, "id_token": who}),
        str,
    ),
    "Hydra: keys": Case(
        _hydra,
        lambda hydra, who: hydra.subject_of(_id_token(who), nonce="n"),
        lambda who: _json({"keys": [_key(who).as_dict(private=False)]}),
        str,
    ),
    "DataHub: metering points": Case(
        datahub,
        lambda datahub, who: datahub.metering_points(who).valid[0].gsrn,
        lambda who: _json({"success": True, "meteringpoints": [_measured(who)]}),
        str,
    ),
    "DataHub: consumed": Case(
        datahub,
        lambda datahub, who: datahub.consumed_measurement(who, who, NOON).gsrn,
        lambda who: _json({"success": True, "measurement": _measured(who)}),
        str,
    ),
    "DataHub: measurements": Case(
        datahub,
        lambda datahub, who: (
            next(datahub.measurement_pages(who, gsrn=[who], begin=NOON, end=NOON))[0].gsrn
        ),
        lambda who: _json({"success": True, "total": 1, "measurements": [_measured(who)]}),
        str,
    ),
    "DataHub: key": Case(
        datahub,
        lambda datahub, who: datahub.set_key(who, who, "xprv"),
        lambda who: _json({"success": True}) if who == "A" else _refused(0),
        lambda who: None if who == "A" else FAILED,
    ),
    "EnergyType": Case(
        partial(EnergyTypeClient, tls_verify=True),
        lambda energy, _: [*energy.residual_mix(["DK1"], NOON, NOON)["DK1"].technologies],
        lambda who: _json({"success": True, "mix_emissions": [_mix(who)]}),
        lambda who: [who],
    ),
    "ledger: post": Case(
        ledger,
        lambda ledger, _: ledger.post(b"batch").outcome.name,
        lambda who: http_answer(b"{}", "202 Accepted") if who == "A" else _refused(30),
        lambda who: "ACCEPTED" if who == "A" else "REFUSED",
    ),
    "ledger: status": Case(
        ledger,
        lambda ledger, _: ledger.statuses(["a"])["a"].status.name,
        lambda who: _json({"data": [{"id": "a", "status": _status(who)}]}),
        _status,
    ),
    "ledger: statuses": Case(
        ledger,
        lambda ledger, _: ledger.statuses(["a"] * 16)["a"].status.name,
        lambda who: _json({"data": [{"id": "a", "status": _status(who)}]}),
        _status,
    ),
    "ledger: settlement": Case(
        ledger,
        lambda ledger, _: ledger.read_settlement("a").measurement,
        lambda who: _state({"measurement": who, "parts": []}),
        lambda who: who,
    ),
    "receiver": Case(
        _Receiver,
        lambda receiver, _: receiver.post(),
        lambda who: http_answer(b"ok", "200 OK" if who == "A" else "410 Gone"),
        lambda who: 200 if who == "A" else 410,
    ),
}


def _interim(peer: ScriptedPeer, answer: bytes, *packets: bytes) -> Script:
    """Send these packets with pauses before the response."""

    def script(connection: socket.socket) -> None:
        for packet in packets:
            connection.sendall(packet)
            peer.over.wait(0.2)
        connection.sendall(answer)

    return script


def _chunked(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *_ = head.split(b"\r\n")
    return b"%b\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        status,
        len(body),
        body,
    )


PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 5\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _send(*packets: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        for packet in packets:
            connection.sendall(packet)

    return script


def _send_for_ever(peer: ScriptedPeer, first: bytes, packet: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(first)
        while not peer.over.wait(0.001):
            connection.sendall(packet)

    return script


def _send_and_hang_up(packet: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(packet)
        connection.shutdown(socket.SHUT_RDWR)

    return script


ANSWERED: dict[str, Callable[[ScriptedPeer, bytes], Script]] = {
    "102, then the answer": lambda peer, answer: _interim(peer, answer, PROCESSING),
    "103 and the answer at once": lambda _, answer: _send(HINTS + answer),
    "several": lambda peer, answer: _interim(peer, answer, CONTINUE + PROCESSING, HINTS, CONTINUE),
    "102, then two answers": lambda peer, answer: _interim(peer, answer * 2, PROCESSING),
    "two answers in one packet": lambda _, answer: _send(answer * 2),
    "garbage behind it": lambda _, answer: _send(answer + b"xyz"),
    "chunks": lambda _, answer: _send(_chunked(answer)),
    "chunks, then garbage": lambda _, answer: _send(_chunked(answer) + b"xyz"),
    "chunks, then another": lambda _, answer: _send(_chunked(answer) + answer),
}
"""Unusual but unambiguous responses."""

FAILING: dict[str, Callable[[ScriptedPeer], Script]] = {
    "interim answers without end": lambda peer: _send_for_ever(peer, b"", PROCESSING),
    "100s without end": lambda peer: _send_for_ever(peer, b"", CONTINUE),
    "an interim answer, then the end": lambda _: _send_and_hang_up(PROCESSING),
    "an interim head without end": lambda peer: _send_for_ever(peer, PROCESSING[:-2], b"X: y\r\n"),
}
"""Ways not to respond."""


@pytest.fixture
def peer() -> Iterator[ScriptedPeer]:
    made = ScriptedPeer()
    yield made
    made.close()


@pytest.fixture
def client(peer: ScriptedPeer, name: str) -> Iterator[Any]:
    """Return the client of the case of this name."""
    made = CASES[name].new_client(f"http://{peer.address}")
    yield made
    if isinstance(made, _Receiver):
        made.close()


def asked(case: Case, client: Any, who: str) -> Any:
    try:
        return case.ask(client, who)
    except PeerError:
        return FAILED


@pytest.mark.parametrize("oddly", ANSWERED)
@pytest.mark.parametrize("name", CASES)
def test_each_call_gets_its_own_response(
    peer: ScriptedPeer, client: Any, name: str, oddly: str
) -> None:
    case = CASES[name]
    peer.scripts = [
        ANSWERED[oddly](peer, case.answer("A")),
        lambda to: to.sendall(case.answer("B")),
    ]
    assert asked(case, client, "A") == case.told("A")
    assert asked(case, client, "B") == case.told("B")
    assert len(peer.requests) == 2


@pytest.mark.parametrize("oddly", FAILING)
@pytest.mark.parametrize("name", CASES)
def test_a_missing_response_fails_soon_and_the_next_call_gets_its_own(
    peer: ScriptedPeer, client: Any, name: str, oddly: str
) -> None:
    case = CASES[name]
    peer.scripts = [FAILING[oddly](peer), _send(case.answer("B"))]
    begun = time.monotonic()
    assert asked(case, client, "A") in FAILURES
    assert time.monotonic() - begun < 10
    assert asked(case, client, "B") == case.told("B")


@pytest.mark.parametrize("name", CASES)
def test_late_bytes_on_an_idle_connection_reach_no_call(
    peer: ScriptedPeer, client: Any, name: str
) -> None:
    case = CASES[name]
    pooled, sent = threading.Event(), threading.Event()

    def twice(connection: socket.socket) -> None:
        connection.sendall(case.answer("A"))
        pooled.wait(30)
        connection.sendall(case.answer("A"))
        sent.set()

    peer.scripts = [twice, _send(case.answer("B"))]
    assert asked(case, client, "A") == case.told("A")
    pooled.set()
    assert sent.wait(30)
    assert asked(case, client, "B") == case.told("B")


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
DOUBTFUL: dict[str, Callable[[bytes], tuple[bytes, bytes]]] = {
    "a part of another answer": lambda answer: (answer + answer[:20], answer[20:]),
    "another protocol": lambda answer: (SWITCHING, answer),
    "chunks and a length": lambda answer: (
        _chunked(answer).replace(b"\r\n", b"\r\nContent-Length: 1\r\n", 1),
        answer,
    ),
    "two lengths": lambda answer: (
        answer.replace(b"\r\n", b"\r\nContent-Length: 2\r\n", 1),
        answer,
    ),
    "a length that is no number": lambda answer: (
        answer.replace(b"Content-Length: ", b"Content-Length: +"),
        answer,
    ),
    "204 with a length": lambda answer: (
        b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n" % len(answer),
        answer,
    ),
    "another coding than chunks": lambda answer: (
        answer.replace(b"\r\n", b"\r\nTransfer-Encoding: gzip, chunked\r\n", 1),
        answer,
    ),
}
"""The bytes sent at once, and those sent with the next request on the same connection."""


@pytest.mark.parametrize("oddly", DOUBTFUL)
@pytest.mark.parametrize("name", CASES)
def test_a_doubtful_connection_is_not_reused(
    peer: ScriptedPeer, client: Any, name: str, oddly: str
) -> None:
    case = CASES[name]
    at_once, late = DOUBTFUL[oddly](case.answer("A"))
    connections = []

    def first(connection: socket.socket) -> None:
        connections.append(connection)
        connection.sendall(at_once)

    def second(connection: socket.socket) -> None:
        connection.sendall((late if connection in connections else b"") + case.answer("B"))

    peer.scripts = [first, second]
    asked(case, client, "A")
    assert asked(case, client, "B") == case.told("B")


@pytest.mark.parametrize("name", [name for name in CASES if name != "Hydra: keys"])
def test_a_connection_is_reused_after_a_complete_response(
    peer: ScriptedPeer, client: Any, name: str
) -> None:
    case = CASES[name]
    answers = [case.answer("A"), _chunked(case.answer("A")), HINTS + case.answer("A")]
    peer.scripts = [*map(_send, answers), _send(case.answer("B"))]
    for _ in answers:
        assert asked(case, client, "A") == case.told("A")
    assert asked(case, client, "B") == case.told("B")
    assert peer.connections == 1


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5",
        "HTTP/1.1 200 OK\r\nContent-Length: 0",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0",
    ],
)
def test_a_connection_is_reused_after_a_response_without_body(
    peer: ScriptedPeer, head: str
) -> None:
    peer.scripts = [_send(f"{head}\r\n\r\n".encode()), _send(http_answer(b"own"))]
    caller = PeerClient("Peer", tls_verify=True)
    assert caller.request("GET", f"http://{peer.address}").content == b""
    assert caller.request("GET", f"http://{peer.address}").content == b"own"
    assert peer.connections == 1


@pytest.mark.parametrize("answer", [HINTS + http_answer(b"own"), http_answer(b"own") + b"x"])
def test_through_a_proxy(
    peer: ScriptedPeer, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{peer.address}")
    peer.scripts = [_send(answer), _send(http_answer(b"next"))]
    caller = PeerClient("Peer", tls_verify=True)
    assert caller.request("GET", "http://peer.invalid/").content == b"own"
    assert caller.request("GET", "http://peer.invalid/").content == b"next"


def test_a_proxys_tunnel_may_be_announced(
    peer: ScriptedPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`http.client` alone would take the interim response for the proxy's refusal."""
    certificate = loopback_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("https_proxy", f"http://{peer.address}")
    monkeypatch.setenv("no_proxy", "peer.invalid")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def tunnel(connection: socket.socket) -> None:
        connection.sendall(PROCESSING + HINTS + b"HTTP/1.1 200 Connected\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as inside:
            inside.recv(65536)
            inside.sendall(http_answer(b"own"))

    peer.scripts = [tunnel]
    caller = PeerClient("Peer", tls_verify=True)
    assert caller.request("GET", "https://127.0.0.1:9/").content == b"own"


def test_over_tls_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One TLS record holds both responses, so reading the first also decrypts the second."""
    certificate = loopback_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    peer = ScriptedPeer(partial(context.wrap_socket, server_side=True))
    head = len(http_answer(b"a" * 1000)) - 1000
    first = http_answer(b"a" * (io.DEFAULT_BUFFER_SIZE - head))
    assert len(first) == io.DEFAULT_BUFFER_SIZE
    peer.scripts = [_send(first + http_answer(b"stray")), _send(http_answer(b"own"))]
    client = PeerClient("Peer", tls_verify=True)
    assert client.request("GET", f"https://{peer.address}").content == first[head:]
    assert client.request("GET", f"https://{peer.address}").content == b"own"
    peer.close()
