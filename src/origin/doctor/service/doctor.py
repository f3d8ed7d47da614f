"""Runs checks at the same time, each within a time limit."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from origin.doctor.rules import Check, Finding, fail

TIME_LIMIT_S = 15.0
"""Seconds for all checks together: they run at the same time."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doctor:
    """Checks everything that the service needs."""

    checks: Sequence[Check]
    time_limit_s: float = TIME_LIMIT_S

    def examine(self) -> Iterator[Finding]:
        """Run all checks, and yield their findings in the order of the checks.

        No check depends on the success of another. A check that hangs, or raises, is a failure.
        """
        deadline = time.monotonic() + self.time_limit_s
        running = [(check, _start(check)) for check in self.checks]
        for check, outcome in running:
            try:
                yield from outcome.result(max(deadline - time.monotonic(), 0))
            except TimeoutError:
                yield fail(check.name, f"There is no result after {self.time_limit_s:.0f} s.")
            except Exception as error:
                log.exception("A check can't be made", extra={"event": "doctor.failed"})
                yield fail(check.name, f"It can't be checked ({type(error).__name__}).")


def _start(check: Check) -> "Future[list[Finding]]":
    outcome: Future[list[Finding]] = Future()

    def run() -> None:
        try:
            outcome.set_result(list(check.run()))
        except Exception as error:  # noqa: BLE001 - raised again by `result`
            outcome.set_exception(error)

    # A call that hangs can't be cancelled: its thread doesn't keep the process.
    threading.Thread(target=run, daemon=True, name=check.name).start()
    return outcome
