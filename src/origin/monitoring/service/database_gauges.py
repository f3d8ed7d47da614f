"""Metrics that are read from the database when they are asked for.

To add one, write a function that reads rows and name it in `READINGS`. Keep each query to what an
index finds: it runs at every scrape. Every web gives the same figures, so that dashboards take
`max`, never `sum`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from origin.batches.rules.differences import DifferenceKind
from origin.db.engine import Database
from origin.telemetry.metrics import NAMESPACE

_FRESH_S = 5.0
"""Scrapes need no token: however many come, the database is asked this seldom by a process."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """One query, and the gauges that it fills.

    :param gauges: What each value says, by the gauge's name (without the namespace).
    :param rows: Each row has the labels first, then a value for each gauge.
    """

    labels: tuple[str, ...]
    gauges: Mapping[str, str]
    rows: Callable[[Session], Iterable[Sequence[Any]]]


def _with_zeros(rows: Iterable[Sequence[Any]], expected: Iterable[str]) -> Iterable[Sequence[Any]]:
    """The rows, and (label, 0, 0) for what is expected and has none: a gap is not a zero."""
    found = {row[0]: row for row in rows}
    return [found.get(label, (label, 0, 0)) for label in sorted({*expected, *found})]


def _batches(session: Session) -> Iterable[Sequence[Any]]:
    rows = session.execute(
        text(
            "SELECT state, count(*), extract(epoch FROM now() - min(created_at)) FROM batches "
            "WHERE next_attempt_at IS NOT NULL GROUP BY state"
        )
    )
    return _with_zeros(rows, ("PENDING", "SUBMITTED"))


def _datahub_jobs(session: Session) -> Iterable[Sequence[Any]]:
    rows = session.execute(
        text(
            "SELECT kind, count(*), extract(epoch FROM now() - min(created_at)) "
            "FROM datahub_jobs GROUP BY kind"
        )
    )
    kinds = ("send_key", "subscribe_metering_points", "subscribe_ggos", "import_metering_points")
    return _with_zeros(rows, kinds)


def _kept_events(session: Session) -> Iterable[Sequence[Any]]:
    rows = session.execute(
        text(
            "SELECT kind, count(*), extract(epoch FROM now() - min(received_at)) "
            "FROM kept_events GROUP BY kind"
        )
    )
    return _with_zeros(rows, ("metering_point", "ggo"))


def _users(session: Session) -> Iterable[Sequence[Any]]:
    return session.execute(
        text(
            "SELECT count(*) FILTER (WHERE disabled_at IS NULL), "
            "count(*) FILTER (WHERE disabled_at IS NOT NULL), "
            "count(*) FILTER (WHERE disabled_at IS NULL AND tokens_refused_at IS NOT NULL), "
            "count(*) FILTER (WHERE disabled_at IS NULL AND tokens_refused_at IS NULL "
            "AND refresh_token IS NOT NULL AND token_expires_at < now()) FROM users"
        )
    )


def _ledger_differences(session: Session) -> Iterable[Sequence[Any]]:
    rows = session.execute(
        text(
            "SELECT kind, count(*) FROM ledger_differences WHERE resolved_at IS NULL GROUP BY kind"
        )
    )
    found = {row[0]: row[1] for row in rows}
    return [(kind.value, found.get(kind.value, 0)) for kind in DifferenceKind]


def _ledger_walks(session: Session) -> Iterable[Sequence[Any]]:
    return session.execute(
        text(
            "SELECT coalesce(extract(epoch FROM now() - max(finished_at)), 'NaN') "
            "FROM ledger_walks WHERE last_error IS NULL"
        )
    )


def _webhooks(session: Session) -> Iterable[Sequence[Any]]:
    return session.execute(
        text(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) "
            "FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL"
        )
    )


def _failing_webhooks(session: Session) -> Iterable[Sequence[Any]]:
    # Subscribers choose the hosts: only the worst are told, so that they can't flood the metrics.
    return session.execute(
        text(
            "SELECT host, count(*), sum(failures) FROM webhook_subscriptions "
            "WHERE next_attempt_at IS NOT NULL AND failures > 0 "
            "GROUP BY host ORDER BY sum(failures) DESC, host LIMIT 20"
        )
    )


READINGS = (
    Reading(
        labels=(),
        gauges={
            "webhooks_waiting": "Webhooks that wait to be delivered",
            "webhook_oldest_seconds": "Age of the oldest of them",
        },
        rows=_webhooks,
    ),
    Reading(
        labels=("host",),
        gauges={
            "webhook_subscriptions_failing": "Subscriptions whose last delivery failed; 20 hosts",
            "webhook_failures_in_a_row": "Failures since their last success, summed; 20 hosts",
        },
        rows=_failing_webhooks,
    ),
    Reading(
        labels=("kind",),
        gauges={"ledger_differences": "What reconciliation found to differ from the ledger"},
        rows=_ledger_differences,
    ),
    Reading(
        labels=(),
        gauges={"ledger_walk_age_seconds": "Since reconciliation last came to the end of a walk"},
        rows=_ledger_walks,
    ),
    Reading(
        labels=("state",),
        gauges={
            "batches": "Batches that have not ended",
            "batch_oldest_seconds": "Age of the oldest of them",
        },
        rows=_batches,
    ),
    Reading(
        labels=("kind",),
        gauges={
            "datahub_jobs": "What DataHub must still be told or asked",
            "datahub_job_oldest_seconds": "Age of the oldest of it",
        },
        rows=_datahub_jobs,
    ),
    Reading(
        labels=("kind",),
        gauges={
            "kept_events": "Events kept until their user or metering point is known",
            "kept_event_oldest_seconds": "Age of the oldest of them",
        },
        rows=_kept_events,
    ),
    Reading(
        labels=(),
        gauges={
            "users": "Accounts that are not disabled",
            "users_disabled": "Accounts that are disabled",
            "users_to_log_in": "Active accounts whose refresh Hydra refused: they must log in",
            "tokens_expired": "Active accounts whose tokens expired without a refresh",
        },
        rows=_users,
    ),
)


class Readings:
    """Reads them on a connection of its own: a pool that is used up must not blind its watchers."""

    def __init__(self, url: URL, readings: Sequence[Reading] = READINGS) -> None:
        self._database = Database(url, 1)
        self._readings = readings
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._fresh_until = 0.0

    def families(self) -> list[Metric]:
        """The gauges, a few seconds old at most; `database_up` alone where it can't be read."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._families = self._read()
                self._fresh_until = time.monotonic() + _FRESH_S
            return self._families

    def _read(self) -> list[Metric]:
        try:
            with self._database.transaction() as session:
                session.execute(text("SET LOCAL statement_timeout = '4s'"))
                families = [family for each in self._readings for family in _gauges(session, each)]
        except SQLAlchemyError as error:
            log.warning("Metrics could not be read: %s", type(error).__name__)
            return [_database_up(up=False)]
        finally:
            self._database.dispose()
        return [_database_up(up=True), *families]


def _gauges(session: Session, reading: Reading) -> list[Metric]:
    families = [
        GaugeMetricFamily(f"{NAMESPACE}_{name}", text, labels=reading.labels)
        for name, text in reading.gauges.items()
    ]
    count = len(reading.labels)
    for row in reading.rows(session):
        labels = [str(label) for label in row[:count]]
        for family, value in zip(families, row[count:], strict=True):
            family.add_metric(labels, float(value))
    return list(families)


def _database_up(*, up: bool) -> Metric:
    name = f"{NAMESPACE}_database_up"
    return GaugeMetricFamily(name, "Whether these gauges could be read", value=float(up))
