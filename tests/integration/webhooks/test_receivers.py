"""Which addresses webhooks go to, and how attempts end whatever the receiver does."""

import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from threading import Thread

import pytest

from origin.webhooks.client import connections
from origin.webhooks.client.receivers import ReceiverClient
from origin.webhooks.client.targets import target_of
from origin.webhooks.rules.deliveries import ReceiverResponse
from origin.webhooks.rules.public_addresses import Network
from origin.webhooks.rules.subscriptions import UrlAddressNotAllowed


@pytest.fixture
def new_client() -> Iterator[Callable[..., ReceiverClient]]:
    made: list[ReceiverClient] = []

    def make(
        *addresses: str, allow_private: bool = False, forbidden: Collection[Network] = ()
    ) -> ReceiverClient:
        made.append(
            ReceiverClient(
                tls_verify=True,
                allow_private=allow_private,
                forbidden=forbidden,
                resolve=lambda *_: addresses,
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_a_host_with_one_forbidden_address_is_rejected(new_client: Callable[..., ReceiverClient]):
    target = target_of("https://app.example/hook")
    new_client("1.1.1.1").check(target)
    with pytest.raises(UrlAddressNotAllowed):
        new_client("1.1.1.1", "127.0.0.1").check(target)


def test_addresses_are_checked_again_at_delivery(new_client: Callable[..., ReceiverClient]):
    """Nothing is sent to a name that has come to lead to a forbidden address."""
    with serving(b"") as port:
        connection = new_client("127.0.0.1").take(target_of(f"http://app.example:{port}/"))
        assert connection.post("/", {}, b"") == ReceiverResponse(
            None, "the host's address is not allowed"
        )


@pytest.mark.parametrize("allow_private", [False, True])
@pytest.mark.parametrize("address", ["198.41.0.4", "64:ff9b::198.41.0.4", "2002:c629:4::1"])
def test_a_forbidden_network_is_rejected_at_subscription_and_at_delivery(
    new_client: Callable[..., ReceiverClient], address: str, allow_private: bool
):
    target = target_of("https://app.example/hook")
    forbidden = [ip_network("198.41.0.0/24")]
    client = new_client(address, allow_private=allow_private, forbidden=forbidden)
    with pytest.raises(UrlAddressNotAllowed):
        client.check(target)
    answer = client.take(target).post("/hook", {}, b"")
    assert answer == ReceiverResponse(None, "the host's address is not allowed")
    new_client(address, forbidden=[ip_network("198.41.1.0/24")]).check(target)


def test_the_host_header_has_the_name_and_the_connection_the_checked_address(
    new_client: Callable[..., ReceiverClient],
):
    received: list[bytes] = []
    with serving(b"HTTP/1.1 204 No Content\r\n\r\n", received=received) as port:
        client = new_client("127.0.0.1", allow_private=True)
        connection = client.take(target_of(f"http://app.example:{port}/hook?x=1"))
        assert connection.post("/hook?x=1", {}, b"{}") == ReceiverResponse(204)
        client.give_back(connection)
    assert received[0].startswith(b"POST /hook?x=1 HTTP/1.1\r\nHost: app.example:%d\r\n" % port)


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000]
)
def test_invalid_responses_have_no_status(new_client: Callable[..., ReceiverClient], answer: bytes):
    with serving(answer) as port:
        connection = new_client("127.0.0.1", allow_private=True).take(
            target_of(f"http://a:{port}/")
        )
        assert connection.post("/", {}, b"").status is None


def test_an_endless_body_is_not_read(new_client: Callable[..., ReceiverClient]):
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000
    with serving(endless) as port:
        connection = new_client("127.0.0.1", allow_private=True).take(
            target_of(f"http://a:{port}/")
        )
        assert connection.post("/", {}, b"") == ReceiverResponse(200)
        assert not connection.is_fresh


def test_a_trickling_response_is_cut(
    new_client: Callable[..., ReceiverClient], monkeypatch: pytest.MonkeyPatch
):
    """No wait for a single byte times out, but the whole attempt does."""
    monkeypatch.setattr(connections, "DEADLINE_S", 0.5)
    with serving(b"HTTP/1.1 200 OK\r\n", trickle=b"X: x\r\n") as port:
        connection = new_client("127.0.0.1", allow_private=True).take(
            target_of(f"http://a:{port}/")
        )
        answers: list[ReceiverResponse] = []
        thread = Thread(target=lambda: answers.append(connection.post("/", {}, b"")))
        thread.start()
        while thread.is_alive():
            if connection.is_overdue(time.monotonic()):
                connection.cut()
            thread.join(0.05)
    assert answers == [ReceiverResponse(None, "no answer in time")]


@contextmanager
def serving(
    answer: bytes, *, trickle: bytes = b"", received: list[bytes] | None = None
) -> Iterator[int]:
    """Serve these bytes to every connection, and then `trickle` without end; yield the port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    request = connection.recv(65536)
                    if received is not None:
                        received.append(request)
                    connection.sendall(answer)
                    while trickle:
                        connection.sendall(trickle)
                        connection.settimeout(0.1)
                        try:
                            if not connection.recv(1):
                                break
                        except TimeoutError:
                            continue
                except OSError:
                    continue

    thread = Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    # Closing alone does not unblock `accept`.
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()
