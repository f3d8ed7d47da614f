"""How worker and beat end: the work handed back, and themselves gone, within ten seconds in every state.

Celery waits for what has begun, and where Redis or a peer hangs it may wait for long. Here the wait
has an end: what is still held by then is due again at once, and the process exits.
"""

import logging
import os
import signal
from typing import Any

import gevent
from celery import Celery, signals
from celery.apps.beat import Beat
from celery.beat import Service
from gevent import monkey

from origin.batches.service.runner import BatchRunner
from origin.shared.deadlines import request_shutdown

_GRACE_S = 7.5
"""For what has begun. Long enough for a call of a peer that answers at all."""
_AT_MOST_S = 9.5
"""Whatever hangs by then, also the database, is left behind: leases run out by themselves."""
_BEAT_AT_MOST_S = 2.0
"""Beat holds nothing."""

log = logging.getLogger(__name__)


def end_in_time(app: Celery, batches: BatchRunner) -> None:
    """Have this worker or beat end in time when it is asked to."""

    def hand_back() -> None:
        log.warning("Ending now, and handing back what is held", extra={"event": "worker.ends"})
        try:
            batches.give_back_all()
        finally:
            os._exit(0)

    def asked_to_end(**_: Any) -> None:
        # gevent's loop calls this, where nothing may wait: not for a thread's start either.
        _exit_after(_AT_MOST_S)
        request_shutdown()
        gevent.spawn_later(_GRACE_S, hand_back)

    signals.worker_shutting_down.connect(asked_to_end, weak=False)
    app.Beat = app.subclass_with_self(_Beat)


class _Beat(Beat):
    """Celery's, but for how it ends.

    Celery's handler closes the scheduler, in the midst of making it perhaps, and raises SystemExit in
    whatever Beat is doing, where another error may replace it: redis-py's connection then complains of
    being closed, Beat calls that a task that couldn't be sent, and goes on.
    """

    def install_sync_handler(self, service: Service) -> None:  # noqa: ARG002 - Celery's own needs it
        """SIGTERM and SIGINT: end now."""

        def asked_to_end(*_: object) -> None:
            _exit_after(_BEAT_AT_MOST_S)
            raise SystemExit

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, asked_to_end)


def _exit_after(seconds: float) -> None:
    """However blocked everything else is, and without waiting: by a thread of the system's own."""
    start = monkey.get_original("_thread", "start_new_thread")
    sleep = monkey.get_original("time", "sleep")

    def leave() -> None:
        sleep(seconds)
        os._exit(0)

    start(leave, ())
