"""What all commands print: tables, and expected errors in one line."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec

import click
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from origin.accounts.service.administration import DisabledUser, UnknownUser
from origin.batches.service.reports import UnknownBatch
from origin.db.sqlstates import READ_ONLY, Fault, fault_in, state_of
from origin.errors import OriginError
from origin.webhooks.service.administration import UnknownSubscription

_PROGRESS_EVERY_S = 2.0

P = ParamSpec("P")


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Print the service's errors and database failures in one line; exit with status 1."""

    @wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except OriginError as error:
            raise click.ClickException(_message(error)) from error
        except (DBAPIError, PoolTimeoutError) as error:
            raise click.ClickException(_database_failure(error)) from error

    return reporting


def _message(error: OriginError) -> str:
    """Return an error's message for operators."""
    match error:
        case UnknownUser():
            return f"No account has the subject {error.subject}"
        case DisabledUser():
            return f"The account of {error.subject} is disabled"
        case UnknownBatch():
            return f"There is no batch {error.batch_id}"
        case UnknownSubscription():
            live = "live " if error.must_be_live else ""
            return f"There is no {live}subscription {error.subscription_id}"
        case _:
            return str(error)


def _database_failure(error: DBAPIError | PoolTimeoutError) -> str:
    """Word a database failure.

    :raises DBAPIError: the error itself, if it is a bug.
    """
    if state_of(error) == READ_ONLY:
        return "The database can't be written now."
    if fault_in(error) is Fault.TRANSIENT:
        return "The database is out of reach."
    if isinstance(error, ProgrammingError):
        name = type(error.orig).__name__
        return f"The database isn't as it should be ({name}): is it migrated?"
    raise error


class ProgressLine:
    """Shows progress on standard error, at most every two seconds."""

    def __init__(self) -> None:
        self._what, self._next_at = "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show what is done of a total, if it is time to."""
        now = time.monotonic()
        if what != self._what or now >= self._next_at:
            self._what, self._next_at = what, now + _PROGRESS_EVERY_S
            click.echo(f"{what}: {done} of {total}" if total > 1 else what, err=True)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print aligned columns; times in UTC, None as `-`."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for line in (headings, *texts):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _text(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M:%SZ")
    return "-" if cell is None else str(cell)
