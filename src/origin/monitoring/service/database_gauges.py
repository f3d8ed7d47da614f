"""Metrics that are read from the database when they are scraped.

To add one, write a function in `origin.monitoring.queries` and name it in `GAUGES`. Every web process
exports the same figures: dashboards must take their `max`, never their `sum`.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.monitoring import queries
from origin.telemetry.metrics import NAMESPACE

_FRESH_S = 5.0
"""How long values are reused. Scrapes need no token, so this bounds what they cost the database."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GaugeQuery:
    """One query and the gauges that it fills.

    :param gauges: Each gauge's description by its name, without the namespace.
    :param rows: Returns rows: first the labels, then a value for each gauge.
    """

    labels: tuple[str, ...]
    gauges: Mapping[str, str]
    rows: Callable[[Session], queries.GaugeRows]


GAUGES = (
    GaugeQuery(
        labels=(),
        gauges={
            "webhooks_waiting": "Webhooks that wait to be delivered",
            "webhook_oldest_seconds": "Age of the oldest of them",
        },
        rows=queries.waiting_webhooks,
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
        rows=queries.last_reconciliation,
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
)


class DatabaseGauges:
    """Reads the gauges on a connection of its own, so that they work while the pool is used up."""

    def __init__(self, url: URL, gauges: Sequence[GaugeQuery] = GAUGES) -> None:
        self._database = Database(url, 1)
        self._gauges = gauges
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._fresh_until = 0.0

    def families(self) -> list[Metric]:
        """Return the gauges, 5 s old at most; only `database_up` if the database fails."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._families = self._read()
                self._fresh_until = time.monotonic() + _FRESH_S
            return self._families

    def _read(self) -> list[Metric]:
        try:
            with self._database.transaction() as session:
                queries.limit_time(session)
                families = [family for each in self._gauges for family in _families(session, each)]
        except SQLAlchemyError as error:
            log.warning("Metrics could not be read: %s", type(error).__name__)
            return [_database_up(up=False)]
        finally:
            self._database.dispose()
        return [_database_up(up=True), *families]


def _families(session: Session, query: GaugeQuery) -> list[Metric]:
    families = [
        GaugeMetricFamily(f"{NAMESPACE}_{name}", description, labels=query.labels)
        for name, description in query.gauges.items()
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
