"""Sets `origin.shared.clock` by PostgreSQL's clock every minute, and reports this machine's skew."""

import logging
import threading
import time
from datetime import datetime
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
    server_time, monotonic, error_s = _precise_time(database)
    clock.set_server_time(server_time, monotonic)
    skew_s = _skew(server_time, monotonic)
    CLOCK_SKEW.set(skew_s)
    if abs(skew_s) - error_s > WARN_FROM_S:
        log.warning(
            "This machine's clock is %.1f s %s PostgreSQL's",
            abs(skew_s),
            "ahead of" if skew_s > 0 else "behind",
            extra={"event": "clock.skew", "skew_s": round(skew_s, 3)},
        )
    return skew_s


def measure_skew(database: Database) -> tuple[float, float]:
    """Return by how many seconds this machine's clock is ahead, and the largest error of that.

    :raises SQLAlchemyError: the database is unavailable.
    """
    server_time, monotonic, error_s = _precise_time(database)
    return _skew(server_time, monotonic), error_s


def _precise_time(database: Database) -> tuple[datetime, float, float]:
    """Return `Database.server_time`; of two answers the more precise one, if the first is not precise."""
    first = database.server_time()
    if first[2] <= _MAX_ERROR_S:
        return first
    return min(first, database.server_time(), key=itemgetter(2))


def _skew(server_time: datetime, monotonic: float) -> float:
    machine_time = time.time() - (time.monotonic() - monotonic)
    return machine_time - server_time.timestamp()
