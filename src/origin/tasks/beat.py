"""Beat: sweeps what may be due, every SWEEP_INTERVAL, from its start on.

It knows no schedule: what is due, the workers find in the database. So neither its clock nor its
restarts matter, nor a second Beat.
"""

from typing import Any

from celery import Celery
from celery.beat import Scheduler

from origin.tasks.celery import SWEPT
from origin.tasks.sending import WakeupSender


def sweep_by(app: Celery, wakeups: WakeupSender, interval_s: float) -> None:
    """Have this app's Beat sweep so often."""

    class Sweeper(Scheduler):
        """Wakes the workers for all kinds of work; Celery calls `tick`, and waits as long as it says."""

        def setup_schedule(self) -> None:
            """There is none to be set up."""

        def tick(self, *_: Any, **__: Any) -> float:
            """Sweep once; the seconds until the next time."""
            for task in SWEPT:
                wakeups.send(task)
            return interval_s

    app.conf.beat_scheduler = Sweeper
