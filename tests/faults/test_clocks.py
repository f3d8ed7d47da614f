"""Machines with wrong clocks: due work is still done, and operators are warned."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from devstack.ports import free_port
from devstack.processes import ROOT, SupervisedProcess
from tests.support.live_system import LiveSystem
from tests.support.scraping import Scrape
from tests.support.waiting import eventually


@contextmanager
def _skewed(seconds: float, *processes: SupervisedProcess) -> Iterator[None]:
    """Restart these processes with shifted clocks, and restore them in the end."""
    before = [dict(process.env) for process in processes]
    for process in processes:
        process.env |= {
            "CLOCK_SKEW_S": str(seconds),
            "PYTHONPATH": str(ROOT / "tests/support/shims"),
            "METRICS_PORT": str(free_port()),
        }
    try:
        for process in processes:
            process.restart()
        yield
    finally:
        for process, env in zip(processes, before, strict=True):
            process.env = env
            process.restart()


def _skew_s(process: SupervisedProcess) -> float:
    answer = requests.get(f"http://127.0.0.1:{process.env['METRICS_PORT']}/metrics", timeout=10)
    return Scrape(answer.text).value("clock_skew_seconds")


def _due_again(system: LiveSystem) -> bool:
    """Return whether the periodic work has run again."""
    return bool(
        system.rows(
            "SELECT 1 FROM schedules WHERE name = 'origin.reconciliation' "
            "AND last_run_at > now() - interval '10 minutes'"
        )
    )


@pytest.mark.parametrize(("worker_s", "beat_s"), [(90, 0), (0, -90), (-90, 90)])
def test_differing_clocks_delay_no_work(system: LiveSystem, worker_s: float, beat_s: float):
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 100)
    worker, beat = system.services.worker, system.services.beat
    with _skewed(worker_s, worker), _skewed(beat_s, beat):
        eventually(lambda: system.rows("SELECT 1 FROM schedules"), "schedules are known")
        system.rows(
            "UPDATE schedules SET last_run_at = now() - interval '2 hours', claimed_at = NULL"
        )
        assert anna.compose(address, transfers=[(30, bo)]).status_code == 200
        system.settle_and_audit()
        eventually(lambda: _due_again(system), "the periodic work has run")
        for process, seconds in ((worker, worker_s), (beat, beat_s)):
            assert abs(eventually(lambda p=process: _skew_s(p) or 1e-9, "skew") - seconds) < 5
            word = "ahead of" if seconds > 0 else "behind"
            assert (f"s {word} PostgreSQL's" in process.output()) is bool(seconds)
    assert [ggo["amount"] for ggo in bo.stored()] == [30]
