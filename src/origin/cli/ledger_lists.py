"""Lists about the ledger for operators: `flask ledger batches` and `flask ledger differences`."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from origin.accounts.service.administration import UserAdministration
from origin.batches.queries.reports import BatchFilter
from origin.batches.rules.differences import DifferenceKind
from origin.batches.service import reports
from origin.cli.ledger import DIFFERENCE_HEADINGS, difference_entry, ledger
from origin.cli.output import Page, entries_of, paged, reports_errors
from origin.db.engine import Database
from origin.reconciliation.service.reconcile import Reconciliation
from origin.settings import Settings
from origin.web.provided import provided

_STATES = ("pending", "submitted", "completed", "declined")
_UNDER_WAY, _STUCK = "under-way", "stuck"

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([0-9]{1,5})([smhdw])")
"""More digits could mean a moment that is too early for PostgreSQL."""


class Since(click.ParamType[datetime | timedelta]):
    """A moment (ISO 8601; UTC unless it has an offset), or an age such as `90m`, `24h` or `7d`."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta:
        """Return an aware moment, or an age."""
        if age := _AGE.fullmatch(value):
            return timedelta(**{_UNITS[age[2]]: int(age[1])})
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a time such as 2026-01-31T12:00Z nor an age such as 24h.",
                param,
                ctx,
            )


@ledger.command("batches")
@click.option(
    "--state",
    "states",
    type=click.Choice([*_STATES, _UNDER_WAY, _STUCK], case_sensitive=False),
    multiple=True,
    help="Only batches in this state; may be repeated. under-way: pending or submitted. "
    "stuck: under way for longer than BATCH_RESUBMIT_AFTER.",
)
@click.option("--user", "subject", metavar="SUBJECT", help="Only this account's.")
@click.option(
    "--since",
    type=Since(),
    help="Only batches that were composed since then: a time (ISO 8601; UTC unless it has an offset), "
    "or an age such as 90m, 24h, 7d.",
)
@paged(int, limit=100)
@reports_errors
def batches(
    *,
    states: Collection[str],
    subject: str | None,
    since: datetime | timedelta | None,
    page: Page[int],
) -> None:
    """List batches, newest first."""
    user_id = None if subject is None else provided(UserAdministration).user_id(subject)
    wanted = _filter(states, user_id, since)
    found = reports.list_batches(provided(Database), wanted, after=page.after, limit=page.asked)
    headings = {
        "ID": "id",
        "STATE": "state",
        "SUBJECT": "subject",
        "WH": "amount",
        "COMPOSED": "created_at",
        "ENDED": "ended_at",
        "NEXT ATTEMPT": "next_attempt_at",
        "ATTEMPTS": "attempts",
        "LAST ERROR": "last_error",
    }
    page.print(entries_of(found), headings, "id")


def _filter(
    states: Collection[str], user_id: int | None, since: datetime | timedelta | None
) -> BatchFilter:
    names = {each.upper() for each in states if each in _STATES}
    if _UNDER_WAY in states:
        names |= {"PENDING", "SUBMITTED"}
    stuck_after_s = provided(Settings).batch_resubmit_after if _STUCK in states else None
    return BatchFilter(names or None, stuck_after_s, user_id, since)


@ledger.command("differences")
@click.option(
    "--kind",
    type=click.Choice([each.value for each in DifferenceKind]),
    help="Only differences of this kind.",
)
@paged(int)
@reports_errors
def differences(*, kind: str | None, page: Page[int]) -> None:
    """List the known differences from the ledger, oldest first."""
    found = provided(Reconciliation).list_differences(kind=kind, after=page.after, limit=page.asked)
    headings = {"ID": "id", **DIFFERENCE_HEADINGS}
    page.print([difference_entry(each) for each in found], headings, "id")
