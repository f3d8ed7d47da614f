"""The answer to a dry run."""

from typing import Any

from marshmallow import fields

from origin.bulk.rules.limits import MAX_SOURCES
from origin.bulk.schemas.orders import DIGEST
from origin.operations.schemas import ItemSourceSchema, PartSchema
from origin.web.described import AMOUNT, described
from origin.web.schema import Schema


class PlanTotalsSchema(Schema):
    """Sums of a plan."""

    selected = fields.Integer(
        required=True, metadata=described("All GGOs that are selected, in Wh", 3_000_000)
    )
    requested = fields.Integer(
        required=True, metadata=described("What is asked for, in Wh", 2_000_000)
    )
    planned = fields.Integer(
        required=True, metadata=described("What would be moved, in Wh", 2_000_000)
    )
    short = fields.Integer(required=True, metadata=described("What is missing, in Wh", 0))
    ggos = fields.Integer(required=True, metadata=described("How many GGOs are used", 12))
    splits = fields.Integer(
        required=True, metadata=described("How many of them become several parts", 1)
    )


class NamedAmountSchema(Schema):
    """What would be moved of one group."""

    name = fields.String(required=True, metadata=described("The group", "Wind"))
    amount = fields.Integer(required=True, metadata=AMOUNT)


class PlannedItemSchema(Schema):
    """A GGO that would be used."""

    source = fields.Nested(ItemSourceSchema, required=True, metadata=described("The GGO"))
    parts = fields.List(
        fields.Nested(PartSchema),
        required=True,
        metadata=described("What it would become"),
    )


def _groups(text: str) -> fields.List[Any]:
    return fields.List(fields.Nested(NamedAmountSchema), required=True, metadata=described(text))


class PlanSchema(Schema):
    """What an order would do if it were carried out now."""

    planDigest = fields.String(required=True, metadata=DIGEST)  # noqa: N815 - the wire's name
    totals = fields.Nested(PlanTotalsSchema, required=True, metadata=described("Its sums"))
    byTechnology = _groups("What would be moved of each technology")  # noqa: N815
    bySector = _groups("What would be moved of each sector")  # noqa: N815
    byBegin = _groups(  # noqa: N815
        f"What would be moved of GGOs that begin at each time (UTC), up to {MAX_SOURCES}"
    )
    sample = fields.List(
        fields.Nested(PlannedItemSchema),
        required=True,
        metadata=described("The first 100 GGOs that would be used"),
    )
