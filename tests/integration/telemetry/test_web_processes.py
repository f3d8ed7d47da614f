"""The metrics of a web's processes; of a running web: tests/e2e/test_metrics.py."""

import subprocess
from pathlib import Path

from origin.telemetry.web_processes import WebProcessCollector
from tests.support.waiting import eventually

# A master whose only child works for a while and ends, and which then waits for its input to end.
_MASTER = "(for ((i = 0; i < 300000; i++)); do :; done); read"


def test_cpu_time_of_an_ended_worker_stays_counted():
    """Otherwise the counter would fall, and Prometheus would take that for a restart."""
    with subprocess.Popen(["bash", "-c", _MASTER], stdin=subprocess.PIPE) as master:
        values: list[float] = []

        def has_ended() -> bool:
            values.append(_values(master.pid)["process_cpu_seconds"])
            children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text()
            # Before the child begins, there is none either.
            return max(values) > 0.1 and not children

        eventually(has_ended, "the child has ended")
        last = _values(master.pid)
        master.communicate(b"")
    assert last["process_cpu_seconds"] >= max(values)
    assert last["process_resident_memory_bytes"] > 100_000
    assert last["process_open_fds"] >= 3


def test_a_master_that_is_gone_has_no_values():
    with subprocess.Popen(["true"]) as master:
        pass
    assert _values(master.pid) == {}


def _values(pid: int) -> dict[str, float]:
    families = WebProcessCollector(lambda: pid).collect()
    return {family.name: family.samples[0].value for family in families}
