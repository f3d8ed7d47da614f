"""What all commands print: tables, JSON, and expected errors in one line."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import wraps
from typing import IO, Any, Generic, ParamSpec, TypeVar

import click
import orjson
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from origin.accounts.service.administration import DisabledUser, UnknownUser
from origin.batches.service.reports import UnknownBatch
from origin.db.sqlstates import READ_ONLY, Fault, fault_in, state_of
from origin.errors import OriginError
from origin.shared.json_codec import encode_json
from origin.webhooks.service.administration import UnknownSubscription

_PROGRESS_EVERY_S = 2.0
_LARGEST_LIMIT = 1_000_000_000
"""Longer than any list, and small enough for PostgreSQL's 64 bits."""

P = ParamSpec("P")
K = TypeVar("K")

Entry = Mapping[str, Any]
"""An entry of a list, by the names that JSON has."""


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
        """Show how much of a total is done, unless the last line is younger than two seconds."""
        now = time.monotonic()
        if what != self._what or now >= self._next_at:
            self._what, self._next_at = what, now + _PROGRESS_EVERY_S
            click.echo(f"{what}: {done} of {total}" if total > 1 else what, err=True)


def print_table(headings: Iterable[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print aligned columns; times in UTC, None as `-`."""
    headings = tuple(headings)
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for line in (headings, *texts):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _text(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M:%SZ")
    return "-" if cell is None else one_line(str(cell))


def one_line(text: str) -> str:
    """Return a text as a terminal can show it in one line. Peers' words may have any characters."""
    return "".join(each if each.isprintable() else " " for each in text)


def as_json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--json`, as the argument `as_json`."""
    words = "Print JSON instead of a table."
    return click.option("--json", "as_json", is_flag=True, help=words)(command)


@dataclass(frozen=True)
class Page(Generic[K]):
    """The part of a list that an operator asks for, and how to print it.

    :ivar after: What `--after` gives: the page begins after this entry. None: at the start of the list.
    """

    limit: int | None
    after: K | None
    as_json: bool

    @property
    def asked(self) -> int | None:
        """How many entries to read: one more than is printed, which tells whether there are more."""
        return None if self.limit is None else self.limit + 1

    def print(self, entries: Sequence[Entry], headings: Mapping[str, str], key: str) -> None:
        """Print the page as a table or as JSON.

        :param entries: At most as many as `asked`.
        :param headings: The table's columns, and the name of each in an entry. JSON has all names.
        :param key: The name of the column that `--after` takes.
        """
        shown = self.cut(entries, key)
        if self.as_json:
            for entry in shown:
                print_json(entry)
        else:
            print_entries(shown, headings)

    def cut(self, entries: Sequence[Entry], key: str) -> Sequence[Entry]:
        """Return the entries of the page; say on standard error how to read on, if there are more."""
        shown = entries[: self.limit]
        if len(entries) > len(shown):
            click.echo(f"There are more: --after {shown[-1][key]}", err=True)
        return shown


def paged(
    kind: type[K], *, limit: int | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a list command the options `--limit`, `--after` and `--json`, as the argument `page`.

    :param kind: The type of what `--after` takes.
    :param limit: How many entries the command prints without `--limit`; None: all.
    """

    def wrap(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--limit",
            type=click.IntRange(1, _LARGEST_LIMIT),
            metavar="N",
            default=limit,
            show_default=True,
            help="Print at most N entries." if limit else "Print at most N entries. Default: all.",
        )
        @click.option("--after", type=kind, help="Begin after this entry of the list.")
        @as_json_option
        @wraps(command)
        def with_page(
            *args: Any, limit: int | None, after: K | None, as_json: bool, **kwargs: Any
        ) -> Any:
            return command(*args, page=Page(limit, after, as_json), **kwargs)

        return with_page

    return wrap


def entry_of(row: Any) -> dict[str, Any]:
    """Return a row of SQLAlchemy as an entry, by the names of its columns."""
    return dict(row._mapping)  # noqa: SLF001 - public in spite of its name


def entries_of(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return rows of SQLAlchemy as entries."""
    return [entry_of(row) for row in rows]


def print_entries(entries: Iterable[Entry], headings: Mapping[str, str]) -> None:
    """Print a table of entries. `headings` maps each column's heading to its name in the entries."""
    print_table(headings, [[entry[name] for name in headings.values()] for entry in entries])


@dataclass(frozen=True)
class ReportFile:
    """Where a command writes its report as JSON. With `is_stdout` it prints nothing else there."""

    file: IO[bytes]
    is_stdout: bool

    def write(self, report: Mapping[str, Any]) -> None:
        """Write the report, indented."""
        self.file.write(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


class _ReportFileType(click.File):
    """Opens the file before the command begins, so that a wrong path fails at once, not after hours."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return ReportFile(super().convert(value, param, ctx), is_stdout=value == "-")


def report_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--json [FILE]`, as the argument `report_file`."""
    return click.option(
        "--json",
        "report_file",
        is_flag=False,
        flag_value="-",
        type=_ReportFileType("wb", lazy=False),
        metavar="[FILE]",
        help="Write the report as JSON to this file; without FILE, to standard output instead of text.",
    )(command)


def print_json(document: Any) -> None:
    """Print a document as JSON in one line. Aware times become UTC with a `Z`."""
    click.echo(encode_json(_plain(document)).decode())


def _plain(value: Any) -> Any:
    """Return a value as JSON has it. Decimals are PostgreSQL's sums of whole Wh."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Decimal():
            return int(value)
        case Mapping():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return value
