"""Beat: wakes the workers for everything that may be due, every SWEEP_INTERVAL, from its start on.

Beat has no schedule: workers find due work in the database. So Beat's clock and its restarts do not
matter, and a second Beat does no harm.
"""

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.beat import Scheduler

from origin.tasks.celery import SWEPT
from origin.tasks.sending import WakeupSender


def use_sweeper(
    app: Celery, wakeups: WakeupSender, interval_s: float, swept: Callable[[], object]
) -> None:
    """Make this app's Beat sweep at this interval.

    :param swept: Called after each sweep that has reached Redis.
    """

    class Sweeper(Scheduler):
        """Wakes the workers for all kinds of work; Celery calls `tick` and waits as it returns."""

        def setup_schedule(self) -> None:
            """Set up nothing: there is no schedule."""

        def tick(self, *_: Any, **__: Any) -> float:
            """Sweep once; return the seconds until the next sweep."""
            sent = [wakeups.send(task) for task in SWEPT]
            if all(sent):
                swept()
            return interval_s

    app.conf.beat_scheduler = Sweeper
