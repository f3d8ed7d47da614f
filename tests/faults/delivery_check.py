"""Checks that no webhook is lost while workers are killed, Redis is flushed and PostgreSQL restarts.

`python -m tests.faults.delivery_check --events 10000` prints how many were lost and repeated.
"""

import argparse
import json
import random
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import requests

from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedValkey
from origin.webhooks.rules.signatures import SIGNATURE_HEADER, hub_signature
from tests.support.live_system import LiveSystem, hour, new_gsrn, running_system
from tests.support.waiting import eventually
from tests.support.webhook_receivers import SECRET, Receiver

_WEBHOOK_SECRET = "sandbox-webhook-secret"
_POSTERS = 6
_SLOW_S = 0.05
_NEVER_S = 3600.0
# Receivers of successive events: the healthy ones get the most.
_SHARES = (
    "healthy", "healthy too", "healthy", "healthy too", "slow", "slow too", "failing", "silent",
)  # fmt: skip


@dataclass
class Subscriber:
    """A user with its own receiver, and the addresses of the GGOs issued to the user."""

    subject: str
    gsrn: str
    receiver: Receiver
    issued: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The results by receiver, and the number of wrong signatures."""

    issued: dict[str, int]
    lost: dict[str, int]
    duplicates: dict[str, int]
    unsigned: int


def post(system: LiveSystem, path: str, body: dict[str, Any]) -> None:
    """Post a webhook as DataHub does: repeat it until it is accepted."""
    data = json.dumps(body).encode()
    headers = {SIGNATURE_HEADER: hub_signature(_WEBHOOK_SECRET, data)}

    def is_accepted() -> bool:
        try:
            answer = requests.post(f"{system.stack.url}{path}", data, headers=headers, timeout=30)
        except requests.RequestException:
            return False
        if answer.status_code == 200:
            assert answer.json() == {"success": True}, answer.text
        return answer.status_code == 200

    eventually(is_accepted, f"{path} is accepted", within=120)


def subscriber(system: LiveSystem, name: str, receiver: Receiver) -> Subscriber:
    """Log in a new user, and subscribe this receiver to the user's GGOs."""
    subject, api = system.log_in(name)
    gsrn = new_gsrn()
    point = {"gsrn": gsrn, "type": "production", "sector": "DK1"}
    post(system, "/webhook/on-meteringpoint-available", {"sub": subject, "meteringpoint": point})
    body = {"url": receiver.url, "secret": SECRET}
    api.call("/webhook/on-ggo-received/subscribe", body)
    return Subscriber(subject, gsrn, receiver)


def issue(system: LiveSystem, to: Subscriber, number: int) -> None:
    """Send the service a webhook about an issued GGO."""
    address = "849c0b" + secrets.token_hex(32)
    ggo = {
        "address": address,
        "gsrn": to.gsrn,
        "begin": hour(number).isoformat(),
        "end": hour(number + 1).isoformat(),
        "sector": "DK1",
        "amount": 100,
        "issueTime": hour(number).isoformat(),
        "expireTime": "2037-01-01T00:00:00Z",
        "technologyCode": "T020001",
        "fuelCode": "F01050100",
    }
    post(system, "/webhook/on-ggo-issued", {"sub": to.subject, "ggo": ggo})
    to.issued.append(address)


def inject_faults(
    system: LiveSystem, postgres: EmbeddedPostgres, valkey: EmbeddedValkey, over: Event
) -> int:
    """Inject one fault after another until `over` is set; return how many."""
    chance = random.Random(7)
    worker = system.services.worker

    def kill_worker() -> None:
        worker.kill()
        worker.launch()
        worker.wait_until_ready()

    def restart_postgres() -> None:
        postgres.kill()
        postgres.start()

    acts = [kill_worker, valkey.flush, restart_postgres, kill_worker, valkey.flush]
    count = 0
    while True:
        acts[count % len(acts)]()
        count += 1
        if over.wait(chance.uniform(0.5, 2)) and count >= len(acts):
            return count


def missing(each: Subscriber) -> set[str]:
    """Return the issued GGOs that the receiver has not got."""
    return set(each.issued) - set(each.receiver.addresses)


def prove(
    system: LiveSystem, postgres: EmbeddedPostgres, valkey: EmbeddedValkey, events: int
) -> Outcome:
    """Issue GGOs while faults happen. Healthy and slow receivers must get all of theirs.

    Then the failing and silent receivers are repaired, and must get all of theirs, too.
    """
    receivers = {
        "healthy": Receiver(),
        "healthy too": Receiver(),
        "slow": Receiver(delay_s=_SLOW_S),
        "slow too": Receiver(delay_s=_SLOW_S),
        "failing": Receiver(status=500),
        "silent": Receiver(delay_s=_NEVER_S, status=500),
    }
    with ExitStack() as stack:
        subscribers = {
            name: subscriber(system, name.replace(" ", "-"), stack.enter_context(receiver))
            for name, receiver in receivers.items()
        }
        _issue_amid(system, postgres, valkey, subscribers, events)
        for name in ("healthy", "healthy too", "slow", "slow too"):
            each = subscribers[name]
            eventually(
                lambda each=each: not missing(each), f"{name} has all of its GGOs", within=300
            )
        for name in ("failing", "silent"):
            receivers[name].repair()
        for name in ("failing", "silent"):
            each = subscribers[name]
            eventually(
                lambda each=each: not missing(each), f"{name} got all in the end", within=300
            )
        return Outcome(
            issued={name: len(each.issued) for name, each in subscribers.items()},
            lost={name: len(missing(each)) for name, each in subscribers.items()},
            duplicates={name: each.duplicates for name, each in receivers.items()},
            unsigned=sum(each.unsigned for each in receivers.values()),
        )


def _issue_amid(
    system: LiveSystem,
    postgres: EmbeddedPostgres,
    valkey: EmbeddedValkey,
    subscribers: dict[str, Subscriber],
    events: int,
) -> None:
    over = Event()
    with ThreadPoolExecutor(_POSTERS + 1) as pool:
        faults = pool.submit(inject_faults, system, postgres, valkey, over)
        try:
            issued = [
                pool.submit(issue, system, subscribers[name], number)
                for number, name in _names(events)
            ]
            for each in issued:
                each.result()
        finally:
            over.set()
        print(f"{faults.result()} faults")  # noqa: T201 - the program's output


def _names(events: int) -> Iterator[tuple[int, str]]:
    for number in range(events):
        yield number, _SHARES[number % len(_SHARES)]


def main(arguments: Sequence[str]) -> int:
    """Run the check on its own servers; return the exit status, 0 only if nothing was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.delivery_check", description=__doc__
    )
    parser.add_argument("--events", type=int, default=10_000)
    events = parser.parse_args(arguments).events
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres() as postgres,
        EmbeddedValkey() as valkey,
        running_system(postgres.create_database("faults"), valkey, Path(folder)) as system,
    ):
        outcome = prove(system, postgres, valkey, events)
    print(outcome)  # noqa: T201 - the program's output
    return 1 if any(outcome.lost.values()) or outcome.unsigned else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
