"""Commands about the ledger for operators: `flask ledger status`, `batch`, `decline`, `reconcile`."""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import click
from flask.cli import AppGroup

from origin.batches.service import reports
from origin.batches.service.take_over import TakeOver
from origin.cli.output import (
    Entry,
    ReportFile,
    as_json_option,
    entries_of,
    entry_of,
    print_entries,
    print_json,
    print_table,
    report_option,
    reports_errors,
)
from origin.db.engine import Database
from origin.db.models import LedgerDifference, ReconciliationRun
from origin.errors import PeerError
from origin.reconciliation.service import reconcile as reconciliation
from origin.reconciliation.service.reconcile import Reconciliation
from origin.reconciliation.service.repair import Repairs
from origin.web.provided import provided

DIFFERENCES, INCOMPLETE = 1, 2
"""Exit statuses: something differs; not everything could be compared. 0: nothing differs."""

SHOWN_NEVER_SENT = 20
"""Differences of the kind `never_sent` that are printed. There may be a million."""

DIFFERENCE_HEADINGS = {
    "DIFFERENCE": "kind",
    "GGO": "ggo_id",
    "ADDRESS": "address",
    "BATCH": "batch_id",
    "FIRST SEEN": "first_seen_at",
    "DETAIL": "detail",
    "REPAIR": "repair",
}

P = ParamSpec("P")

log = logging.getLogger(__name__)

ledger = AppGroup("ledger", help="Batches under way, and differences from the ledger.")


def exits_2_on_errors(command: Callable[P, None]) -> Callable[P, None]:
    """End with status 2 on errors, as 1 says that something differs."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except click.ClickException as error:
            error.show()
            sys.exit(INCOMPLETE)
        except KeyboardInterrupt:
            click.echo("Stopped; the next one continues from here.", err=True)
            sys.exit(INCOMPLETE)
        except Exception:
            # Python's own status for it, 1, would say that all is done.
            log.exception("The command failed", extra={"event": "command.failed"})
            sys.exit(INCOMPLETE)

    return run


@ledger.command("status")
@as_json_option
@exits_2_on_errors
@reports_errors
def status(*, as_json: bool) -> None:
    """Show batches under way, the latest reconciliation runs, and known differences.

    Ends with status 0 if there are no differences, 1 if there are, 2 on errors.
    """
    batches = entries_of(reports.batches_under_way(provided(Database)))
    runs = [_run_entry(run) for run in provided(Reconciliation).last_runs()]
    if as_json:
        differing = _differences(never_sent=None)
        print_json({"batches": batches, "runs": runs, "differences": differing})
        sys.exit(DIFFERENCES if differing else 0)
    print_table(
        ("BATCHES", "COUNT", "DUE", "ATTEMPTS (MOST)", "OLDEST"),
        [
            (_kind(each), each["count"], each["due"], each["attempts"], each["oldest"])
            for each in batches
        ],
    )
    click.echo()
    print_entries(
        runs,
        {
            "RUN": "id",
            "BEGUN": "started_at",
            "ENDED": "finished_at",
            "GGOS": "ggos",
            "UP TO": "cursor",
            "LAST ERROR": "last_error",
        },
    )
    click.echo()
    if _show_differences():
        sys.exit(DIFFERENCES)


def _run_entry(run: ReconciliationRun) -> Entry:
    names = ("id", "started_at", "finished_at", "ggos", "cursor", "last_error")
    return {name: getattr(run, name) for name in names}


@ledger.command("batch")
@click.argument("batch_id")
@as_json_option
@reports_errors
def batch(batch_id: str, *, as_json: bool) -> None:
    """Show the whole history of a batch.

    BATCH_ID is our id or the ledger's, or the address of a GGO that the batch spends or made.
    """
    found = reports.history(provided(Database), batch_id)
    row = found.batch
    if as_json:
        print_json(_history(found))
        return
    click.echo(f"Batch {row.id}: {row.state}, of {row.subject}")
    click.echo(f"On the ledger: {row.ledger_batch_id or _why_unsigned(row)}")
    if row.adopted_at is not None:
        original = row.original_batch_id or "no id is known"
        click.echo(f"Adopted from the original service; its batch on the ledger: {original}")
    click.echo(f"Source: {row.address}, {row.amount} Wh")
    click.echo(f"Operation: {row.operation_id or 'not made yet'}")
    posts = f"{row.posts} begun, {row.refused_posts} refused, {row.unarrived_posts} never arrived"
    click.echo(f"POSTs: {posts}\n")
    events = [
        (row.created_at, "composed", None),
        *([(row.adopted_at, "adopted", row.original_batch_id)] if row.adopted_at else []),
        *([(row.submitted_at, "taken by the ledger", None)] if row.submitted_at else []),
        *((each.at, each.event, each.detail) for each in found.events),
        *([(row.ended_at, row.state, row.last_error)] if row.ended_at else []),
        *([(row.next_attempt_at, "due", row.last_error)] if row.next_attempt_at else []),
    ]
    print_table(("AT", "EVENT", "DETAIL"), sorted(events, key=lambda event: event[0]))
    click.echo()
    print_table(
        ("PART", "WH", "OWNER", "RETIRED TO"),
        [(each.address, each.amount, each.subject, each.retire_gsrn) for each in found.parts],
    )


def _history(found: reports.History) -> dict[str, Any]:
    """Return a batch's history as JSON has it, without the parts that a rollback deleted."""
    batch = entry_of(found.batch)
    del batch["undone"]
    return {
        **batch,
        "operations": entries_of(found.operations),
        "parts": entries_of(found.parts),
        "events": entries_of(found.events),
    }


@ledger.command("decline")
@click.argument("batch_id", type=int)
@reports_errors
def decline(batch_id: int) -> None:
    """Decline an adopted batch that nothing can execute, and roll its effects back.

    The batch must not be signed, and the ledger must not have its source, or be switched off
    (LEDGER_ENABLED=0). BATCH_ID is our id.
    """
    provided(TakeOver).decline(batch_id)
    click.echo(f"Batch {batch_id} is declined; its effects are rolled back.")


def _kind(entry: Entry) -> str:
    """Return the state of batches under way, and whether they are adopted and not signed yet."""
    return f"{entry['state']}{' (adopted, not signed yet)' if entry['is_adopted_unsigned'] else ''}"


def _why_unsigned(row: Any) -> str:
    """Return why this service has not signed a batch."""
    if row.never_sent:
        return (
            "never sent to the ledger: it was completed while the ledger was switched off, "
            "here or by the original service"
        )
    if row.ended_at is not None:
        return "ended without being signed here"
    return "not signed yet" if row.adopted_at is None else "adopted, not signed yet"


@ledger.command("reconcile")
@click.option("--repair", is_flag=True, help="Repair what is safe to repair, and compare it again.")
@click.option(
    "--anew", is_flag=True, help="Begin at the first GGO, not where the last run stopped."
)
@report_option
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=reconciliation.CALLS_PER_SECOND,
    show_default=True,
    help="Calls of the ledger a second, at most.",
)
@exits_2_on_errors
@reports_errors
def reconcile(*, repair: bool, anew: bool, report_file: ReportFile | None, rate: float) -> None:
    """Compare all GGOs, batches and retirements with the ledger.

    It may be stopped at any time; the next one continues from there. Ends with status 0 if nothing
    differs, 1 if something does, 2 if not everything could be compared.
    """
    try:
        _run(anew=anew, rate=rate)
        if repair and provided(Repairs).repair_all():
            provided(Reconciliation).compare_again(calls_per_second=rate)
    except PeerError as error:
        click.echo(f"Couldn't compare everything: {error}", err=True)
        _report(report_file, complete=False)
        sys.exit(INCOMPLETE)
    if _report(report_file, complete=True):
        sys.exit(DIFFERENCES)


def _run(*, anew: bool, rate: float) -> None:
    # Standard output may be the JSON report.
    with click.progressbar(length=1, label="Comparing", file=sys.stderr) as bar:
        for progress in provided(Reconciliation).run(anew=anew, calls_per_second=rate):
            bar.length = max(progress.total, 1)
            bar.pos = progress.done
            bar.update(0)


def _report(report_file: ReportFile | None, *, complete: bool) -> bool:
    """Print and write the known differences; return whether there are any."""
    if report_file is None:
        return _show_differences()
    differing = _differences(never_sent=None)
    report_file.write({"complete": complete, "differences": differing})
    if not report_file.is_stdout:
        _show_differences()
    return bool(differing)


def _differences(*, never_sent: int | None) -> list[Entry]:
    """Return the known differences as entries, at most `never_sent` of that kind; None: all."""
    found = provided(Reconciliation).open_differences(never_sent=never_sent)
    return [difference_entry(each) for each in found]


def difference_entry(difference: LedgerDifference) -> Entry:
    """Return a difference as an entry of a list."""
    names = ("id", "kind", "address", "ggo_id", "batch_id", "detail", "repair")
    times = ("first_seen_at", "last_seen_at")
    return {name: getattr(difference, name) for name in (*names, *times)}


def _show_differences() -> bool:
    """Print the known differences, some of the kind `never_sent`; return whether there are any."""
    found = _differences(never_sent=SHOWN_NEVER_SENT)
    if not found:
        click.echo("No differences are known.")
        return False
    print_entries(found, DIFFERENCE_HEADINGS)
    never_sent = provided(Reconciliation).count_never_sent()
    if never_sent > SHOWN_NEVER_SENT:
        click.echo(
            f"{never_sent} GGOs were never sent to the ledger, of which {SHOWN_NEVER_SENT} are shown; "
            "`flask ledger differences` lists all."
        )
    return True
