"""Deployments: shutdown while servers are down or hang, and two processes of a kind."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from devstack.processes import ROOT, SupervisedProcess, says
from devstack.valkey import EmbeddedValkey
from tests.support.live_system import LiveSystem


@contextmanager
def redis_is_gone(_system: LiveSystem, valkey: EmbeddedValkey) -> Iterator[None]:
    """Redis is down."""
    valkey.stop()
    try:
        yield
    finally:
        valkey.start()


@contextmanager
def redis_hangs(_system: LiveSystem, valkey: EmbeddedValkey) -> Iterator[None]:
    """Redis accepts connections, but answers nothing."""
    pid = valkey._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def ledger_hangs(system: LiveSystem, _valkey: EmbeddedValkey) -> Iterator[None]:
    """A POST is under way for longer than a worker's shutdown may take."""
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 100)
    system.sandbox.ledger.fault("/batches", times=None, delay_after=60)
    assert anna.compose(address, transfers=[(40, bo)]).status_code == 200
    system.wait_for_fault(system.sandbox.ledger)
    yield


@contextmanager
def ledger_and_database_hang(system: LiveSystem, valkey: EmbeddedValkey) -> Iterator[None]:
    """The worker can't hand its claims back either."""
    with (
        ledger_hangs(system, valkey),
        closing(psycopg2.connect(system.database_uri)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize(
    "state", [redis_is_gone, redis_hangs, ledger_hangs, ledger_and_database_hang]
)
def test_a_worker_ends_within_ten_seconds_when(
    system: LiveSystem, own_valkey: EmbeddedValkey, state: Callable[..., object]
):
    """Its claims are due at once, and the next worker settles them."""
    worker = system.services.worker
    with state(system, own_valkey):  # type: ignore[attr-defined] # each is a context manager
        assert worker.terminate(timeout=10.5) == 0
        held = "SELECT id FROM batches WHERE next_attempt_at > now()"
        if state is ledger_hangs:
            assert not system.rows(held)
    system.clear_faults()
    worker.start()
    system.settle_and_audit()


@pytest.mark.parametrize("state", [redis_is_gone, redis_hangs])
def test_beat_ends_within_ten_seconds_when(
    system: LiveSystem, own_valkey: EmbeddedValkey, state: Callable[..., object]
):
    """Beat also stops while it is sending a wake-up, within the ten seconds that are promised."""
    beat = system.services.beat
    with state(system, own_valkey):  # type: ignore[attr-defined] # each is a context manager
        assert beat.terminate(timeout=10.5) == 0
    beat.start()


def test_two_beats_and_two_workers_do_no_harm(system: LiveSystem, tmp_path: Path):
    """As in a rolling update: both sweep and both work, but each batch is signed once.

    Each is posted once as well, unless its worker took longer than the lease of two seconds.
    """
    anna, bo = system.households("anna", "bo")
    env = {**system.stack.environment, "METRICS_PORT": "0"}
    with ExitStack() as stack:
        for name, ready in (("worker", r"worker-\d+@\S+ ready"), ("beat", r"beat: Starting")):
            process = SupervisedProcess(
                f"another-{name}",
                [ROOT / f"entrypoint.{name}.sh"],
                env=env,
                logs=tmp_path,
                ready=says(ready),
            )
            stack.enter_context(process)
        ids = {batch["id"] for batch in system.sandbox.ledger.batches()}
        for number in range(10):
            address = system.issue(anna, number, 100)
            assert anna.compose(address, transfers=[(30, bo)]).status_code == 200
        system.settle_and_audit()
    new = [batch for batch in system.sandbox.ledger.batches() if batch["id"] not in ids]
    assert len(new) == 10
    assert {batch["status"] for batch in new} == {"COMMITTED"}
    assert sum(batch["posts"] == 1 for batch in new) > 5
