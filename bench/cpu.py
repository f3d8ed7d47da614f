"""CPU time and memory of processes, from Linux's /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """Return the ids of a process and all its running descendants."""
    found = [pid]
    for each in found:
        for task in _tasks(each):
            found.extend(map(int, task.split()))
    return found


def _tasks(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/task")
    try:
        return [(task / "children").read_text() for task in folder.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, including reaped ones."""
    return sum(map(_own_seconds, family(pid)))


def _own_seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # After the name, which may contain anything: utime, stime, cutime, cstime.
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
