"""What the database gauges show: each function returns rows of labels, then values.

Keep each query to what an index finds: it runs at every scrape.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from origin.reconciliation.rules import Kind

GaugeRows = Iterable[Sequence[Any]]

_TIME_LIMIT = text("SET LOCAL statement_timeout = '4s'")
_BATCHES = text(
    "SELECT state, count(*), extract(epoch FROM now() - min(created_at)) FROM batches "
    "WHERE next_attempt_at IS NOT NULL GROUP BY state"
)
_DATAHUB_JOBS = text(
    "SELECT kind, count(*), extract(epoch FROM now() - min(created_at)) "
    "FROM datahub_jobs GROUP BY kind"
)
_KEPT_EVENTS = text(
    "SELECT kind, count(*), extract(epoch FROM now() - min(received_at)) "
    "FROM kept_events GROUP BY kind"
)
_USERS = text(
    "SELECT count(*) FILTER (WHERE disabled_at IS NULL), "
    "count(*) FILTER (WHERE disabled_at IS NOT NULL), "
    "count(*) FILTER (WHERE disabled_at IS NULL AND tokens_refused_at IS NOT NULL), "
    "count(*) FILTER (WHERE disabled_at IS NULL AND tokens_refused_at IS NULL "
    "AND refresh_token IS NOT NULL AND token_expires_at < now()) FROM users"
)
_LEDGER_DIFFERENCES = text(
    "SELECT kind, count(*) FROM ledger_differences WHERE resolved_at IS NULL GROUP BY kind"
)
_LAST_RECONCILIATION = text(
    "SELECT coalesce(extract(epoch FROM now() - max(finished_at)), 'NaN') "
    "FROM ledger_walks WHERE last_error IS NULL"
)
_WAITING_WEBHOOKS = text(
    "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) "
    "FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL"
)
# Subscribers choose the hosts: with the worst 20 alone they cannot flood the metrics.
_FAILING_WEBHOOKS = text(
    "SELECT host, count(*), sum(failures) FROM webhook_subscriptions "
    "WHERE next_attempt_at IS NOT NULL AND failures > 0 "
    "GROUP BY host ORDER BY sum(failures) DESC, host LIMIT 20"
)


def limit_time(session: Session) -> None:
    """Let each statement of this transaction take 4 s at most."""
    session.execute(_TIME_LIMIT)


def batches(session: Session) -> GaugeRows:
    """Batches that have not ended: state, number, age of the oldest in seconds."""
    return _with_zeros(session.execute(_BATCHES), ("PENDING", "SUBMITTED"))


def datahub_jobs(session: Session) -> GaugeRows:
    """Jobs at DataHub: kind, number, age of the oldest in seconds."""
    kinds = ("send_key", "subscribe_metering_points", "subscribe_ggos", "import_metering_points")
    return _with_zeros(session.execute(_DATAHUB_JOBS), kinds)


def kept_events(session: Session) -> GaugeRows:
    """Events kept until their user or metering point is known: kind, number, age of the oldest."""
    return _with_zeros(session.execute(_KEPT_EVENTS), ("metering_point", "ggo"))


def users(session: Session) -> GaugeRows:
    """Accounts: active, disabled, with refused tokens, with expired tokens."""
    return session.execute(_USERS)


def ledger_differences(session: Session) -> GaugeRows:
    """Unresolved differences from the ledger: kind, number; a row for every kind."""
    found = {row[0]: row[1] for row in session.execute(_LEDGER_DIFFERENCES)}
    return [(kind.value, found.get(kind.value, 0)) for kind in Kind]


def last_reconciliation(session: Session) -> GaugeRows:
    """Seconds since a reconciliation run finished without an error; NaN if none has."""
    return session.execute(_LAST_RECONCILIATION)


def waiting_webhooks(session: Session) -> GaugeRows:
    """Pending webhook deliveries: number, age of the oldest in seconds."""
    return session.execute(_WAITING_WEBHOOKS)


def failing_webhooks(session: Session) -> GaugeRows:
    """The 20 hosts with most failures: host, failing subscriptions, their failures in a row."""
    return session.execute(_FAILING_WEBHOOKS)


def _with_zeros(rows: GaugeRows, expected: Iterable[str]) -> GaugeRows:
    """Return the rows, and (label, 0, 0) for expected labels without one: a gap is not a zero."""
    found = {row[0]: row for row in rows}
    return [found.get(label, (label, 0, 0)) for label in sorted({*expected, *found})]
