"""The command for operators after a restore: `flask ledger recover` (doc/operations/backup-and-restore.md)."""

import sys
from datetime import UTC, datetime

import click

from origin.cli.ledger import DIFFERENCES, INCOMPLETE, exits_2_on_errors, ledger
from origin.cli.output import (
    ProgressLine,
    ReportFile,
    print_table,
    report_option,
    reports_errors,
)
from origin.errors import CannotRecover, PeerError
from origin.intake.rules.key_indexes import RECOVERY_MARGIN
from origin.maintenance.service.secret_changes import SecretChanges
from origin.recovery.service import recover as recovery
from origin.recovery.service.recover import RecoveryOptions, RecoveryService
from origin.recovery.service.report import Report
from origin.settings import Settings
from origin.web.provided import provided

_COUNTS = (
    ("Metering points that the database had lost", "points"),
    ("GGOs that were issued since the backup", "issued"),
    ("GGOs compared with the ledger", "ggos"),
    ("Spent GGOs restored", "mended"),
    ("Parts of these", "parts"),
    ("Wh in these parts", "parts_wh"),
    ("Batches completed: the ledger had committed them", "completed"),
    ("Batches declined: their addresses are in use", "declined"),
    ("Users for whom DataHub could not be asked", "not_asked"),
    ("GGOs that were never sent: the ledger was switched off", "never_sent"),
    ("GGOs on the ledger that are not ours, or of a lost key", "unmatched"),
    ("Wh in these GGOs", "unmatched_wh"),
    ("Other differences", "differing"),
)


@ledger.command("recover")
@click.option("--dry-run", "is_dry", is_flag=True, help="Change nothing; show what would be done.")
@click.option(
    "--continue", "goes_on", is_flag=True, help="Continue where the last one was stopped."
)
@click.option(
    "--margin",
    type=click.IntRange(min=0),
    default=RECOVERY_MARGIN,
    show_default=True,
    help="How far to move users' key indexes beyond the highest that was found.",
)
@click.option(
    "--reach",
    type=click.IntRange(min=1),
    default=recovery.REACH,
    show_default=True,
    help="How many unused key indexes in a row to try, for each user.",
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Ask DataHub only for GGOs that begin on this day (UTC) or later. Default: all.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=recovery.CALLS_PER_SECOND,
    show_default=True,
    help="Calls of the ledger a second, at most.",
)
@report_option
@exits_2_on_errors
@reports_errors
def recover(
    *,
    is_dry: bool,
    goes_on: bool,
    margin: int,
    reach: int,
    since: datetime | None,
    rate: float,
    report_file: ReportFile | None,
) -> None:
    """Bring a restored database in step with DataHub and the ledger.

    Use it after a restore from a backup, or the promotion of a standby that lagged. Set
    RECOVERY_MODE=1 for web and workers first. It may be stopped at any time, and run again. Ends with
    status 0 if all is in step, 1 if something differs or could not be recovered (a dry run: also if
    it would change something), 2 if not everything could be compared.
    """
    provided(SecretChanges).check_start()
    if not (is_dry or provided(Settings).recovery_mode):
        click.echo("RECOVERY_MODE isn't set here: set it for web and workers as well.", err=True)
    if not provided(Settings).ledger_enabled:
        click.echo(
            "LEDGER_ENABLED=0: what was composed since the backup can't be restored.", err=True
        )
    options = RecoveryOptions(
        is_dry=is_dry,
        goes_on=goes_on,
        margin=margin,
        reach=reach,
        calls_per_second=rate,
        **({} if since is None else {"since": since.replace(tzinfo=UTC)}),
    )
    report = Report(is_dry)
    try:
        provided(RecoveryService).recover(options, report, ProgressLine())
    except PeerError as error:
        click.echo(f"Couldn't compare everything: {error}. Run it again.", err=True)
    except CannotRecover:
        raise
    except BaseException:
        # Interrupted, or the database is away: what was done by then stays.
        _show(report, report_file)
        raise
    _show(report, report_file)
    if not report.complete:
        sys.exit(INCOMPLETE)
    if report.differs:
        sys.exit(DIFFERENCES)


def _show(report: Report, report_file: ReportFile | None) -> None:
    if report_file is not None:
        report_file.write(report.as_json())
        if report_file.is_stdout:
            return
    if report.is_dry:
        click.echo("A dry run: nothing was changed.\n")
    print_table(("FOUND", "COUNT"), [(words, report.counts[name]) for words, name in _COUNTS])
    for name, entries in (
        ("METERING POINT", report.points),
        ("USER NOT ASKED FOR", report.not_asked),
        ("NOT OURS OR LOST KEY", report.unmatched),
        ("DIFFERS", report.differing),
    ):
        if entries:
            click.echo()
            print_table((name, *(key.upper() for key in list(entries[0])[1:])), map(_row, entries))


def _row(entry: dict[str, object]) -> tuple[object, ...]:
    return tuple(entry.values())
