"""What a finding is, and when a number is a reason to worry."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

CERTIFICATE_WARNING = timedelta(days=14)
"""A certificate that expires earlier is warned of."""
CLOCK_WARNING_S = 5.0
"""Clocks that differ by more are warned of: logins may then fail, because ID tokens are refused."""
CLOCK_FAILURE_S = 30.0
"""Clocks that differ by more are a failure."""
CONNECTIONS_WARNING = 0.8
"""The share of PostgreSQL's connections in use from which the doctor warns."""
RECONCILIATION_WARNING = timedelta(days=2)
"""The doctor warns if the last complete run is older: the same limit as the alert's."""
OVERDUE_WARNING = timedelta(minutes=10)
"""Work that has been due for longer is warned of."""
OLDEST_REDIS = 6
"""The oldest major version of Redis that the service works with."""


class Level(StrEnum):
    """How a check ended. Only a failure sets the exit status."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    :ivar text: What was found and, if something is wrong, what to do. It contains no secret.
    """

    level: Level
    check: str
    text: str


@dataclass(frozen=True)
class Check:
    """A check by name. `run` may raise anything; the doctor then reports a failure.

    :ivar needs: The settings that it needs, by the beginnings of their names.
    """

    name: str
    run: Callable[[], Iterable[Finding]]
    needs: Collection[str] = ()

    def without(self, wrong: Collection[str]) -> "Check":
        """Return this check, or a failure if it needs one of these settings."""
        if not any(name.startswith(need) for need in self.needs for name in wrong):
            return self
        told = fail(self.name, "Not checked: its settings are wrong.")
        return Check(self.name, lambda: [told])


def ok(check: str, text: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(Level.OK, check, text)


def warn(check: str, text: str) -> Finding:
    """Return a finding that an operator should look at."""
    return Finding(Level.WARN, check, text)


def fail(check: str, text: str) -> Finding:
    """Return a finding that an operator must repair: until then, the service doesn't work as it should."""
    return Finding(Level.FAIL, check, text)


def judge_clock(check: str, whose: str, ahead_s: float, error_s: float) -> Finding:
    """Judge another machine's clock.

    :param whose: The other machine, in words.
    :param ahead_s: By how many seconds this machine's clock is ahead of the other.
    :param error_s: The largest possible error of that.
    """
    if abs(ahead_s) <= error_s:
        return ok(check, f"This machine's clock and {whose}'s agree.")
    side = "ahead of" if ahead_s > 0 else "behind"
    told = f"This machine's clock is {abs(ahead_s):.1f} s {side} {whose}'s."
    surely_s = abs(ahead_s) - error_s
    if surely_s <= CLOCK_WARNING_S:
        return ok(check, told)
    level = Level.FAIL if surely_s > CLOCK_FAILURE_S else Level.WARN
    return Finding(level, check, f"{told} Synchronize both by NTP.")


def judge_certificate(check: str, expires_at: datetime, now: datetime) -> Finding:
    """Judge a certificate that was accepted, by the time that is left. Both times are aware."""
    left = expires_at - now
    told = f"The certificate is valid for {left.days} days, until {expires_at:%Y-%m-%d %H:%MZ}."
    if left < CERTIFICATE_WARNING:
        return warn(check, f"{told} Have it renewed.")
    return ok(check, told)


def judge_schema(found: str | None, known: Iterable[str], usable_from: str | None) -> Finding:
    """Judge the database's schema.

    :param found: Its revision; None: it has none.
    :param known: The revisions that this version has, ascending.
    :param usable_from: The oldest revision whose code works with the schema, if the database says.
    """
    check, revisions = "schema", list(known)
    migrate = "Run `python -m origin.migrate`, or start a process, which does it."
    if found is None:
        return fail(check, f"The database has no tables of the service. {migrate}")
    if found == revisions[-1]:
        return ok(check, f"It is at migration {found}, the newest; PostgreSQL needs no extensions.")
    if found in revisions:
        return fail(check, f"It is at migration {found}; {revisions[-1]} is needed. {migrate}")
    if usable_from in revisions:
        return warn(
            check,
            f"A later version of the service has migrated it to {found}; this version works with it. "
            "Finish the upgrade.",
        )
    return fail(
        check,
        f"A later version of the service has migrated it to {found}, and this version is too old for "
        "it: use that one (doc/operations/upgrade.md).",
    )


def judge_reconciliation(
    age: timedelta | None, running_for: timedelta, differences: int
) -> Finding:
    """Judge how long ago all GGOs were compared with the ledger.

    :param age: The time since the last complete run; None: there was none.
    :param running_for: For how long the unfinished run has existed; zero if there is none.
    :param differences: How many differences are known, without those of the kind `never_sent`.
    """
    check = "reconciliation"
    if differences:
        told = f"Known differences from the ledger: {differences}."
        return warn(check, f"{told} See `flask ledger differences`, and the runbook by kind.")
    if age is None and running_for < RECONCILIATION_WARNING:
        return ok(check, "No run has been completed yet.")
    if age is None or age > RECONCILIATION_WARNING:
        ended = "never" if age is None else f"{age.total_seconds() / 3600:.0f} hours ago"
        return warn(
            check,
            f"The last complete run ended {ended}. Do workers and Beat run, and does the ledger answer?",
        )
    return ok(check, f"The last complete run ended {age.total_seconds() / 3600:.1f} hours ago.")
