"""Splitting a GGO into transfers and retires (contract: http-api.md, `POST /ggo/compose`)."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, request

from origin.compose.queries.compose import SentCompose
from origin.compose.rules import (
    AccountUnavailable,
    AmountExceedsAvailable,
    GgoUnavailable,
    HeadroomExceeded,
    MeasurementUnavailable,
    MeasurementUnfit,
    NothingOrdered,
    Order,
    UnknownRecipients,
)
from origin.compose.schemas import ComposeRequest, DoneResponse
from origin.compose.service.compose import Composer
from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.errors import IdempotencyKeyInvalid, MeteringPointUnavailable, Rejected
from origin.identity.authentication import current_user, requires
from origin.operations.rules import Hold
from origin.operations.service import idempotency
from origin.operations.service.idempotency import StoredResponse
from origin.operations.views import LOCATION, location_of
from origin.settings import Settings
from origin.shared.limits import MAX_IDEMPOTENCY_KEY_LENGTH
from origin.web.blueprint import Blueprint
from origin.web.bodies import raw_body
from origin.web.described import A_CONSUMPTION_GSRN, A_GGO_ADDRESS, rejects
from origin.web.errors import worded
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.web.responses import json_response

blueprint = Blueprint("compose", __name__)

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body within 24 hours gets the first answer again",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH},
}
_DONE = {"success": True, "message": None}
_TRANSFER = {"amount": 100, "reference": "wind", "account": "bo"}
_RETIRE = {"amount": 50, "gsrn": A_CONSUMPTION_GSRN}
_EXAMPLES = {
    "transfer": {
        "summary": "Transfer 100 Wh; the rest stays with the caller",
        "value": {"address": A_GGO_ADDRESS, "transfers": [_TRANSFER], "retires": []},
    },
    "retire": {
        "summary": "Retire 50 Wh to the caller's own consumption",
        "value": {"address": A_GGO_ADDRESS, "transfers": [], "retires": [_RETIRE]},
    },
    "both": {
        "summary": "Transfer a part and retire a part, both or none",
        "value": {"address": A_GGO_ADDRESS, "transfers": [_TRANSFER], "retires": [_RETIRE]},
    },
}


@blueprint.post("/ggo/compose")
@blueprint.post("/compose")
@requires("ggo.transfer", "ggo.retire", cached=False)
@rests_in_recovery
@rejects(
    NothingOrdered(),
    AmountExceedsAvailable(),
    GgoUnavailable(A_GGO_ADDRESS),
    UnknownRecipients({0: "nobody"}),
    AccountUnavailable("bo"),
    MeteringPointUnavailable([A_CONSUMPTION_GSRN]),
    MeasurementUnavailable(A_CONSUMPTION_GSRN, datetime(2026, 1, 31, 12, tzinfo=UTC)),
    MeasurementUnfit("5a9839" + "7a" * 32),
    HeadroomExceeded(200, 300),
    IdempotencyKeyInvalid(MAX_IDEMPOTENCY_KEY_LENGTH),
)
@blueprint.doc(parameters=[_IDEMPOTENCY_KEY])
@blueprint.arguments(ComposeRequest, examples=_EXAMPLES)
@blueprint.response(200, DoneResponse, example=_DONE, headers={"Location": LOCATION})
def compose_ggo(order: Order) -> Response:
    """Split a GGO into transfers and retirements.

    Each transfer's amount goes to another account, each retirement's amount is retired to the caller's
    own consumption, and the rest stays with the caller. All of it is done or nothing. Every answer
    shows the effects at once. The ledger confirms them later, or refuses them: then they are rolled
    back.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        operation_id = provided(Composer).compose(current_user().id, order, _as_sent())
        return _done(_DONE, 200, operation_id)
    return _compose_once(key, order)


def _as_sent(hold: Hold | None = None) -> SentCompose:
    """Return what the operation tells of the current request.

    :param hold: Of its Idempotency-Key, if it has one.
    """
    body, client = raw_body().decode(), current_user().client
    if hold is None:
        return SentCompose(body, client)
    return SentCompose(body, client, hold.key, hold.request_hash)


def _done(body: dict[str, Any], status: int, operation_id: UUID | None) -> Response:
    response = json_response(body, status)
    if operation_id is not None:
        response.headers["Location"] = location_of(operation_id)
    return response


def _compose_once(key: str, order: Order) -> Response:
    """Compose under an Idempotency-Key, or repeat the answer that it had."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise IdempotencyKeyInvalid(MAX_IDEMPOTENCY_KEY_LENGTH)
    user_id = current_user().id
    database = provided(Database)
    lease_s = provided(Settings).lease_seconds
    hold = idempotency.take(database, user_id, key, raw_body(), lease_s)
    if isinstance(hold, StoredResponse):
        return _done(hold.body, hold.status, hold.operation_id)

    def answer(connection: RawConnection, made: UUID) -> None:
        idempotency.answer(connection, hold, StoredResponse(200, _DONE, made))

    try:
        operation_id = provided(Composer).compose(user_id, order, _as_sent(hold), answer)
    except Rejected as error:
        rejected = worded(error)
        with database.raw_connection() as connection:
            idempotency.answer(connection, hold, StoredResponse(rejected.status, rejected.body))
        raise
    except Exception:
        idempotency.give_back(database, hold)
        raise
    return _done(_DONE, 200, operation_id)
