"""Commands about operations for operators: `flask operations show`."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import click
import orjson
from flask.cli import AppGroup

from origin.cli.output import as_json_option, one_line, print_json, print_table, reports_errors
from origin.errors import NotFound
from origin.operations.queries.operations import ItemRow
from origin.operations.service.operations import OperationReport, Operations
from origin.web.provided import provided

operations = AppGroup("operations", help="Operations: what became of an order.")


@operations.command("show")
@click.argument("operation_id", type=click.UUID)
@as_json_option
@reports_errors
def show(operation_id: UUID, *, as_json: bool) -> None:
    """Show an operation, its planning, and each GGO that it spends.

    OPERATION_ID is the id that the API has. `flask ledger batch` shows the history of each batch.
    """
    try:
        report = provided(Operations).report(operation_id)
    except NotFound:
        raise click.ClickException(f"There is no operation {operation_id}") from None
    document = orjson.loads(report.operation.document)
    if as_json:
        print_json({**document, "planning": _planning(report), "items": _items(report.items)})
    else:
        _print(document, report)


def _planning(report: OperationReport) -> dict[str, Any] | None:
    planning = report.planning
    if planning is None:
        return None
    return {
        "nextAttemptAt": planning.next_attempt_at,
        "attempts": planning.attempts,
        "lastError": planning.last_error,
    }


def _items(items: Sequence[ItemRow]) -> list[dict[str, Any]]:
    return [
        {
            "sequence": each.sequence,
            "status": each.status,
            "batch": each.batch_id,
            "ledgerBatchId": each.ledger_batch_id,
            "source": orjson.loads(each.source),
            "parts": orjson.loads(each.parts),
            "posts": each.posts,
            "lastError": each.last_error,
        }
        for each in items
    ]


def _print(document: Mapping[str, Any], report: OperationReport) -> None:
    actor, totals = document["actor"], document["totals"]
    client = f", by the client {actor['client']}" if actor["client"] else ""
    click.echo(f"Operation {document['id']}: {document['status']}")
    ordered = f"{document['kind']} of {actor['subject']}{client}, ordered {document['createdAt']}"
    click.echo(one_line(ordered))
    click.echo(
        f"Accepted: {document['acceptedAt'] or '-'}; final: {document['completedAt'] or '-'}"
    )
    click.echo(f"Idempotency-Key: {one_line(document['idempotencyKey'] or '-')}")
    names = ("requested", "planned", "pending", "completed", "declined")
    amounts = (f"{name} {'-' if totals[name] is None else totals[name]}" for name in names)
    click.echo(f"Wh: {', '.join(amounts)}")
    if refusal := document["refusal"]:
        click.echo(one_line(f"Refused: {refusal['code']}: {refusal['detail']}"))
    if report.planning is not None:
        click.echo("\nPlanning:")
        planning = report.planning
        print_table(
            ("NEXT ATTEMPT", "ATTEMPTS", "LAST ERROR"),
            [(planning.next_attempt_at, planning.attempts, planning.last_error)],
        )
    click.echo()
    print_table(
        ("ITEM", "STATUS", "BATCH", "SOURCE", "WH", "POSTS", "LAST ERROR"),
        [_line(each) for each in report.items],
    )


def _line(item: ItemRow) -> tuple[Any, ...]:
    source = orjson.loads(item.source)
    return (
        item.sequence,
        item.status,
        item.batch_id,
        source["address"],
        source["amount"],
        item.posts,
        item.last_error,
    )
