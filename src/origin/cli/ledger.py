"""Commands about the ledger for operators: `flask ledger status`, `batch`, `decline`, `reconcile`."""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, BinaryIO, ParamSpec

import click
import orjson
from flask.cli import AppGroup

from origin.batches.service import reports
from origin.batches.service.take_over import TakeOver
from origin.cli.output import print_table, reports_errors
from origin.db.engine import Database
from origin.db.models import LedgerDifference
from origin.errors import PeerError
from origin.reconciliation.service import reconcile as reconciliation
from origin.reconciliation.service.reconcile import Reconciliation
from origin.reconciliation.service.repair import Repairs
from origin.web.provided import provided

DIFFERENCES, INCOMPLETE = 1, 2
"""Exit statuses: something differs; not everything could be compared. 0: nothing differs."""

SHOWN_NEVER_SENT = 20
"""Differences of the kind `never_sent` that are printed. There may be a million."""

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
@exits_2_on_errors
@reports_errors
def status() -> None:
    """Show batches under way, the latest reconciliation runs, and known differences.

    Ends with status 0 if there are no differences, 1 if there are, 2 on errors.
    """
    print_table(
        ("BATCHES", "COUNT", "DUE", "ATTEMPTS (MOST)", "OLDEST"),
        [
            (_kind(row), row.count, row.due, row.attempts, row.oldest)
            for row in reports.batches_under_way(provided(Database))
        ],
    )
    click.echo()
    print_table(
        ("RUN", "BEGUN", "ENDED", "GGOS", "UP TO", "LAST ERROR"),
        [
            (run.id, run.started_at, run.finished_at, run.ggos, run.cursor, run.last_error)
            for run in provided(Reconciliation).last_runs()
        ],
    )
    click.echo()
    if _show_differences():
        sys.exit(DIFFERENCES)


@ledger.command("batch")
@click.argument("batch_id")
@reports_errors
def batch(batch_id: str) -> None:
    """Show the whole history of a batch.

    BATCH_ID is our id or the ledger's, or the address of a GGO that the batch spends or made.
    """
    found = reports.history(provided(Database), batch_id)
    row = found.batch
    click.echo(f"Batch {row.id}: {row.state}, of {row.subject}")
    click.echo(f"On the ledger: {row.ledger_batch_id or _why_unsigned(row)}")
    if row.adopted_at is not None:
        original = row.original_batch_id or "no id is known"
        click.echo(f"Adopted from the original service; its batch on the ledger: {original}")
    click.echo(f"Source: {row.address}, {row.amount} Wh")
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


def _kind(row: Any) -> str:
    """Return the state of batches under way, and whether they are adopted and not signed yet."""
    return f"{row.state} (adopted, not signed yet)" if row.is_adopted_unsigned else str(row.state)


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
@click.option(
    "--json",
    "json_file",
    type=click.File("wb", lazy=False),
    help="Write the report to this file, too, as JSON.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=reconciliation.CALLS_PER_SECOND,
    show_default=True,
    help="Calls of the ledger a second, at most.",
)
@exits_2_on_errors
@reports_errors
def reconcile(*, repair: bool, anew: bool, json_file: BinaryIO | None, rate: float) -> None:
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
        _report(json_file, complete=False)
        sys.exit(INCOMPLETE)
    if _report(json_file, complete=True):
        sys.exit(DIFFERENCES)


def _run(*, anew: bool, rate: float) -> None:
    with click.progressbar(length=1, label="Comparing") as bar:
        for progress in provided(Reconciliation).run(anew=anew, calls_per_second=rate):
            bar.length = max(progress.total, 1)
            bar.pos = progress.done
            bar.update(0)


def _report(json_file: BinaryIO | None, *, complete: bool) -> bool:
    """Print and write the known differences; return whether there are any."""
    if json_file is not None:
        differing = [_json(each) for each in provided(Reconciliation).open_differences()]
        body = {"complete": complete, "differences": differing}
        json_file.write(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    return _show_differences()


def _json(difference: LedgerDifference) -> dict[str, Any]:
    names = ("kind", "address", "ggo_id", "batch_id", "detail", "repair")
    times = ("first_seen_at", "last_seen_at")
    return {name: getattr(difference, name) for name in (*names, *times)}


def _show_differences() -> bool:
    """Print the known differences, some of the kind `never_sent`; return whether there are any."""
    found = provided(Reconciliation).open_differences(never_sent=SHOWN_NEVER_SENT)
    if not found:
        click.echo("No differences are known.")
        return False
    print_table(
        ("DIFFERENCE", "GGO", "ADDRESS", "BATCH", "FIRST SEEN", "DETAIL", "REPAIR"),
        [
            (
                each.kind,
                each.ggo_id,
                each.address,
                each.batch_id,
                each.first_seen_at,
                each.detail,
                each.repair,
            )
            for each in found
        ],
    )
    never_sent = provided(Reconciliation).count_never_sent()
    if never_sent > SHOWN_NEVER_SENT:
        click.echo(
            f"{never_sent} GGOs were never sent to the ledger, of which {SHOWN_NEVER_SENT} are shown; "
            "`flask ledger reconcile --json FILE` writes all."
        )
    return True
