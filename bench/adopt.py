"""Measures `flask adopt` on a generated original database: seconds, and the peak memory of the command.

`make adopt-bench ARGS=100000`: how many GGOs (default: a million). The servers are embedded.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devstack.configured import postgres_server
from origin.migrate import upgrade
from tests.support.original_database import OriginalDatabase
from tests.support.world import Peer, World

_CHUNK = 50_000
"""GGOs that the generator holds in memory at a time."""
_IDS_PER_CHUNK = 1_000_000


def generate(uri: str, ggos: int) -> None:
    """Write an original database of about this many GGOs, in chunks with users of their own."""
    for chunk in range(0, ggos, _CHUNK):
        original = OriginalDatabase(chunk, first_id=1 + chunk // _CHUNK * _IDS_PER_CHUNK)
        original.trade(min(_CHUNK, ggos - chunk), users=50)
        original.write(uri)
        print(f"Generated {min(chunk + _CHUNK, ggos)} GGOs", file=sys.stderr)


def peak_memory_mb(pid: int) -> float:
    """Return the most resident memory that a process ever had, in MB; 0: it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(server: object) -> float:
    """Return the CPU seconds of an embedded server and of its sessions that have ended; else 0."""
    pid = getattr(server, "pid", None)
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Generate, adopt, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ggos", nargs="?", type=int, default=1_000_000)
    ggos = parser.parse_args().ggos
    with postgres_server(fsync=False) as server, tempfile.TemporaryDirectory() as folder:
        source, target = server.create_database("original"), server.create_database("target")
        generate(source, ggos)
        upgrade(target)
        nobody = Peer("http://127.0.0.1:9")
        world = World(target, nobody, nobody)
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()", "adopt"]
        begun, cpu_before = time.monotonic(), cpu_seconds(server)
        running = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--json", str(report)],
            env={**os.environ, **world.environment(), "ADOPT_FROM": source},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stderr is not None
        peak_mb = 0.0
        for line in running.stderr:
            print(f"{time.monotonic() - begun:6.1f} s  {line}", end="", file=sys.stderr, flush=True)
            peak_mb = peak_memory_mb(running.pid) or peak_mb
        assert running.wait() == 0, running.returncode
        seconds = time.monotonic() - begun
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{ggos} GGOs: {seconds:.0f} s; CPU {own.ru_utime + own.ru_stime:.0f} s in the command, "
            f"{cpu_seconds(server) - cpu_before:.0f} s in PostgreSQL; "
            f"at most {peak_mb:.0f} MB of memory in the command"
        )


if __name__ == "__main__":
    main()
