"""TLS in front of PostgreSQL and Redis: the embedded servers are built without it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@contextmanager
def tls_front(
    port: int, certificate: Path, *, clients: Path | None = None, is_postgres: bool = True
) -> Iterator[int]:
    """Serve TLS, and forward to a local port; yield one's own port.

    Clients that ask for no TLS are disconnected.

    :param certificate: A file with the server's certificate and its key.
    :param clients: The authority whose certificates clients must have; None: they need none.
    :param is_postgres: Whether clients first ask for TLS, as PostgreSQL's do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(
                        target=_forward,
                        args=(client, context, port),
                        kwargs={"is_postgres": is_postgres},
                        daemon=True,
                    ).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def _forward(
    client: socket.socket, context: ssl.SSLContext, port: int, *, is_postgres: bool
) -> None:
    with suppress(OSError), closing(client):
        if is_postgres:
            if client.recv(len(_SSL_REQUEST)) != _SSL_REQUEST:
                return
            client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as inside,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            threading.Thread(target=_copy, args=(server, inside), daemon=True).start()
            _copy(inside, server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
