"""Readiness probes of the database and of Redis."""

import logging
import threading
import time
from concurrent.futures import Future

from origin.db.engine import Database
from origin.redis_servers import failure_reason, redis_client
from origin.settings import Settings

PROBE_TIMEOUT_S = 2.0
"""A probe has a result after about this time, even if a part hangs."""
_KEY = "account-service:probe"

log = logging.getLogger(__name__)


class Probes:
    """Probes each part in a thread of its own. Requests share the running probe of a part that hangs."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._settings = settings
        self._probes = {"database": database.probe, "redis": self._probe_redis}
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def are_up(self) -> dict[str, bool]:
        """Return whether each part can be used, by its name: `database` and `redis`."""
        deadline = time.monotonic() + PROBE_TIMEOUT_S
        running = {name: self._start(name) for name in self._probes}
        return {name: _is_up(name, probe, deadline) for name, probe in running.items()}

    def _start(self, name: str) -> Future[None]:
        """Return the part's running probe, or a new one."""
        with self._lock:
            if name not in self._running or self._running[name].done():
                self._running[name] = probe = Future[None]()
                threading.Thread(target=self._run, args=(name, probe), daemon=True).start()
            return self._running[name]

    def _run(self, name: str, probe: Future[None]) -> None:
        try:
            self._probes[name]()
        except Exception as error:  # noqa: BLE001 - any failure means that the part is down
            probe.set_exception(error)
        else:
            probe.set_result(None)

    def _probe_redis(self) -> None:
        with (
            redis_client(self._settings, self._settings.redis_broker_db, PROBE_TIMEOUT_S) as client,
            client.pipeline() as pipeline,
        ):
            # Write as wake-ups do: a PING succeeds also at a replica or a server without free memory.
            pipeline.lpush(_KEY, 1)
            pipeline.pexpire(_KEY, int(PROBE_TIMEOUT_S * 1000))
            pipeline.rpop(_KEY)
            pipeline.execute()


def _is_up(name: str, probe: Future[None], deadline: float) -> bool:
    error: BaseException | None
    try:
        error = probe.exception(max(deadline - time.monotonic(), 0))
    except TimeoutError as hanging:
        error = hanging
    if error is not None:
        log.warning("Down: %s (%s)", name, failure_reason(error))
    return error is None
