"""The metrics for Prometheus, and the response to a scrape.

To add a metric, define it here and call `.labels(...).inc()` where the event happens. Gauges that are
queried from the database at each scrape stand in `origin.monitoring.service.database_gauges`.

Each counter with a label is exported with 0 for each value of the label from the start of the process.
Otherwise its first event would create the series with the value 1, and Prometheus' `increase` of it
would be 0. Values that only other modules know are named there (`start_at_zero`).

Under gunicorn the processes of one web share their counts in files in PROMETHEUS_MULTIPROC_DIR
(`origin.web.gunicorn.conf` makes it), and each process answers a scrape for all of them. Worker and beat are one process
each. Labels have few values, which callers can't choose: no paths, subjects or ids.
"""

import os
import platform
import weakref
from collections.abc import Iterable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import event
from sqlalchemy.engine import Engine

from origin.shared.release import VERSION, revision
from origin.telemetry.web_processes import WebProcessCollector

NAMESPACE = "account_service"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

REGISTRY = CollectorRegistry()
"""This process's metrics."""

ProcessCollector(registry=REGISTRY)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _counter(name: str, text: str, label: str | None = None, values: Iterable[str] = ()) -> Counter:
    """Return a counter that starts at 0 for each of its label's values."""
    labels = [] if label is None else [label]
    counter = Counter(name, text, labels, namespace=NAMESPACE, registry=REGISTRY)
    start_at_zero(counter, values)
    return counter


def start_at_zero(metric: Counter | Histogram, values: Iterable[str | tuple[str, ...]]) -> None:
    """Export the metric with 0 for these values of its labels, unless it counts them already.

    :param values: Values of its label; tuples if it has several labels.
    """
    for each in values:
        metric.labels(*([each] if isinstance(each, str) else each))


def _histogram(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(name, text, labels, namespace=NAMESPACE, registry=REGISTRY, buckets=_SECONDS)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    """Return a gauge whose value is the sum over the live processes of a web."""
    return Gauge(
        name, text, labels, namespace=NAMESPACE, registry=REGISTRY, multiprocess_mode="livesum"
    )


def _switch(name: str, text: str) -> Gauge:
    """Return a gauge for a setting or a state, which is the same in all processes of a web."""
    return Gauge(name, text, namespace=NAMESPACE, registry=REGISTRY, multiprocess_mode="livemax")


REQUEST_SECONDS = _histogram(
    "request_seconds", "Requests answered, by the route's pattern", "endpoint", "status"
)
REQUESTS_RUNNING = _gauge("requests_running", "Requests being answered now")
PEER_CALL_SECONDS = _histogram(
    "peer_call_seconds", "Calls to peers; status is HTTP's, or `none` without an answer",
    "peer", "status",
)  # fmt: skip
TASK_SECONDS = _histogram("task_seconds", "Tasks that a worker has ended", "task", "state")
TASK_WAIT_SECONDS = _histogram(
    "task_wait_seconds", "Time from a wake-up's sending to its start at a worker", "task"
)
TASKS_SENT = _counter("tasks_sent", "Wake-ups sent to the workers", "task")
POOL_CONNECTIONS = _gauge("pool_connections", "Database connections that are open")
POOL_CONNECTIONS_USED = _gauge(
    "pool_connections_used", "Database connections in use, as of a second ago at most"
)
POOL_TIMEOUTS = _counter("pool_timeouts", "Requests for which no database connection became free")
CLOCK_SKEW = Gauge(
    "clock_skew_seconds",
    "By how many seconds this machine's clock is ahead of PostgreSQL's",
    namespace=NAMESPACE,
    registry=REGISTRY,
    # All processes of one web run on the same machine.
    multiprocess_mode="livemostrecent",
)
RATE_LIMITED = _counter("rate_limited", "Requests beyond RATE_LIMIT_PER_MINUTE (429)")
RATE_LIMIT_FAILURES = _counter("rate_limit_failures", "Failures of Redis to count requests")
BATCHES_ENDED = _counter(
    "batches_ended", "Batches that ended, by state", "state", ("COMPLETED", "DECLINED")
)
BATCH_ALERTS = _counter(
    "batch_alerts",
    "Batches about which an operator must be told",
    "reason",
    (
        "stuck", "refused", "odd_statuses", "needs_a_look", "source_not_on_ledger",
        "spent_elsewhere", "cannot_sign", "cannot_judge", "cannot_end",
    ),
)  # fmt: skip
LEDGER_ENABLED = _switch(
    "ledger_enabled", "1: operations go to the ledger; 0: it is switched off (LEDGER_ENABLED=0)"
)
RECOVERY_MODE = _switch(
    "recovery_mode",
    "1: composes and workers rest while the database is recovered (RECOVERY_MODE=1)",
)
RECONCILE_INTERVAL = _switch(
    "reconcile_interval_seconds", "How often reconciliation continues (RECONCILE_INTERVAL)"
)
LEDGER_ERRORS = _counter(
    "ledger_errors", "Errors that the ledger answered, by Sawtooth's code", "code"
)
KEY_MISMATCHES = _counter(
    "key_mismatches", "GGOs issued to an address that the owner's keys don't give"
)
WEBHOOKS = _counter(
    "webhooks",
    "Attempts to deliver webhooks: delivered, retry, given_up (after a day) or gone (410)",
    "outcome",
    ("delivered", "retry", "given_up", "gone"),
)
TOKEN_REFRESHES = _counter(
    "token_refreshes",
    "Refreshes of users' tokens at Hydra",
    "outcome",
    ("refreshed", "refused", "failed"),
)
SPANS_DROPPED = _counter("spans_dropped", "Spans that did not reach the OTLP collector")


def exposition(*more: Collector) -> bytes:
    """Return this web's metrics and those given, in Prometheus' format (`CONTENT_TYPE`)."""
    if os.environ.get(MULTIPROCESS_VARIABLE):
        report_pools()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it has no types
        registry.register(BUILD_INFO)
        registry.register(WebProcessCollector())
    else:
        registry = REGISTRY
    return b"".join(map(generate_latest, (registry, *map(_registry_of, more))))


def _registry_of(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


class StaticCollector(Collector):
    """A collector of given metrics."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._families


BUILD_INFO = StaticCollector(
    [
        InfoMetricFamily(
            f"{NAMESPACE}_build",
            "1; the labels tell the service's version, its git revision, and Python's version",
            value={
                "version": VERSION,
                "revision": revision() or "",
                "python": platform.python_version(),
            },
        )
    ]
)
"""`account_service_build_info`. The library's own `Info` fails where several processes share metrics."""

REGISTRY.register(BUILD_INFO)


def watch_pool(engine: Engine) -> None:
    """Count the engine's open connections, and report those in use (see `report_pools`)."""

    def listen(name: str, step: int) -> None:
        def counted(*_: Any) -> None:
            POOL_CONNECTIONS.inc(step)

        event.listen(engine, name, counted)

    listen("connect", 1)
    listen("close", -1)
    listen("close_detached", -1)
    _pools.append(weakref.ref(engine))
    if not os.environ.get(MULTIPROCESS_VARIABLE):
        # A single process determines it at each scrape.
        POOL_CONNECTIONS_USED.set_function(_connections_used)


_pools: list[weakref.ref[Engine]] = []


def _connections_used() -> int:
    engines = [engine for each in _pools if (engine := each()) is not None]
    return sum(engine.pool.checkedout() for engine in engines)  # type: ignore[attr-defined] # of a QueuePool


def report_pools() -> None:
    """Update the gauge of connections in use, for the web's other processes; called once a second.

    Counting each checkout and checkin would add a tenth to the time of a short query.
    """
    POOL_CONNECTIONS_USED.set(_connections_used())


def serve(host: str, port: int) -> int:
    """Serve this process's metrics in a thread, and return the port.

    :param port: 0 for any free port.
    :raises OSError: the port is in use.
    """
    server, _ = start_http_server(port, host, REGISTRY)
    return int(server.server_port)
