"""Sets `origin.shared.clock` by PostgreSQL's clock every minute, and reports this machine's skew."""

import logging
import threading
import time
from operator import itemgetter

from origin.db.engine import Database
from origin.db.sqlstates import Fault, fault_in
from origin.shared import clock
from origin.telemetry.metrics import CLOCK_SKEW

_INTERVAL_S = 60.0
WARN_FROM_S = 2.0
"""Seconds of skew that certificates, tokens and signatures of peers tolerate."""
_MAX_ERROR_S = 1.0
"""If the error may be larger, ask again: the process may have been stopped during the call."""

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
                    log.exception("The clock can't be compared with PostgreSQL's")
            time.sleep(_INTERVAL_S)

    threading.Thread(target=watch, daemon=True, name="clock").start()


def sync_clock(database: Database) -> float:
    """Set `origin.shared.clock`, and return by how many seconds this machine's clock is ahead.

    :raises SQLAlchemyError: the database is unavailable.
    """
    server_time, monotonic, error_s = database.server_time()
    if error_s > _MAX_ERROR_S:
        # Of two answers, the more precise one counts.
        server_time, monotonic, error_s = min(
            (server_time, monotonic, error_s), database.server_time(), key=itemgetter(2)
        )
    clock.set_server_time(server_time, monotonic)
    machine_time = time.time() - (time.monotonic() - monotonic)
    skew_s = machine_time - server_time.timestamp()
    CLOCK_SKEW.set(skew_s)
    if abs(skew_s) - error_s > WARN_FROM_S:
        log.warning(
            "This machine's clock is %.1f s %s PostgreSQL's",
            abs(skew_s),
            "ahead of" if skew_s > 0 else "behind",
            extra={"event": "clock.skew", "skew_s": round(skew_s, 3)},
        )
    return skew_s
