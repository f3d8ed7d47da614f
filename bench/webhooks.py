"""Compares how fast one worker delivers webhooks with a plain loop that posts the same bytes.

`python -m bench.webhooks` prints the deliveries/s of both, and their ratio. The receiver runs in its own
process and answers at once. The plain loop has gevent greenlets with one requests session each, and
signs nothing. Both run in one process that gevent patches, as a worker.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402 - after the patch, as in a worker
import json  # noqa: E402
import multiprocessing  # noqa: E402
import secrets  # noqa: E402
import socket  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import requests  # noqa: E402
from gevent.queue import Empty, Queue  # noqa: E402
from gevent.server import StreamServer  # noqa: E402
from psycogreen.gevent import patch_psycopg  # noqa: E402
from sqlalchemy import text  # noqa: E402

from bench.wakeups import NoWakeups  # noqa: E402
from devstack.configured import postgres_server  # noqa: E402
from devstack.environment import service_environment  # noqa: E402
from devstack.ports import free_port  # noqa: E402
from origin.keys.sealing import webhook_secret_context  # noqa: E402
from origin.migrate import upgrade  # noqa: E402
from origin.runtime import Runtime, build_runtime  # noqa: E402
from origin.settings import Settings  # noqa: E402

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_GREENLETS = 20
_PEERS = (
    "HYDRA_URL",
    "HYDRA_INTROSPECT_URL",
    "DATAHUB_SERVICE_URL",
    "LEDGER_URL",
    "ENERGY_TYPE_SERVICE_URL",
)


def _answer(connection: socket.socket, _address: object) -> None:
    """Read requests from a connection, and answer each at once."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
        while (end := received.find(b"\r\n\r\n")) >= 0:
            head = received[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(received) < end + 4 + length:
                break
            received = received[end + 4 + length :]
            connection.sendall(_ANSWER)


def _serve(port: int) -> None:
    StreamServer(("127.0.0.1", port), _answer).serve_forever()


def _bodies(count: int) -> list[bytes]:
    """Return bodies of webhooks as the service makes them."""
    ggo = {
        "sector": "DK1",
        "begin": "2020-01-01T00:00:00+00:00",
        "end": "2020-01-01T01:00:00+00:00",
        "amount": 10000,
        "technology": "Wind",
        "technologyCode": "T010000",
        "fuelCode": "F01040100",
        "emissions": {"CO2": 0.0},
        "issueGsrn": "571313180400000012",
    }
    return [
        json.dumps(
            {"sub": "anna", "ggo": {"address": "849c0b" + secrets.token_hex(32), **ggo}}
        ).encode()
        for _ in range(count)
    ]


def _fill(runtime: Runtime, url: str, subscriptions: int, bodies: Sequence[bytes]) -> None:
    """Insert due deliveries with these bodies, spread over subscriptions to one receiver."""
    event = "ON_GGO_RECEIVED"
    with runtime.database.transaction() as session:
        session.execute(text("TRUNCATE users CASCADE"))
        user_id = session.scalar(
            text("INSERT INTO users (subject, master_key) VALUES ('anna', 'x') RETURNING id")
        )
        assert isinstance(user_id, int)
        ids = []
        for number in range(subscriptions):
            target = f"{url}/{number}"
            context = webhook_secret_context(user_id, event, target)
            values = {
                "user_id": user_id,
                "event": event,
                "url": target,
                "host": url.rpartition("//")[2],
                "secret": runtime.sealer.seal("a secret", context),
            }
            ids.append(
                session.scalar(
                    text(
                        "INSERT INTO webhook_subscriptions "
                        "(user_id, event, url, host, secret, next_attempt_at) "
                        "VALUES (:user_id, :event, :url, :host, :secret, now()) RETURNING id"
                    ),
                    values,
                )
            )
        session.execute(
            text("INSERT INTO webhook_deliveries (subscription_id, body) VALUES (:id, :body)"),
            [
                {"id": ids[number % subscriptions], "body": body}
                for number, body in enumerate(bodies)
            ],
        )


def _deliver_all(runtime: Runtime, count: int) -> float:
    """Deliver everything that is due, and return the deliveries per second."""
    begin = time.perf_counter()
    done = 0
    while done < count:
        attempts = runtime.delivery_runner.run_due()
        assert attempts, "nothing is due, but not everything is delivered"
        done += attempts
    rate = count / (time.perf_counter() - begin)
    with runtime.database.reading() as session:
        left = session.scalar(
            text("SELECT count(*) FROM webhook_deliveries WHERE state <> 'DELIVERED'")
        )
    assert left == 0
    return rate


def _post_all(url: str, bodies: Sequence[bytes]) -> float:
    """Run the plain loop, and return the posts per second."""
    waiting: Queue[bytes] = Queue(items=list(bodies))

    def loop() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                try:
                    body = waiting.get_nowait()
                except Empty:
                    return
                headers = {"Content-Type": "application/json"}
                assert session.post(f"{url}/plain", data=body, headers=headers, timeout=15).ok

    begin = time.perf_counter()
    gevent.joinall([gevent.spawn(loop) for _ in range(_GREENLETS)], raise_error=True)
    return len(bodies) / (time.perf_counter() - begin)


def _runtime(database_uri: str) -> Runtime:
    nowhere: Any = {"host": "127.0.0.1", "port": 9, "username": "", "password": ""}
    environment = service_environment(
        database_uri=database_uri,
        redis=type("Redis", (), nowhere)(),
        peers=dict.fromkeys(_PEERS, "http://127.0.0.1:9")
        | {"HYDRA_CLIENT_ID": "x", "HYDRA_CLIENT_SECRET": "x", "WEBHOOK_SECRET": "x"},
        port=9,
        changes={"LEASE_SECONDS": "60"},
    )
    fields = {name.lower(): value for name, value in environment.items()}
    return build_runtime(Settings.of(fields), NoWakeups())


def main(arguments: Sequence[str]) -> int:
    """Measure both alternately; return the exit status: 0 if the ratio is at least 0.5."""
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=3000)
    parser.add_argument("--subscriptions", type=int, nargs="*", default=[1, 20])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    patch_psycopg()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    receiver = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(port,), daemon=True
    )
    receiver.start()
    with postgres_server() as postgres:
        uri = postgres.create_database("bench_webhooks")
        upgrade(uri)
        runtime = _runtime(uri)
        bodies = _bodies(options.deliveries)
        _wait_for(port)
        worst = min(_ratio(runtime, url, count, bodies, options) for count in options.subscriptions)
        runtime.receivers.close()
        runtime.database.dispose()
        postgres.drop_database("bench_webhooks")
    receiver.terminate()
    return 0 if worst >= 0.5 else 1


def _ratio(
    runtime: Runtime, url: str, count: int, bodies: Sequence[bytes], options: argparse.Namespace
) -> float:
    """Return the median ratio of some rounds, in which both run one after the other."""
    ratios = []
    for _ in range(options.rounds):
        plain = _post_all(url, bodies)
        _fill(runtime, url, count, bodies)
        ours = _deliver_all(runtime, len(bodies))
        ratios.append(ours / plain)
        line = f"{count} subscriptions: {ours:.0f}/s, plain loop {plain:.0f}/s, {ours / plain:.2f}"
        print(line, flush=True)
    return statistics.median(ratios)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            gevent.sleep(0.05)
        else:
            return
    raise TimeoutError("The receiver doesn't answer")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
