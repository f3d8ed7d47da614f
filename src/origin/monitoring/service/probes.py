"""Probes of the database and of Redis, and the count of the processes that work."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, cast

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from origin.db import process_secrets
from origin.db.engine import Database
from origin.monitoring import queries
from origin.redis_servers import failure_reason, probe_writes, redis_client
from origin.settings import Settings
from origin.telemetry.metrics import NAMESPACE

PROBE_TIMEOUT_S = 2.0
"""A probe has a result after about this time, even if a part hangs."""

log = logging.getLogger(__name__)


class Probes:
    """Probes each part in a thread of its own. If a part hangs, requests share its running probe."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._settings = settings
        self._database = database
        self._probes: dict[str, Callable[[], object]] = {
            "database": database.probe,
            "redis": self._probe_redis,
            "processes": self._count_working,
        }
        self._running: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def are_up(self) -> dict[str, bool]:
        """Return whether each part can be used, by its name: `database` and `redis`."""
        deadline = time.monotonic() + PROBE_TIMEOUT_S
        running = {name: self._start(name) for name in ("database", "redis")}
        return {name: _is_up(name, probe, deadline) for name, probe in running.items()}

    def redis_gauge(self) -> Metric:
        """Return the gauge `redis_up`: whether this web can write to Redis."""
        up = _is_up("redis", self._start("redis"), time.monotonic() + PROBE_TIMEOUT_S)
        text = "Whether this web can write to Redis"
        return GaugeMetricFamily(f"{NAMESPACE}_redis_up", text, value=float(up))

    def working(self) -> Mapping[str, int] | None:
        """Return how many processes of each kind work (`process_secrets.count_working`).

        None: the database can't be read.
        """
        probe = self._start("processes")
        if not _is_up("processes", probe, time.monotonic() + PROBE_TIMEOUT_S):
            return None
        return cast("Mapping[str, int]", probe.result())

    def _start(self, name: str) -> Future[Any]:
        """Return the part's running probe, or a new one."""
        with self._lock:
            if name not in self._running or self._running[name].done():
                self._running[name] = probe = Future[Any]()
                threading.Thread(target=self._run, args=(name, probe), daemon=True).start()
            return self._running[name]

    def _run(self, name: str, probe: Future[Any]) -> None:
        try:
            result = self._probes[name]()
        except Exception as error:  # noqa: BLE001 - any failure means that the part is down
            probe.set_exception(error)
        else:
            probe.set_result(result)

    def _count_working(self) -> Mapping[str, int]:
        # Not the pool: it may be busy.
        database = Database(self._database.engine.url, 1)
        try:
            with database.transaction() as session:
                queries.limit_statement_time(session)
                return process_secrets.count_working(session)
        finally:
            database.dispose()

    def _probe_redis(self) -> None:
        settings = self._settings
        with redis_client(settings, settings.redis_broker_db, PROBE_TIMEOUT_S) as client:
            probe_writes(client)


def _is_up(name: str, probe: Future[Any], deadline: float) -> bool:
    error: BaseException | None
    try:
        error = probe.exception(max(deadline - time.monotonic(), 0))
    except TimeoutError as hanging:
        error = hanging
    if error is not None:
        log.warning("Down: %s (%s)", name, failure_reason(error))
    return error is None
