"""How a worker ends: its work handed back, and itself gone, within ten seconds in every state.

Celery waits for what has begun, and where Redis or a peer hangs it may wait for long. Here the wait
has an end: what is still held by then is due again at once, and the process exits.
"""

import logging
import os
import threading
from typing import Any

from celery import signals

from origin.runtime import Runtime
from origin.services.deadlines import end_soon
from origin.services.settlement import give_back_all

_GRACE_S = 7.5
"""For what has begun. Long enough for a call of a peer that answers at all."""
_AT_MOST_S = 9.5
"""Whatever hangs by then, also the database, is left behind: leases run out by themselves."""

log = logging.getLogger(__name__)


def end_in_time(runtime: Runtime) -> None:
    """Have this worker end in time when it is asked to."""

    def hand_back() -> None:
        log.warning("Ending now, and handing back what is held", extra={"event": "worker.ends"})
        try:
            give_back_all(runtime)
        finally:
            os._exit(0)

    def asked_to_end(**_: Any) -> None:
        end_soon()
        for seconds, act in ((_GRACE_S, hand_back), (_AT_MOST_S, lambda: os._exit(0))):
            timer = threading.Timer(seconds, act)
            timer.daemon = True
            timer.start()

    signals.worker_shutting_down.connect(asked_to_end, weak=False)
