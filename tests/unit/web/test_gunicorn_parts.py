"""The undocumented parts of gunicorn that the web's worker uses. A failure names the missing part."""

import inspect
from typing import Any

import gevent
import pytest
from gevent import socket
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from origin.web.gunicorn import worker
from origin.web.gunicorn.rejections import rejection

_METHODS = {
    "load_wsgi": ["self"],
    "notify": ["self"],
    "handle": ["self", "listener", "client", "addr"],
    "handle_request": ["self", "listener_name", "req", "sock", "addr"],
    "handle_error": ["self", "req", "client", "addr", "exc"],
    "handle_exit": ["self", "sig", "frame"],
    "timeout_ctx": ["self"],
}


@pytest.mark.parametrize("name", _METHODS)
def test_gunicorns_worker_has_the_overridden_methods(name: str):
    method = getattr(GeventWorker, name, None)
    assert method, f"gunicorn's worker has no {name} any more"
    assert list(inspect.signature(method).parameters) == _METHODS[name], f"{name} takes others now"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("handle", "self.timeout_ctx()"),
        ("handle", "self.handle_request(listener_name, req, client, addr)"),
        ("handle", "self.handle_error(req, client, addr, e)"),
        ("handle_request", "self.wsgi(environ, resp.start_response)"),
    ],
)
def test_gunicorns_worker_calls_the_overridden_methods(name: str, expected: str):
    source = inspect.getsource(getattr(AsyncWorker, name))
    assert expected in source, f"gunicorn's {name} doesn't say {expected} any more"


def _request(raw: bytes) -> Any:
    return Request(Config(), IterUnreader(iter([raw])), ("127.0.0.1", 1))


def test_gunicorns_request_has_the_attributes_in_use():
    request = _request(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
    assert request.headers == [("CONTENT-LENGTH", "2")], "names aren't in capitals any more"
    assert request.body.read(1) == b"{", "a request's body can't be read any more"
    assert not request.should_close()
    request.force_close()
    assert request.should_close(), "a request's force_close doesn't end the connection any more"


def test_an_ill_formed_request_is_a_parse_exception():
    with pytest.raises(errors.ParseException) as raised:
        _request(b"hello\r\n\r\n")
    assert rejection(raised.value), "an ill-formed request isn't told by its class any more"
    chunked = _request(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    with pytest.raises(errors.ParseException):
        chunked.body.read(1)


def test_errors_of_the_service_are_no_rejections():
    for error in (errors.InvalidResponseHeader("x"), errors.ConfigurationProblem("x"), KeyError()):
        assert rejection(error) is None


def test_sending_to_a_client_that_accepts_nothing_ends(monkeypatch: pytest.MonkeyPatch):
    """The kernel's timer covers all unacknowledged bytes, not only those of the last call."""
    monkeypatch.setattr(worker, "SEND_TIMEOUT_S", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
    ):
        client, _ = server.accept()
        worker.bound_sending(client)
        with client, gevent.Timeout(20), pytest.raises(TimeoutError):
            client.sendall(bytes(100_000_000))
