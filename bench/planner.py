"""Plans queued bulk orders as a worker does: `python -m bench.planner`.

Each line of its input starts a run; after it, it prints how many orders it worked on and the seconds.
"""

import sys
import time

from origin.runtime import build_runtime
from origin.settings import Settings, load_settings
from origin.tasks.sending import WakeupSender
from origin.tasks.wakeups import CeleryWakeups

READY = "ready"


def main() -> None:
    """Run until the input ends."""
    settings = load_settings(Settings)
    runtime = build_runtime(settings, CeleryWakeups(WakeupSender(settings)))
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        begun = time.perf_counter()
        count = runtime.bulk_queue.run_due()
        sys.stdout.write(f"{count} {time.perf_counter() - begun}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
