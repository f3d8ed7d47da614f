"""One GGO of the caller's: what has become of it, and where it comes from (contract: v2, Operations)."""

from flask import Response
from marshmallow import fields, validate

from origin.db.engine import Database
from origin.errors import NotFound
from origin.ggos.queries import by_address as queries
from origin.ggos.views.ggos import GgoSchema
from origin.identity.authentication import current_user, requires
from origin.settings import Settings
from origin.web.described import (
    A_GGO_ADDRESS,
    ADDRESS,
    AMOUNT,
    AN_OPERATION_ID,
    described,
    rejects,
)
from origin.web.provided import provided
from origin.web.schema import Schema
from origin.web.v2.blueprint import Blueprint

blueprint = Blueprint("ggos_v2", __name__)

_STATUSES = {
    "active": "it can be spent",
    "locked": "an operation of it is in flight",
    "split": "it became parts",
    "retired": "it is used up",
    "expired": "it was not spent in time",
    "blocked": (
        "it can't be spent: our keys can't sign for it, it was never sent to the ledger, or it was "
        "spent elsewhere"
    ),
}
_ADDRESS = {
    "name": "address",
    "in": "path",
    "description": "The GGO's address on the ledger",
    "schema": {"type": "string"},
    "example": A_GGO_ADDRESS,
}


class GgoChildSchema(Schema):
    """A part of a GGO. Another's part has an amount alone."""

    amount = fields.Integer(required=True, metadata=AMOUNT)
    address = fields.String(metadata=ADDRESS)


class GgoLineageSchema(Schema):
    """Where a GGO comes from, and what it became."""

    parent = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The GGO that it was split from; null: it was issued", A_GGO_ADDRESS),
    )
    root = fields.String(
        required=True,
        metadata=described("The issued GGO that it comes from, or itself", A_GGO_ADDRESS),
    )
    children = fields.List(
        fields.Nested(GgoChildSchema),
        required=True,
        metadata=described("Its parts, also while their operation is in flight"),
    )


class GgoLinksSchema(Schema):
    """Paths of this service."""

    self = fields.String(required=True, metadata=described("This GGO", f"/v2/ggos/{A_GGO_ADDRESS}"))


class OneGgoSchema(GgoSchema):
    """A GGO, what has become of it, and where it comes from."""

    status = fields.String(
        required=True,
        validate=validate.OneOf(list(_STATUSES)),
        metadata=described(
            "; ".join(f"{name}: {text}" for name, text in _STATUSES.items()), "active"
        ),
    )
    expireTime = fields.AwareDateTime(  # noqa: N815 - the wire's name
        required=True,
        metadata=described("From when on it can't be spent, in UTC", "2031-01-31T13:00:00+00:00"),
    )
    createdAt = fields.AwareDateTime(  # noqa: N815
        required=True,
        metadata=described(
            "When it became known here; of a part, when its operation was accepted",
            "2026-02-01T06:00:00+00:00",
        ),
    )
    lineage = fields.Nested(
        GgoLineageSchema,
        required=True,
        metadata=described("Where it comes from and what it became"),
    )
    operation = fields.UUID(
        required=True,
        allow_none=True,
        metadata=described(
            "The id of the operation that spends it; null: none does", AN_OPERATION_ID
        ),
    )
    links = fields.Nested(
        GgoLinksSchema, required=True, metadata=described("Where more about it is")
    )


@blueprint.get("/v2/ggos/<address>", parameters=[_ADDRESS])
@requires("ggo.read")
@rejects(NotFound())
@blueprint.query()
@blueprint.response(200, OneGgoSchema)
def get_ggo(address: str) -> Response:
    """Show a GGO that is or was the caller's.

    A GGO that was split stays visible to its owner; of its parts, those of others show their amount
    alone. What is on its way to the caller is visible once the ledger has committed it.
    """
    # PostgreSQL stores no text with a NUL.
    if "\0" in address:
        raise NotFound
    found = queries.find(
        provided(Database),
        current_user().id,
        address,
        ledger_enabled=provided(Settings).ledger_enabled,
    )
    if found is None:
        raise NotFound
    return Response(found, mimetype="application/json")
