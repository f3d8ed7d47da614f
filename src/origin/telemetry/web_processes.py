"""Memory, CPU time and open files of a web: of gunicorn's master and all of its workers together.

The names are those that prometheus_client gives to worker and Beat, which are one process each. Its own
collector would show only the process that answers the scrape.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_PROC = Path("/proc")
_CUTIME, _CSTIME = 13, 14
"""Indexes of fields in /proc/PID/stat after the command: CPU time of children that ended, in clock ticks."""

# A web is as old as its oldest process, and the first process to reach its limit fails.
_TOGETHER: dict[str, Callable[[Iterable[float]], float]] = {
    "process_start_time_seconds": min,
    "process_max_fds": min,
}


class WebProcessCollector(Collector):
    """Collects the metrics of a process and its children, added up.

    :param master: Returns the id of the process; by default this process's parent.
    """

    def __init__(self, master: Callable[[], int] = os.getppid) -> None:
        self._master = master

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; without those that cannot be read."""
        master = self._master()
        families: dict[str, list[Metric]] = {}
        for pid in (master, *_children(master)):
            for family in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                families.setdefault(family.name, []).append(family)
        for name, [first, *others] in families.items():
            values = [sample.value for each in (first, *others) for sample in each.samples]
            total = _TOGETHER.get(name, sum)(values)
            if name == "process_cpu_seconds":
                # Otherwise the counter would fall when a worker ends, which looks like a restart.
                total += _cpu_seconds_of_ended_children(master)
            first.samples = [first.samples[0]._replace(value=total)]
            yield first


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in (_PROC / f"{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _cpu_seconds_of_ended_children(pid: int) -> float:
    try:
        fields = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[_CUTIME]) + int(fields[_CSTIME])) / os.sysconf("SC_CLK_TCK")
