"""Database gauges: metrics that are read from the database at a scrape.

To add one, write a query in `origin.monitoring.queries` and add it to `GAUGE_QUERIES`. Every web
reports the same values: dashboards take their `max`, never their `sum`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.monitoring import queries
from origin.telemetry.metrics import NAMESPACE

_FRESH_S = 5.0
"""For how long a process repeats its gauges. Scrapes need no token: anyone can send many."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GaugeQuery:
    """One query, and the gauges that it fills.

    :param gauges: The help text of each gauge, by its name without the namespace.
    :param rows: The query. Each row has the labels first, then a value for each gauge.
    """

    labels: tuple[str, ...]
    gauges: Mapping[str, str]
    rows: Callable[[Session], Iterable[Sequence[Any]]]


GAUGE_QUERIES = (
    GaugeQuery(
        labels=(),
        gauges={
            "webhooks_waiting": "Webhooks that wait to be delivered",
            "webhook_oldest_seconds": "Age of the oldest of them",
        },
        rows=queries.webhooks,
    ),
    GaugeQuery(
        labels=("host",),
        gauges={
            "webhook_subscriptions_failing": "Subscriptions whose last delivery failed; 20 hosts",
            "webhook_failures_in_a_row": "Failures since their last success, summed; 20 hosts",
        },
        rows=queries.failing_webhooks,
    ),
    GaugeQuery(
        labels=("kind",),
        gauges={"ledger_differences": "What reconciliation found to differ from the ledger"},
        rows=queries.ledger_differences,
    ),
    GaugeQuery(
        labels=(),
        gauges={"ledger_walk_age_seconds": "Since reconciliation last came to the end of a walk"},
        rows=queries.ledger_walks,
    ),
    GaugeQuery(
        labels=("state",),
        gauges={
            "batches": "Batches that have not ended",
            "batch_oldest_seconds": "Age of the oldest of them",
        },
        rows=queries.batches,
    ),
    GaugeQuery(
        labels=(),
        gauges={"batches_without_operation": "Batches that have no operation yet; at most 100000"},
        rows=queries.batches_without_operation,
    ),
    GaugeQuery(
        labels=("kind",),
        gauges={
            "datahub_jobs": "What DataHub must still be told or asked",
            "datahub_job_oldest_seconds": "Age of the oldest of it",
        },
        rows=queries.datahub_jobs,
    ),
    GaugeQuery(
        labels=("kind",),
        gauges={
            "kept_events": "Events kept until their user or metering point is known",
            "kept_event_oldest_seconds": "Age of the oldest of them",
        },
        rows=queries.kept_events,
    ),
    GaugeQuery(
        labels=(),
        gauges={
            "users": "Accounts that are not disabled",
            "users_disabled": "Accounts that are disabled",
            "users_to_log_in": "Active accounts whose refresh Hydra refused: they must log in",
            "tokens_expired": "Active accounts whose tokens expired without a refresh",
        },
        rows=queries.users,
    ),
    GaugeQuery(
        labels=(),
        gauges={"ledger_walk_running_seconds": "Age of the unfinished reconciliation run; 0: none"},
        rows=queries.running_reconciliation,
    ),
    GaugeQuery(
        labels=("task",),
        gauges={"periodic_run_age_seconds": "Since the last completed run of periodic work began"},
        rows=queries.periodic_work,
    ),
    GaugeQuery(
        labels=("queue",),
        gauges={"work_overdue_seconds": "For how long due work has waited to be taken up"},
        rows=queries.overdue_work,
    ),
    GaugeQuery(
        labels=(),
        gauges={
            "batches_declined_last_day": "Batches that were declined in the last 24 hours",
            "webhooks_given_up_last_day": "Deliveries that were given up in the last 24 hours",
            "key_mismatches_last_day": "GGOs of the last 24 hours that the owner's keys don't fit",
        },
        rows=queries.last_day,
    ),
    GaugeQuery(
        labels=("kind",),
        gauges={"processes": "Webs that run; workers and Beats that have worked lately"},
        rows=queries.working_processes,
    ),
    GaugeQuery(
        labels=("kind",),
        gauges={"process_clock_skew_seconds": "Largest clock skew of running processes, unsigned"},
        rows=queries.clock_skews,
    ),
    GaugeQuery(
        labels=(),
        gauges={"processes_lacking_a_secret": "Processes without a secret that another uses"},
        rows=queries.unknown_secrets,
    ),
)


class DatabaseGauges:
    """Reads the gauges on a connection of its own, so that it also works while the pool is exhausted."""

    def __init__(self, url: URL, gauge_queries: Sequence[GaugeQuery] = GAUGE_QUERIES) -> None:
        self._database = Database(url, 1)
        self._gauge_queries = gauge_queries
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._fresh_until = 0.0

    def families(self) -> list[Metric]:
        """Return the gauges, at most `_FRESH_S` old; only `database_up` if they cannot be read."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._families = self._read()
                self._fresh_until = time.monotonic() + _FRESH_S
            return self._families

    def _read(self) -> list[Metric]:
        try:
            with self._database.transaction() as session:
                queries.limit_statement_time(session)
                families = [
                    family for each in self._gauge_queries for family in _gauges(session, each)
                ]
        except SQLAlchemyError as error:
            log.warning("Cannot read the database gauges: %s", type(error).__name__)
            return [_database_up(up=False)]
        finally:
            self._database.dispose()
        return [_database_up(up=True), *families]


def _gauges(session: Session, query: GaugeQuery) -> list[Metric]:
    families = [
        GaugeMetricFamily(f"{NAMESPACE}_{name}", text, labels=query.labels)
        for name, text in query.gauges.items()
    ]
    count = len(query.labels)
    for row in query.rows(session):
        labels = [str(label) for label in row[:count]]
        for family, value in zip(families, row[count:], strict=True):
            family.add_metric(labels, float(value))
    return list(families)


def _database_up(*, up: bool) -> Metric:
    name = f"{NAMESPACE}_database_up"
    return GaugeMetricFamily(name, "Whether these gauges could be read", value=float(up))
