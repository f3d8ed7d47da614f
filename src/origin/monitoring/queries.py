"""The queries behind the database gauges. They run at every scrape: each must use an index."""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from sqlalchemy import text
from sqlalchemy.orm import Session

from origin.batches.rules.differences import DifferenceKind
from origin.db import process_secrets
from origin.db.datahub_jobs import JobKind


def limit_statement_time(session: Session) -> None:
    """Let each statement of this transaction take at most 4 s."""
    session.execute(text("SET LOCAL statement_timeout = '4s'"))


def batches(session: Session) -> Iterable[Sequence[Any]]:
    """Return (state, count, age of the oldest in seconds) of the batches that have not ended."""
    rows = session.execute(
        text(
            "SELECT state, count(*), "
            "extract(epoch FROM now() - min(coalesce(adopted_at, created_at))) FROM batches "
            "WHERE next_attempt_at IS NOT NULL GROUP BY state"
        )
    )
    return _with_zeros(rows, ("PENDING", "SUBMITTED"))


def batches_without_operation(session: Session) -> Iterable[Sequence[Any]]:
    """Return one row: how many batches have no operation yet; 100,000 stands for more."""
    return session.execute(
        text(
            "SELECT count(*) FROM (SELECT FROM batches WHERE operation_id IS NULL LIMIT 100000) AS found"
        )
    )


def datahub_jobs(session: Session) -> Iterable[Sequence[Any]]:
    """Return (kind, count, age of the oldest in seconds) of the jobs at DataHub.

    Jobs that wait for a user's login are counted, and have no age: only that user can end the wait.
    """
    rows = session.execute(
        text(
            "SELECT kind, count(*), coalesce(extract(epoch FROM now() - "
            "min(created_at) FILTER (WHERE next_attempt_at IS NOT NULL)), 0) "
            "FROM datahub_jobs GROUP BY kind"
        )
    )
    return _with_zeros(rows, get_args(JobKind))


def kept_events(session: Session) -> Iterable[Sequence[Any]]:
    """Return (kind, count, age of the oldest in seconds) of the kept events."""
    rows = session.execute(
        text(
            "SELECT kind, count(*), extract(epoch FROM now() - min(received_at)) "
            "FROM kept_events GROUP BY kind"
        )
    )
    return _with_zeros(rows, ("metering_point", "ggo"))


def users(session: Session) -> Iterable[Sequence[Any]]:
    """Return one row: accounts that are active, disabled, must log in, have expired tokens."""
    return session.execute(
        text(
            "SELECT count(*) FILTER (WHERE disabled_at IS NULL), "
            "count(*) FILTER (WHERE disabled_at IS NOT NULL), "
            "count(*) FILTER (WHERE disabled_at IS NULL AND tokens_refused_at IS NOT NULL), "
            "count(*) FILTER (WHERE disabled_at IS NULL AND tokens_refused_at IS NULL "
            "AND refresh_token IS NOT NULL AND token_expires_at < now()) FROM users"
        )
    )


def ledger_differences(session: Session) -> Iterable[Sequence[Any]]:
    """Return (kind, count) of the open differences from the ledger."""
    rows = session.execute(
        text(
            "SELECT kind, count(*) FROM ledger_differences WHERE resolved_at IS NULL GROUP BY kind"
        )
    )
    found = {row[0]: row[1] for row in rows}
    return [(kind.value, found.get(kind.value, 0)) for kind in DifferenceKind]


def ledger_walks(session: Session) -> Iterable[Sequence[Any]]:
    """Return one row: the seconds since the last complete reconciliation run; NaN if none."""
    return session.execute(
        text(
            "SELECT coalesce(extract(epoch FROM now() - max(finished_at)), 'NaN') "
            "FROM ledger_walks WHERE last_error IS NULL"
        )
    )


def running_reconciliation(session: Session) -> Iterable[Sequence[Any]]:
    """Return one row: for how many seconds the unfinished reconciliation run has existed; 0 if none."""
    return session.execute(
        text(
            "SELECT coalesce(extract(epoch FROM now() - min(started_at)), 0) "
            "FROM ledger_walks WHERE finished_at IS NULL"
        )
    )


def periodic_work(session: Session) -> Iterable[Sequence[Any]]:
    """Return (task, seconds since its last completed run began) of the periodic tasks."""
    return session.execute(
        text(
            "SELECT name, greatest(extract(epoch FROM now() - last_run_at), 0) "
            "FROM schedules ORDER BY name"
        )
    )


def overdue_work(session: Session) -> Iterable[Sequence[Any]]:
    """Return (queue, for how many seconds its oldest row has been due; 0 if none is due)."""
    overdue = "SELECT '{0}', greatest(extract(epoch FROM now() - min(next_attempt_at)), 0) FROM {1}"
    queues = {
        "batches": "batches WHERE next_attempt_at IS NOT NULL",
        "bulk": "operations WHERE next_attempt_at IS NOT NULL",
        "datahub_jobs": "datahub_jobs",
        "webhooks": "webhook_subscriptions WHERE next_attempt_at IS NOT NULL",
    }
    parts = [overdue.format(name, rows) for name, rows in queues.items()]
    rows = session.execute(text(" UNION ALL ".join(parts)))
    return [(queue, seconds or 0) for queue, seconds in rows]


def last_day(session: Session) -> Iterable[Sequence[Any]]:
    """Return one row of counts in the last 24 hours.

    They are: batches that were declined, deliveries that were given up, GGOs that were stored with an
    address that their owner's keys don't derive.
    """
    return session.execute(
        text(
            "SELECT (SELECT count(*) FROM batches WHERE state = 'DECLINED' AND ended_at > day.began), "
            "(SELECT count(*) FROM webhook_deliveries "
            " WHERE state = 'GIVEN_UP' AND ended_at > day.began), "
            "(SELECT count(*) FROM ggos WHERE key_mismatch AND created_at > day.began) "
            "FROM (SELECT now() - interval '24 hours' AS began) AS day"
        )
    )


def working_processes(session: Session) -> Iterable[Sequence[Any]]:
    """Return (kind, how many work) of web, worker and beat."""
    return process_secrets.count_working(session).items()


def clock_skews(session: Session) -> Iterable[Sequence[Any]]:
    """Return (kind, largest clock skew in seconds, without sign) of the running processes."""
    return process_secrets.largest_skews(session).items()


def unknown_secrets(session: Session) -> Iterable[Sequence[Any]]:
    """Return one row: running processes that lack the secret with which another one seals."""
    processes = process_secrets.running(session)
    firsts = {each.prefixes[0] for each in processes}
    return [(sum(not firsts <= set(each.prefixes) for each in processes),)]


def webhooks(session: Session) -> Iterable[Sequence[Any]]:
    """Return one row: waiting deliveries, age of the oldest in seconds."""
    return session.execute(
        text(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) "
            "FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL"
        )
    )


def failing_webhooks(session: Session) -> Iterable[Sequence[Any]]:
    """Return (host, failing subscriptions, failures in a row) of the 20 worst hosts."""
    # Only 20: subscribers choose the hosts, and could make any number of labels.
    return session.execute(
        text(
            "SELECT host, count(*), sum(failures) FROM webhook_subscriptions "
            "WHERE next_attempt_at IS NOT NULL AND failures > 0 "
            "GROUP BY host ORDER BY sum(failures) DESC, host LIMIT 20"
        )
    )


def _with_zeros(rows: Iterable[Sequence[Any]], expected: Iterable[str]) -> Iterable[Sequence[Any]]:
    """Return the rows, and (label, 0, 0) for each expected label without one."""
    found = {row[0]: row for row in rows}
    return [found.get(label, (label, 0, 0)) for label in sorted({*expected, *found})]
