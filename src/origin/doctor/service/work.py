"""Checks of the running service: secrets, processes, queues, webhooks, reconciliation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from origin.batches.rules.differences import DifferenceKind
from origin.batches.service.ledger_mode import check_ledger_mode
from origin.db import process_secrets
from origin.doctor.rules import (
    OVERDUE_WARNING,
    Check,
    Finding,
    fail,
    judge_reconciliation,
    ok,
    warn,
)
from origin.doctor.service.database import DatabaseChecks
from origin.errors import ConfigurationError
from origin.maintenance.service.secret_changes import SecretChanges
from origin.monitoring import queries
from origin.settings import Settings


@dataclass(frozen=True)
class WorkChecks:
    """Makes the checks of the running service. They read the database."""

    settings: Settings
    database_checks: DatabaseChecks
    secret_changes: SecretChanges

    def all(self) -> Sequence[Check]:
        """Return the checks that fit the settings."""
        reading = self.database_checks.reading
        checks = [
            self.database_checks.after_connecting(
                "secrets", self._secrets, ["secret", "key_encryption_secrets"]
            ),
            reading("processes", _processes),
            reading("queues", _queues),
            reading("webhooks", _webhooks),
        ]
        if self.settings.ledger_enabled:
            return [*checks, reading("reconciliation", _reconciliation)]
        return [*checks, self.database_checks.after_connecting("ledger", self._ledger_mode)]

    def _secrets(self) -> Iterator[Finding]:
        check = "secrets"
        try:
            self.secret_changes.check_start()
        except ConfigurationError as error:
            yield fail(check, f"{str(error).rstrip('.')} (doc/operations/keys.md).")
            return
        status = self.secret_changes.status()
        if status.outdated:
            step = status.next_step.rstrip(".")
            yield warn(check, f"A rotation isn't finished: {status.outdated} rows. Next: {step}.")
        else:
            yield ok(check, "KEY_ENCRYPTION_SECRETS opens all rows.")

    def _ledger_mode(self) -> Iterator[Finding]:
        check = "ledger"
        try:
            check_ledger_mode(self.database_checks.database, ledger_enabled=False)
        except ConfigurationError as error:
            yield fail(check, f"{str(error).rstrip('.')}.")
        else:
            yield warn(check, "LEDGER_ENABLED=0: nothing is sent to a ledger. Is that meant?")


def _processes(session: Session) -> Iterator[Finding]:
    check, working = "processes", process_secrets.count_working(session)
    told = ", ".join(f"{count} {kind}" for kind, count in working.items())
    missing = [kind for kind in ("worker", "beat") if not working[kind]]
    if missing:
        names = " and no ".join(missing)
        yield fail(check, f"No {names} has worked lately ({told}). Start them, or read their logs.")
    elif not working["web"]:
        yield warn(check, f"No web runs on this database ({told}).")
    else:
        yield ok(check, f"These have worked lately: {told}.")


def _queues(session: Session) -> Iterator[Finding]:
    check = "queues"
    overdue = {
        name: timedelta(seconds=float(seconds)) for name, seconds in queries.overdue_work(session)
    }
    late = {name: age for name, age in overdue.items() if age > OVERDUE_WARNING}
    if late:
        told = ", ".join(f"{name} for {_minutes(age)}" for name, age in late.items())
        yield warn(check, f"Work is overdue: {told}. Do enough workers run, and what do they log?")
    else:
        yield ok(check, "No work is overdue.")


def _webhooks(session: Session) -> Iterator[Finding]:
    check = "webhooks"
    [(_, given_up, _)] = queries.last_day(session)
    failing = sum(count for _, count, _ in queries.failing_webhooks(session))
    if given_up or failing:
        yield warn(
            check,
            f"Failing subscriptions: {failing}; deliveries given up in the last day: {given_up}. "
            "See `flask webhooks list`.",
        )
    else:
        yield ok(check, "No subscription fails, and no delivery was given up in the last day.")


def _reconciliation(session: Session) -> Iterator[Finding]:
    [(age_s,)] = queries.ledger_walks(session)
    [(running_s,)] = queries.running_reconciliation(session)
    differences = sum(
        count
        for kind, count in queries.ledger_differences(session)
        if kind != DifferenceKind.NEVER_SENT.value
    )
    age = None if math.isnan(age_s) else timedelta(seconds=float(age_s))
    running = timedelta(seconds=float(running_s))
    yield judge_reconciliation(age, running, differences)


def _minutes(age: timedelta) -> str:
    return f"{age.total_seconds() / 60:.0f} min"
