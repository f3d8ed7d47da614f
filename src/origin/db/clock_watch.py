"""Sets `origin.shared.clock` by PostgreSQL's clock every minute, and reports this machine's skew."""

import logging
import threading
import time
from operator import itemgetter

from origin.db.engine import Database
from origin.db.sqlstates import Fault, fault_in
from origin.shared import clock
from origin.telemetry.metrics import CLOCK_SKEW

_EVERY_S = 60.0
WARN_FROM_S = 2.0
"""Seconds of skew that certificates, tokens and signatures of peers tolerate."""
_MOST_DOUBT_S = 1.0
"""Seconds. A slower answer is asked for again: the process may have been stopped meanwhile."""

log = logging.getLogger(__name__)


def watch_clock(database: Database) -> None:
    """Set the clock now and every minute, in a thread, until the process ends."""

    def watch() -> None:
        while True:
            try:
                sync_clock(database)
            except Exception as error:
                # Transient errors of the database are logged elsewhere.
                if fault_in(error) is Fault.BUG:
                    log.exception("The clock can't be compared")
            time.sleep(_EVERY_S)

    threading.Thread(target=watch, daemon=True, name="clock").start()


def sync_clock(database: Database) -> float:
    """Set `origin.shared.clock`, and return by how many seconds this machine's clock is ahead.

    :raises SQLAlchemyError: the database is unavailable.
    """
    server_time, reading, doubt_s = database.server_time()
    if doubt_s > _MOST_DOUBT_S:
        # Of two answers, the more precise one counts.
        server_time, reading, doubt_s = min(
            (server_time, reading, doubt_s), database.server_time(), key=itemgetter(2)
        )
    clock.set_server_time(server_time, reading)
    here = time.time() - (time.monotonic() - reading)
    skew_s = here - server_time.timestamp()
    CLOCK_SKEW.set(skew_s)
    if abs(skew_s) - doubt_s > WARN_FROM_S:
        log.warning(
            "This machine's clock is %.1f s %s PostgreSQL's",
            abs(skew_s),
            "ahead of" if skew_s > 0 else "behind",
            extra={"event": "clock.skew", "skew_s": round(skew_s, 3)},
        )
    return skew_s
