"""Splitting a GGO into transfers and retires (contract: http-api.md, `POST /ggo/compose`)."""

from flask import Response, request

from origin.compose.rules import Order
from origin.compose.schemas import ComposeRequest, DoneResponse
from origin.compose.service import idempotency
from origin.compose.service.compose import Composer
from origin.db.engine import Database
from origin.errors import IdempotencyKeyInvalid, Rejected
from origin.identity.authentication import current_user, requires
from origin.settings import Settings
from origin.web.blueprint import Blueprint
from origin.web.bodies import raw_body
from origin.web.errors import worded
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.web.responses import json_response

blueprint = Blueprint("compose", __name__)

MAX_IDEMPOTENCY_KEY_LENGTH = 255

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body within 24 hours gets the first answer again",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH},
}
_DONE = {"success": True, "message": None}


@blueprint.post("/ggo/compose")
@blueprint.post("/compose")
@requires("ggo.transfer", "ggo.retire", cached=False)
@rests_in_recovery
@blueprint.doc(parameters=[_IDEMPOTENCY_KEY])
@blueprint.arguments(ComposeRequest)
@blueprint.response(200, DoneResponse)
def compose_ggo(order: Order) -> Response:
    """Split a GGO into transfers and retires."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        provided(Composer).compose(current_user().id, order)
        return json_response(_DONE)
    return _compose_once(key, order)


def _compose_once(key: str, order: Order) -> Response:
    """Compose under an Idempotency-Key, or repeat the answer that it had."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH:
        raise IdempotencyKeyInvalid(MAX_IDEMPOTENCY_KEY_LENGTH)
    user_id = current_user().id
    database = provided(Database)
    lease_s = provided(Settings).lease_seconds
    hold = idempotency.take(database, user_id, key, raw_body(), lease_s)
    if isinstance(hold, idempotency.StoredResponse):
        return json_response(hold.body, hold.status)
    done = idempotency.StoredResponse(200, _DONE)
    try:
        provided(Composer).compose(
            user_id, order, lambda connection: idempotency.answer(connection, hold, done)
        )
    except Rejected as error:
        rejected = worded(error)
        with database.raw_connection() as connection:
            idempotency.answer(
                connection, hold, idempotency.StoredResponse(rejected.status, rejected.body)
            )
        raise
    except Exception:
        idempotency.give_back(database, hold)
        raise
    return json_response(_DONE)
