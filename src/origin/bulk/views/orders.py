"""Transferring and retiring many GGOs by one order (contract: v2, Bulk transfers and retirements)."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Response

from origin.bulk.rules.limits import MAX_TARGETS, TooMany
from origin.bulk.rules.orders import BulkOrder, BulkRetirement, BulkTransfer
from origin.bulk.rules.plan import Insufficient, Item, NothingSelected, Plan, PlanChanged
from origin.bulk.rules.transfers import PercentagesAbove100, SameAccount, TakesMixed
from origin.bulk.schemas.orders import RetirementBody, TransferBody
from origin.bulk.schemas.plans import PlanSchema
from origin.bulk.service.orders import BulkOrders
from origin.compose.rules import AccountUnavailable
from origin.db.engine import Database
from origin.errors import (
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    MeteringPointUnavailable,
)
from origin.identity.authentication import current_user, requires
from origin.operations.rules import Kind, NewOperation
from origin.operations.schemas import OperationSchema
from origin.operations.service import idempotency
from origin.operations.views import LOCATION, made_response
from origin.settings import Settings
from origin.shared.limits import MAX_IDEMPOTENCY_KEY_LENGTH
from origin.web.bodies import raw_body
from origin.web.described import A_CONSUMPTION_GSRN, rejects
from origin.web.provided import provided
from origin.web.recovery_mode import rests_in_recovery
from origin.web.responses import json_response
from origin.web.v2.blueprint import Blueprint
from origin.web.v2.requests import IDEMPOTENCY_KEY, PREFER, idempotency_key

blueprint = Blueprint("bulk", __name__)

_KEY = {
    **IDEMPOTENCY_KEY,
    "required": False,
    "description": "The caller's name for this order: a repeat makes no second one. A dry run needs none",
}
_TOO_MANY = TooMany("targets", MAX_TARGETS + 1, MAX_TARGETS)
_MARCH = {"from": "2026-03-01", "to": "2026-04-01", "timeZone": "Europe/Copenhagen"}
_TRANSFER_EXAMPLES = {
    "dry_run": {
        "summary": "Plan a transfer of 1 kWh of wind power; nothing is moved",
        "value": {
            "select": {"sector": ["DK1"], "technology": ["Wind"], "period": _MARCH},
            "targets": [{"account": "bo", "reference": "PPA 7", "take": {"amount": 1000}}],
            "shortfall": "partial",
            "dryRun": True,
        },
    },
    "two_targets": {
        "summary": "Half of each GGO under one reference, a quarter under another",
        "value": {
            "select": {"period": _MARCH},
            "targets": [
                {"account": "bo", "reference": "PPA 7", "take": {"percentage": "50"}},
                {"account": "bo", "reference": "PPA 8", "take": {"percentage": "25"}},
            ],
        },
    },
}
_RETIREMENT_EXAMPLES = {
    "dry_run": {
        "summary": "Plan the retirement of all that matches; nothing is moved",
        "value": {
            "select": {"period": _MARCH},
            "against": {"gsrn": [A_CONSUMPTION_GSRN], "period": _MARCH},
            "take": {"all": True},
            "order": {"technologies": ["Solar", "Wind"]},
            "dryRun": True,
        },
    }
}


@blueprint.post("/v2/transfers")
@requires("ggo.transfer", cached=False)
@rests_in_recovery
@rejects(
    _TOO_MANY,
    TakesMixed(),
    PercentagesAbove100(),
    SameAccount([0]),
    AccountUnavailable("nobody", [0]),
    NothingSelected(),
    Insufficient(1000, 2000),
    PlanChanged(),
    IdempotencyKeyMissing(),
    IdempotencyKeyInvalid(MAX_IDEMPOTENCY_KEY_LENGTH),
)
@blueprint.doc(parameters=[_KEY, PREFER])
@blueprint.body(TransferBody, examples=_TRANSFER_EXAMPLES)
@blueprint.alt_response(200, schema=PlanSchema, description="Of a dry run: the plan", success=True)
@blueprint.response(202, OperationSchema, headers={"Location": LOCATION})
def transfer_ggos(body: tuple[BulkTransfer, bool]) -> Response:
    """Transfer many GGOs to one or several accounts.

    The order is carried out as a whole or not at all. Each GGO becomes a ledger batch of its own, which
    ends for itself: the operation tells what becomes of them. An order of more than 500 GGOs is queued.
    """
    return _answer(Kind.TRANSFER, *body)


@blueprint.post("/v2/retirements")
@requires("ggo.retire", cached=False)
@rests_in_recovery
@rejects(
    _TOO_MANY,
    MeteringPointUnavailable([A_CONSUMPTION_GSRN]),
    NothingSelected(),
    Insufficient(1000, 2000),
    PlanChanged(),
    IdempotencyKeyMissing(),
    IdempotencyKeyInvalid(MAX_IDEMPOTENCY_KEY_LENGTH),
)
@blueprint.doc(parameters=[_KEY, PREFER])
@blueprint.body(RetirementBody, examples=_RETIREMENT_EXAMPLES)
@blueprint.alt_response(200, schema=PlanSchema, description="Of a dry run: the plan", success=True)
@blueprint.response(202, OperationSchema, headers={"Location": LOCATION})
def retire_ggos(body: tuple[BulkRetirement, bool]) -> Response:
    """Retire many GGOs to the caller's own consumption.

    A GGO is retired to a measurement of its own period and sector, as far as the measurement isn't
    covered yet. Otherwise as a transfer.
    """
    return _answer(Kind.RETIREMENT, *body)


def _answer(kind: Kind, order: BulkOrder, is_dry_run: bool) -> Response:  # noqa: FBT001 - from the body
    if is_dry_run:
        return json_response(_shown(provided(BulkOrders).dry_run(current_user().id, order)))
    made, is_replay = _order_once(kind, order, idempotency_key())
    return made_response(made, is_replay=is_replay)


def _order_once(kind: Kind, order: BulkOrder, key: str) -> tuple[UUID, bool]:
    """Take the order, or return the operation that an earlier request with this key made.

    :returns: The operation's id, and whether the request is a repeat.
    """
    user, database, raw = current_user(), provided(Database), raw_body()
    lease_s = provided(Settings).lease_seconds
    hold = idempotency.take_for(database, user.id, key, raw, kind, lease_s)
    if isinstance(hold, UUID):
        return hold, True
    new = NewOperation(user.id, kind, user.client, raw.decode())
    try:
        return provided(BulkOrders).order(order, new, hold), False
    except Exception:
        idempotency.give_back(database, hold)
        raise


def _shown(plan: Plan) -> dict[str, Any]:
    """Return a plan as answers show it (`PlanSchema`)."""
    return {
        "planDigest": plan.digest,
        "totals": asdict(plan.totals),
        "byTechnology": _groups(plan.by_technology),
        "bySector": _groups(plan.by_sector),
        "byBegin": _groups(plan.by_begin),
        "sample": [_shown_item(item) for item in plan.sample],
    }


def _groups(amounts: Mapping[str, int] | Mapping[datetime, int]) -> list[dict[str, Any]]:
    return [{"name": name, "amount": amount} for name, amount in amounts.items()]


def _shown_item(item: Item) -> dict[str, Any]:
    source = item.source
    return {
        "source": {
            "address": source.address,
            "amount": source.amount,
            "begin": source.begin,
            "end": source.end,
            "sector": source.sector,
        },
        "parts": [
            {
                "kind": part.kind.value,
                "amount": part.amount,
                "account": part.account,
                "reference": part.reference,
                "gsrn": part.gsrn,
                "measurementAddress": part.measurement_address,
            }
            for part in item.parts
        ],
    }
