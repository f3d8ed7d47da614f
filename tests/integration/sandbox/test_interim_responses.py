"""Every server of the sandbox sends interim responses on demand."""

import socket
from urllib.parse import urlsplit

import pytest

_PATHS = {
    "hydra": "/.well-known/jwks.json",
    "datahub": "/technologies",
    "ledger": "/state/00",
    "energytype": "/residual-mix",
    "receiver": "/hook/anna",
}


def _wire(url, path):
    """Send a GET on a new connection, and return all bytes of the response."""
    where = urlsplit(url)
    request = f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("name", _PATHS)
def test_interim_responses_come_before_the_answer_of(sandbox, name):
    peer = getattr(sandbox, name)
    plain = _wire(peer.url, _PATHS[name])
    peer.fault(_PATHS[name], interim=[102, 103], interim_pause=0.05)
    first, second, answer = _wire(peer.url, _PATHS[name]).split(b"\r\n\r\n", 2)
    assert (first, second) == (b"HTTP/1.1 102 Processing", b"HTTP/1.1 103 Early Hints")
    assert answer.split(b"\r\n")[0] == plain.split(b"\r\n")[0]
    assert _wire(peer.url, _PATHS[name]).split(b"\r\n")[0] == plain.split(b"\r\n")[0]


def test_an_error_can_follow_an_interim_response(sandbox):
    sandbox.ledger.fault("/state/*", interim=[102], interim_pause=0, code=15)
    early, answer = _wire(sandbox.ledger.url, "/state/00").split(b"\r\n\r\n", 1)
    assert early == b"HTTP/1.1 102 Processing"
    assert answer.startswith(b"HTTP/1.1 503 ")
