"""The command that adopts the original service's database: `flask adopt` (doc/operations/adopting.md)."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from flask.cli import AppGroup, with_appcontext

from origin.adoption.rules import Count, Kind, Rejection, Report
from origin.adoption.service.adopt import AdoptionService
from origin.adoption.service.rejections import list_rejections
from origin.cli.ledger import DIFFERENCES, exits_2_on_errors
from origin.cli.output import (
    Page,
    ProgressLine,
    entries_of,
    paged,
    print_table,
    reports_errors,
)
from origin.db.engine import Database
from origin.maintenance.service.secret_changes import SecretChanges
from origin.settings import AdoptionSettings, load_settings
from origin.web.provided import provided

SHOWN_ENERGY_ROWS = 200
"""Rows of the text report's table of energy by user; the JSON report has all."""

_NEXT_STEPS = """
Next steps (doc/operations/adopting.md):
  flask users resubscribe --all          DataHub sends its webhooks to this service
  flask metering-points resend-keys --all   only if DataHub lost the keys
  flask ledger reconcile                 compares the adopted GGOs with the ledger
"""


@click.command("adopt")
@click.option(
    "--from",
    "source_uri",
    metavar="URI",
    help="The original service's database. Default: this service's own. A URI with a password is "
    "better given in the variable ADOPT_FROM: other processes can't read it there.",
)
@click.option(
    "--schema",
    help="The schema of the original service's tables. Default with --from: public.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Change nothing; show what would be done.")
@click.option(
    "--json",
    "json_path",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the report as JSON to this file; without FILE, to standard output instead of text.",
)
@with_appcontext
@exits_2_on_errors
@reports_errors
def adopt(
    *, source_uri: str | None, schema: str | None, is_dry: bool, json_path: str | None
) -> None:
    """Adopt the database of the original service.

    Stop the original service first. All rows are published at once, when source = adopted + rejected
    in rows and in Wh. The command may be stopped at any time, and run again. Ends with status 0 if all
    rows were adopted, 1 if some were rejected, 2 if it couldn't finish.
    """
    if source_uri is None and (given := load_settings(AdoptionSettings).adopt_from):
        source_uri = given.get_secret_value()
    if source_uri is None and schema is None:
        raise click.UsageError("Give --from URI, or --schema NAME for tables in this database.")
    shown = _ShownReport(json_path)
    provided(SecretChanges).check_start()
    earlier = provided(AdoptionService).adopt(
        source_uri, schema or "public", ProgressLine(), shown, is_dry=is_dry
    )
    if earlier is not None:
        click.echo(
            f"The adoption was published at {earlier.published_at:%Y-%m-%d %H:%M:%SZ}; this is its "
            "report. Nothing was changed.",
            err=True,
        )
    elif not is_dry and json_path != "-":
        click.echo(_NEXT_STEPS)
    if shown.has_rejections:
        sys.exit(DIFFERENCES)


adoption = AppGroup("adoption", help="What an adoption has left: its rejected rows.")


@adoption.command("rejections")
@click.option(
    "--kind", type=click.Choice([each.value for each in Kind]), help="Only rows of this kind."
)
@paged(int)
@reports_errors
def rejections(*, kind: str | None, page: Page[int]) -> None:
    """List the rows that an adoption has rejected, with the reasons."""
    found = list_rejections(provided(Database), kind=kind, after=page.after, limit=page.asked)
    headings = {"ID": "id", "KIND": "kind", "ID IN SOURCE": "source_id", "REASON": "reason"}
    page.print(entries_of(found), headings, "id")


class _ShownReport:
    """Prints a report as text, and writes it as JSON if asked to."""

    def __init__(self, json_path: str | None) -> None:
        self._json_path = json_path
        if json_path not in {None, "-"}:
            # Whether it can be written is better known before the adoption.
            try:
                Path(str(json_path)).touch()
            except OSError as error:
                raise click.ClickException(f"{json_path}: {error.strerror}") from error
        self.has_rejections = False

    def __call__(self, report: Report, rejections: Iterator[Rejection]) -> None:
        """Show a report. The rejections are read once, and not kept."""
        self.has_rejections = report.has_rejections
        if self._json_path == "-":
            _write_json(sys.stdout.write, report, rejections)
        elif self._json_path is not None:
            with click.open_file(self._json_path, "w", encoding="utf-8") as file:
                _write_json(file.write, report, _printed(report, rejections))
        else:
            for _ in _printed(report, rejections):
                pass


def _printed(report: Report, rejections: Iterator[Rejection]) -> Iterator[Rejection]:
    """Print a report as text; yield each rejection after it is printed."""
    if report.is_dry:
        click.echo("A dry run: nothing was changed.\n")
    click.echo(f"Source: {report.source}\n")
    kinds = [_count_row(kind, count) for kind, count in report.kinds.items()]
    print_table(("ROWS", "SOURCE", "ADOPTED", "REJECTED"), kinds)
    click.echo()
    by_state = [_count_row(state, count) for state, count in report.energy_by_state().items()]
    energy = [*by_state, _count_row("all rows", report.energy)]
    print_table(("WH OF GGOS", "SOURCE", "ADOPTED", "REJECTED"), energy)
    click.echo()
    _print_users(report)
    print_table(("BATCHES ADOPTED", "COUNT"), report.batches.items())
    click.echo()
    print_table(("NOTE", "COUNT"), report.notes.items())
    first = True
    for rejection in rejections:
        if first:
            click.echo("\nREJECTED")
        first = False
        click.echo(f"{rejection.kind} {rejection.id}: {rejection.reason}")
        yield rejection


def _print_users(report: Report) -> None:
    rows = [
        (row.user_id, row.subject, row.state, row.wh.source, row.wh.adopted, row.wh.rejected)
        for row in report.energy_rows[:SHOWN_ENERGY_ROWS]
    ]
    if rows:
        print_table(("USER", "SUBJECT", "STATE", "WH IN SOURCE", "ADOPTED", "REJECTED"), rows)
    left = len(report.energy_rows) - len(rows)
    if left:
        click.echo(f"… and {left} more rows, which the JSON report has")
    click.echo()


def _count_row(name: str, count: Count) -> tuple[str, int, int, int]:
    return name, count.source, count.adopted, count.rejected


def _write_json(
    write: Callable[[str], object], report: Report, rejections: Iterator[Rejection]
) -> None:
    """Write the report and the rejections as one JSON object; `json` takes integers of any size."""
    head = json.dumps(report.as_json(), indent=2)
    write(head.removesuffix("\n}") + ',\n  "rejections": [')
    separator = "\n"
    for rejection in rejections:
        write(f"{separator}    {json.dumps(vars(rejection))}")
        separator = ",\n"
    write("\n  ]\n}\n")
