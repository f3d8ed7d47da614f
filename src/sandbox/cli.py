"""The command line: chooses the servers to start, their ports and their settings.

Each server's module is imported only when that server is created, so one server starts quickly.
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from sandbox.interim import InterimHandler

if TYPE_CHECKING:
    from flask import Flask

CLIENT_ID = "account-service"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 (public: it protects nothing)
SERVERS = ("hydra", "datahub", "ledger", "energytype", "receiver")
PARENT_CHECK_INTERVAL = 0.2
"""Seconds between two checks that the parent process is alive."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parse = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__.splitlines()[0])
    option = parse.add_argument
    option("server", nargs="?", choices=["all", *SERVERS], default="all")
    option("--host", default="127.0.0.1", help="address to listen on (default: loopback)")
    option("--port", type=int, default=0, help="port, if one server is started (0: any free one)")
    for name in SERVERS:
        option(f"--{name}-port", type=int, default=0, help=f"port of {name} (0: any free one)")
    option("--client-id", default=CLIENT_ID, help="Hydra: the client's id")
    option("--client-secret", default=CLIENT_SECRET, help="Hydra: the client's secret")
    option("--redirect-uri", action="append", default=[], help="Hydra: a redirect URI to register")
    option(
        "--public-client",
        action="append",
        default=[],
        metavar="ID=URI",
        help="Hydra: a frontend's client without a secret, and its redirect URI",
    )
    option("--issuer", help="Hydra: iss of ID tokens (default: its URL)")
    option(
        "--introspect-auth",
        action="store_true",
        help="Hydra: introspection requires the client's credentials",
    )
    option("--introspect-url", help="DataHub: introspection URL (default: the sandbox's Hydra)")
    option("--ledger-url", help="DataHub: ledger to issue on (default: the sandbox's ledger)")
    option("--webhook-retry", type=float, default=60, help="DataHub: seconds between attempts")
    option(
        "--row-seconds",
        type=float,
        default=0,
        help="DataHub: seconds spent on each row (the real DataHub: 0.0027)",
    )
    option("--webhook-secret", help="receiver: secret that deliveries are signed with")
    option(
        "--block-time",
        type=float,
        default=0.2,
        help="ledger: seconds per block (0: commit at once)",
    )
    option(
        "--invalid-memory",
        type=float,
        default=800,
        help="ledger: seconds for which an INVALID batch is remembered",
    )
    option(
        "--issuer-key", action="append", default=[], help="ledger: public key (hex) of an issuer"
    )
    option("--die-with-parent", type=int, metavar="PID", help="exit when this parent has exited")
    option("--log-level", default="WARNING", help="lowest level that is logged to stderr")
    return parse


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM, SIGINT, or the parent's exit; print the URLs as one JSON line when ready."""
    options = _options(arguments)
    logging.basicConfig(level=options.log_level.upper(), stream=sys.stderr)
    chosen = SERVERS if options.server == "all" else (options.server,)
    sockets = {name: _listen(options, name) for name in chosen}
    urls = {name: _url(options.host, each) for name, each in sockets.items()}
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    servers = [
        WSGIServer(
            sockets[name], _create(name, options, urls), log=None, handler_class=InterimHandler
        )
        for name in chosen
    ]
    for server in servers:
        server.start()
    print(json.dumps(urls), flush=True)  # noqa: T201 (the parent process reads it)
    if options.die_with_parent:
        gevent.spawn(_watch_parent, options.die_with_parent, stop)
    stop.wait()
    for server in servers:
        server.stop(timeout=0)
    return 0


def _listen(options: argparse.Namespace, name: str) -> socket.socket:
    port = options.port if options.server == name else 0
    listener = socket.create_server(
        (options.host, port or getattr(options, f"{name}_port")), backlog=1024
    )
    # Accepted connections inherit this. Headers and body are two writes; without it the second
    # waits up to 40 ms for the client's acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(host: str, listener: socket.socket) -> str:
    return f"http://{host}:{listener.getsockname()[1]}"


def _watch_parent(parent: int, stop: Event) -> None:
    while os.getppid() == parent:
        gevent.sleep(PARENT_CHECK_INTERVAL)
    stop.set()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parse = parser()
    options = parse.parse_args(arguments)
    if options.server == "datahub" and options.introspect_url is None:
        parse.error("datahub alone needs --introspect-url")
    return options


def _create(name: str, options: argparse.Namespace, urls: dict[str, str]) -> "Flask":
    creators: dict[str, Callable[[argparse.Namespace, dict[str, str]], Flask]] = {
        "hydra": _hydra,
        "datahub": _datahub,
        "ledger": _ledger,
        "energytype": _energytype,
        "receiver": _receiver,
    }
    return creators[name](options, urls)


def _hydra(options: argparse.Namespace, urls: dict[str, str]) -> "Flask":
    from sandbox import hydra
    from sandbox.hydra.app import Client

    return hydra.create_app(
        Client(options.client_id, options.client_secret),
        redirect_uris=options.redirect_uri,
        public_clients=_public_clients(options.public_client),
        issuer=options.issuer or urls["hydra"],
        introspect_auth=options.introspect_auth,
    )


def _public_clients(values: Sequence[str]) -> dict[str, list[str]]:
    """Return the redirect URIs of each client id, of values like `ID=URI`."""
    clients: dict[str, list[str]] = {}
    for client_id, _, uri in (value.partition("=") for value in values):
        clients.setdefault(client_id, []).append(uri)
    return clients


def _datahub(options: argparse.Namespace, urls: dict[str, str]) -> "Flask":
    from sandbox import datahub
    from sandbox.datahub.peers import Introspection, LedgerControl

    ours = options.introspect_url is None
    introspect_url = f"{urls['hydra']}/oauth2/introspect" if ours else options.introspect_url
    credentials = (options.client_id, options.client_secret) if ours else None
    ledger_url = options.ledger_url or urls.get("ledger")
    return datahub.create_app(
        Introspection(introspect_url, credentials),
        None if ledger_url is None else LedgerControl(ledger_url.rstrip("/")),
        retry_interval=options.webhook_retry,
        row_seconds=options.row_seconds,
    )


def _ledger(options: argparse.Namespace, _urls: dict[str, str]) -> "Flask":
    from sandbox import ledger
    from sandbox.ledger.validator import Validator

    validator = Validator(
        block_time=options.block_time,
        issuers=[bytes.fromhex(key) for key in options.issuer_key],
        invalid_memory=options.invalid_memory,
    )
    return ledger.create_app(validator)


def _energytype(_options: argparse.Namespace, _urls: dict[str, str]) -> "Flask":
    from sandbox import energytype

    return energytype.create_app()


def _receiver(options: argparse.Namespace, _urls: dict[str, str]) -> "Flask":
    from sandbox import receiver

    return receiver.create_app(options.webhook_secret)
