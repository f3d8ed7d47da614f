"""Shut worker and Beat down within ten seconds.

Celery waits for tasks that have begun. If Redis or a peer hangs, that may take long. This module
limits the wait: it then gives claimed batches back, so that they are due at once, and exits.
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
"""Time for running tasks: long enough for a call of a peer that answers at all."""
_MAX_SHUTDOWN_S = 9.5
"""The process exits then even if the database hangs; leases end by themselves."""
_MAX_BEAT_SHUTDOWN_S = 2.0
"""Beat holds no claims."""

log = logging.getLogger(__name__)


def limit_shutdown(app: Celery, batches: BatchRunner) -> None:
    """Make this worker or Beat exit in time when it is asked to end."""

    def hand_back() -> None:
        log.warning("Ending now and handing back all claims", extra={"event": "worker.ends"})
        try:
            batches.give_back_all()
        finally:
            os._exit(0)

    def begin_shutdown(**_: Any) -> None:
        # gevent's loop calls this. Nothing here may block it, not even the start of a thread.
        _exit_after(_MAX_SHUTDOWN_S)
        request_shutdown()
        gevent.spawn_later(_GRACE_S, hand_back)

    signals.worker_shutting_down.connect(begin_shutdown, weak=False)
    app.Beat = app.subclass_with_self(_Beat)


class _Beat(Beat):
    """Celery's Beat with a signal handler that ends it reliably.

    Celery's handler closes the scheduler, perhaps before it is complete, and raises SystemExit in the
    code that runs at that moment. There another error may replace it: redis-py's connection complains
    that it is closed, Beat takes that for a task that could not be sent, and goes on.
    """

    def install_sync_handler(self, service: Service) -> None:  # noqa: ARG002 - Celery's own needs it
        """Let SIGTERM and SIGINT end Beat at once."""

        def begin_shutdown(*_: object) -> None:
            _exit_after(_MAX_BEAT_SHUTDOWN_S)
            raise SystemExit

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, begin_shutdown)


def _exit_after(seconds: float) -> None:
    """Exit the process after this time, from a system thread that no greenlet can block."""
    start = monkey.get_original("_thread", "start_new_thread")
    sleep = monkey.get_original("time", "sleep")

    def leave() -> None:
        sleep(seconds)
        os._exit(0)

    start(leave, ())
