"""Operations: what became of the caller's orders (contract: v2, Operations)."""

from typing import Any
from uuid import UUID

import orjson
from flask import Response

from origin.batches.client.sdk import transaction_ids
from origin.errors import CursorInvalid, NotFound
from origin.identity.authentication import check_scopes, current_user, requires
from origin.operations.queries.operations import ItemRow, OperationFilter, OperationRow
from origin.operations.rules import AlreadyFinal, AlreadyPlanned, ItemStatus, Kind
from origin.operations.schemas import (
    ItemsQuery,
    OperationItemList,
    OperationList,
    OperationSchema,
    OperationsQuery,
)
from origin.operations.service.operations import Operations
from origin.web.described import rejects
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.web.v2.blueprint import Blueprint
from origin.web.v2.pages import page_of
from origin.web.v2.requests import PREFER, id_in_path, id_parameter, preferred_wait_s

blueprint = Blueprint("operations", __name__)

LOCATION = {
    "description": "The path of the operation, which tells what becomes of the order",
    "schema": {"type": "string", "format": "uri-reference"},
}
"""The header's description, for `headers` of `@blueprint.response`."""

_ID = id_parameter("operation_id", "The operation's id")
_SCOPES = {
    Kind.COMPOSE: ("ggo.transfer", "ggo.retire"),
    Kind.TRANSFER: ("ggo.transfer",),
    Kind.RETIREMENT: ("ggo.retire",),
}
"""The scopes that ordering, and so cancelling, needs."""


def location_of(operation_id: UUID) -> str:
    """Return the path of an operation."""
    return f"/v2/operations/{operation_id}"


def shown(operation: OperationRow) -> orjson.Fragment:
    """Return an operation as answers show it (`OperationSchema`)."""
    return orjson.Fragment(operation.document)


def made_response(operation_id: UUID, *, is_replay: bool) -> Response:
    """Return the answer of a POST of version 2 that makes operations: `202` with the operation.

    It waits as the request prefers (`Prefer: wait`).

    :param operation_id: Of the caller's.
    :param is_replay: An earlier request with the same Idempotency-Key made it.
    """
    found = provided(Operations).get(current_user().id, operation_id, preferred_wait_s())
    response = _operation_response(found, 202)
    response.headers["Location"] = location_of(operation_id)
    if is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _operation_response(operation: OperationRow, status: int = 200) -> Response:
    return Response(operation.document, status, mimetype="application/json")


@blueprint.get("/v2/operations")
@requires("ggo.read")
@rejects(CursorInvalid())
@blueprint.query(OperationsQuery)
@blueprint.response(200, OperationList)
def list_operations(query: dict[str, Any]) -> Response:
    """List the caller's operations, newest first.

    `from` and `to` mean when they were ordered. A page has fewer results than `limit` where their
    requests are long.
    """
    user = current_user()
    page = page_of(user.subject, query)
    wanted = OperationFilter(
        kinds=query["kind"],
        statuses=query["status"],
        begin=query["period"].begin,
        end=query["period"].end,
        idempotency_key=query["idempotency_key"],
    )
    after: Any = page.after
    rows, has_more = provided(Operations).page(user.id, wanted, after, page.limit)
    return page.response(rows, lambda row: (row.created_at, row.id), shown, has_more=has_more)


@blueprint.get("/v2/operations/<operation_id>", parameters=[_ID])
@requires("ggo.read")
@rejects(NotFound())
@blueprint.doc(parameters=[PREFER])
@blueprint.query()
@blueprint.response(200, OperationSchema)
def get_operation(operation_id: str) -> Response:
    """Show what has become of an order.

    With `Prefer: wait=N` the answer comes as soon as the operation is final, at the latest after N
    seconds.
    """
    wanted = id_in_path(operation_id)
    return _operation_response(
        provided(Operations).get(current_user().id, wanted, preferred_wait_s())
    )


@blueprint.get("/v2/operations/<operation_id>/items", parameters=[_ID])
@requires("ggo.read")
@rejects(NotFound(), CursorInvalid())
@blueprint.query(ItemsQuery)
@blueprint.response(200, OperationItemList)
def list_operation_items(query: dict[str, Any], operation_id: str) -> Response:
    """List the GGOs that an operation spends, in the order of its plan.

    Each ends for itself. An operation that is not planned has none.
    """
    wanted = id_in_path(operation_id)
    user = current_user()
    page = page_of(user.subject, query)
    after: Any = page.after[0] if page.after else -1
    rows = provided(Operations).items(user.id, wanted, query["status"], after, page.limit + 1)
    return page.response(rows, lambda row: (row.sequence,), _shown_item)


@blueprint.post("/v2/operations/<operation_id>/cancel", parameters=[_ID])
@requires("ggo.transfer", "ggo.retire", cached=False, any_of=True)
@rests_in_recovery
@rejects(NotFound(), AlreadyPlanned(), AlreadyFinal())
@blueprint.body()
@blueprint.response(200, OperationSchema)
def cancel_operation(operation_id: str) -> Response:
    """Cancel an operation that is still queued.

    A transfer needs the scope `ggo.transfer`, a retirement `ggo.retire`, a compose both.
    """
    wanted = id_in_path(operation_id)
    user = current_user()
    operations = provided(Operations)
    check_scopes(_SCOPES[operations.get(user.id, wanted).kind])
    return _operation_response(operations.cancel(user.id, wanted))


def _shown_item(item: ItemRow) -> dict[str, Any]:
    """Return an item as answers show it (`OperationItemSchema`)."""
    is_declined = item.status is ItemStatus.DECLINED
    return {
        "sequence": item.sequence,
        "status": item.status,
        "source": _json(item.source),
        "parts": _json(item.parts),
        "ledger": {
            "batchId": item.ledger_batch_id,
            "transactionIds": []
            if item.signed_batch is None
            else transaction_ids(item.signed_batch),
            "submittedAt": _json(item.submitted_at),
            "endedAt": _json(item.ended_at),
            "posts": item.posts,
        },
        "refusal": {"code": "ledger_refused", "ledgerMessage": item.last_error}
        if is_declined
        else None,
    }


def _json(text: str | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
