"""Calls to peers that are slow or send without end, scripted on bare sockets."""

import base64
import gzip
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from urllib3.exceptions import InsecureRequestWarning

from origin.errors import PeerMisbehaved, PeerUnavailable, PeerUnreachable
from origin.peers.http import PeerClient
from tests.support.certificates import loopback_certificate
from tests.support.recording_server import recording_server

Script = Callable[[socket.socket], None]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Peer:
    """Runs the script for each connection. `over` ends endless scripts."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.connections = 0
        self.script: Script = lambda _: None
        self.wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), self.wrap(connection) as talking:
            while talking.recv(65536):
                self.script(talking)

    def drip(self, connection: socket.socket, text: bytes) -> None:
        for byte in text:
            if self.over.wait(0.05):
                return
            connection.sendall(bytes([byte]))

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def peer() -> Iterator[Peer]:
    one = Peer()
    yield one
    one.close()


def client(**limits: float) -> PeerClient:
    return PeerClient("Peer", tls_verify=True, **{"response_timeout_s": 0.4, **limits})  # type: ignore[arg-type] # limits alone


def basic(login: str) -> str:
    """Return the header of basic authentication (RFC 7617)."""
    return f"Basic {base64.b64encode(login.encode('latin-1')).decode()}"


def with_body(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    "answer",
    [HEAD + b"X: " + b"x" * 1000, with_body(b" " * 1000), HEAD + b"\r\n" + b" " * 1000],
    ids=["headers", "body", "body without an end"],
)
def test_a_slow_response_ends_at_the_deadline(peer: Peer, answer: bytes) -> None:
    """Each byte arrives within the read timeout; all bytes would take 50 s."""
    peer.script = lambda connection: peer.drip(connection, answer)
    started = time.monotonic()
    with pytest.raises(PeerUnavailable):
        client().request("GET", peer.url)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("connecting_s", [1, 30])
def test_silence_ends_at_the_read_timeout(peer: Peer, connecting_s: float) -> None:
    """The connect timeout may be longer."""
    peer.script = lambda _: peer.over.wait() and None
    started = time.monotonic()
    with pytest.raises(PeerUnavailable):
        client(response_timeout_s=60).request("GET", peer.url, timeout=(connecting_s, 0.2))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "answer",
    [
        with_body(b"x" * 1001),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100\r\n" + b"x" * 256 + b"\r\n") * 5,
        with_body(gzip.compress(b"x" * 10_000_000), b"Content-Encoding: gzip"),
        with_body(b"x" * 1001, b"Location: /").replace(b"200 OK", b"302 Found"),
    ],
    ids=["large", "endless", "bomb", "redirect"],
)
def test_too_large_a_response_is_not_read(peer: Peer, answer: bytes) -> None:
    peer.script = lambda connection: connection.sendall(answer)
    with pytest.raises(PeerMisbehaved, match="Peer: an answer of more than 1000 bytes"):
        client(response_timeout_s=20, max_response_bytes=1000).request("GET", peer.url)


def test_responses_within_limits_are_complete_and_share_a_connection(peer: Peer) -> None:
    body = b'{"a": "' + b"x" * 984 + b'"}'
    assert len(body) == 993
    answers = [
        with_body(body),
        with_body(gzip.compress(body), b"Content-Encoding: gzip"),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e1\r\n" + body + b"\r\n0\r\n\r\n",
    ]
    caller = client(response_timeout_s=20, max_response_bytes=1000)
    for answer in answers:
        peer.script = lambda connection, answer=answer: connection.sendall(answer)  # type: ignore[misc] # bound as a default
        response = caller.request("GET", peer.url)
        assert response.content == body
        assert caller.json_object(response) == {"a": "x" * 984}
    assert peer.connections == 1


def test_a_cut_body_is_an_error(peer: Peer) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 10\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)

    peer.script = cut
    with pytest.raises(PeerUnavailable):
        client(response_timeout_s=20).request("GET", peer.url)


def test_a_refused_connection_differs_from_a_missing_response() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(PeerUnreachable):
            client().request("GET", f"http://127.0.0.1:{deaf.getsockname()[1]}/")


def test_the_environments_proxy_receives_whole_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:p%40ss@"))
        client(response_timeout_s=20).request(
            "GET", "http://peer.invalid/a?x=1", params=[("y", "2 3"), ("y", "&")]
        )
    (told,) = proxy.requests
    assert told.path == "http://peer.invalid/a?x=1&y=2+3&y=%26"
    assert told.headers["host"] == "peer.invalid"
    assert told.headers["proxy-authorization"] == basic("me:p@ss")


@pytest.mark.parametrize(
    ("headers", "authorization"),
    [({}, basic("me:p@ss")), ({"Authorization": "Bearer x"}, "Bearer x")],
)
def test_a_login_in_a_url_replaces_no_token(headers: dict[str, str], authorization: str) -> None:
    with recording_server() as recorder:
        url = recorder.url.replace("//", "//me:p%40ss@")
        client(response_timeout_s=20).request("POST", url, headers=headers)
    (told,) = recorder.requests
    assert told.path == "/"
    assert told.headers["authorization"] == authorization


def test_forms_and_logins() -> None:
    with recording_server() as recorder:
        url = f"{recorder.url}/token?a=b"
        client(response_timeout_s=20).post_form(url, {"a b": "æ&"}, login=("me", "p:å"))
    (told,) = recorder.requests
    assert (told.path, told.body) == ("/token?a=b", b"a+b=%C3%A6%26")
    assert told.headers["content-type"] == "application/x-www-form-urlencoded"
    assert told.headers["authorization"] == basic("me:p:å")


def test_certificates_are_checked_unless_switched_off(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = loopback_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    peer.wrap = partial(context.wrap_socket, server_side=True)
    peer.script = lambda connection: connection.sendall(with_body(b"{}"))
    url = peer.url.replace("http:", "https:")
    with pytest.raises(PeerUnavailable, match="SSLError"):
        client(response_timeout_s=20).request("GET", url)
    unchecked = PeerClient("Peer", tls_verify=False)
    with pytest.warns(InsecureRequestWarning):
        assert unchecked.request("GET", url).status_code == 200
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert client(response_timeout_s=20).request("GET", url).status_code == 200


def test_a_response_may_take_longer_than_connecting(peer: Peer) -> None:
    def think(connection: socket.socket) -> None:
        peer.over.wait(0.5)
        connection.sendall(with_body(b"{}"))

    peer.script = think
    answer = client(response_timeout_s=20).request("GET", peer.url, timeout=(0.1, 10))
    assert (answer.status_code, answer.content) == (200, b"{}")


def test_a_proxys_slow_response_ends_at_the_deadline(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", peer.url)
    peer.script = lambda connection: peer.drip(connection, with_body(b" " * 1000))
    started = time.monotonic()
    with pytest.raises(PeerUnavailable):
        client().request("GET", "http://peer.invalid/")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("token", ["secret\nX: y", "secret\u20ac"])
def test_no_error_quotes_an_invalid_token(peer: Peer, token: str) -> None:
    with pytest.raises(PeerUnavailable) as raised:
        client().request("GET", peer.url, headers={"Authorization": f"Bearer {token}"})
    assert "secret" not in "".join(traceback.format_exception(raised.value))


def test_repr_of_a_response_hides_its_content(peer: Peer) -> None:
    peer.script = lambda connection: connection.sendall(with_body(b'{"access_token": "secret"}'))
    answer = client(response_timeout_s=20).request("GET", peer.url)
    assert "200" in repr(answer)
    assert "secret" not in repr(answer)
