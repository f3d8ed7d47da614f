"""Queries and answers about balances and entries (contract: v2, Balances and statements of account)."""

from marshmallow import fields

from origin.balances.rules.balance import Bucket, GroupBy
from origin.balances.rules.entries import EntryKind
from origin.ggos.schemas import MovedGgoSchema
from origin.web.described import REFERENCE, described
from origin.web.local_time import Zone
from origin.web.schema import Schema
from origin.web.v2.pages import ListResponse
from origin.web.v2.schema import UTC_ZONE, AwareTime, CommaList, ListQuery, PeriodQuery, Query

AN_ID = "01999d7c-2f4e-7000-8000-000000000000"


def _wh(text: str) -> fields.Integer:
    return fields.Integer(required=True, metadata=described(f"Wh {text}", 1000))


class BalancesQuery(Query):
    """Which balances."""

    at = AwareTime(
        load_default=None,
        metadata=described("The moment; absent: now", "2026-01-31T12:00:00+00:00"),
    )
    grouping = CommaList(
        fields.Enum(GroupBy, by_value=True),
        most=len(GroupBy),
        data_key="groupBy",
        load_default=list,
        metadata=described("What to group by, in this order", ["sector", "month"]),
    )
    zone = Zone(
        data_key="timeZone",
        load_default=UTC_ZONE,
        metadata=described("The IANA time zone of months; UTC if absent", "Europe/Copenhagen"),
    )


class BalanceSchema(Schema):
    """A balance in Wh.

    issued + received = sent + retired + expired + available + blocked + pendingOut + pendingRetired.
    """

    available = _wh("that the account holds, and what an order in flight leaves to it")
    pendingOut = _wh("on their way to others")  # noqa: N815 - the wire's name
    pendingIn = _wh("on their way to the account, which are not its own yet")  # noqa: N815 - as above
    pendingRetired = _wh("that are being retired")  # noqa: N815 - as above
    retired = _wh("that are retired")
    expired = _wh("that expired before they were spent")
    blocked = _wh(
        "that can't be spent: our keys can't sign for them, they were never sent to the ledger, or they "
        "were spent elsewhere"
    )
    issued = _wh("that were issued to the account")
    received = _wh("that others sent to the account, committed by the ledger")
    sent = _wh("that the account sent to others, committed by the ledger")


class BalanceGroupSchema(BalanceSchema):
    """The balance of the GGOs of one group."""

    group = fields.List(
        fields.String(),
        required=True,
        metadata=described("The group's values, in the order of groupBy", ["DK1", "2026-01"]),
    )


_AT = described("The moment of the balance, in UTC", "2026-01-31T12:00:00+00:00")


class BalancesResponse(Schema):
    """The account's balances as they were known at a moment."""

    at = fields.AwareDateTime(required=True, metadata=_AT)
    total = fields.Nested(BalanceSchema, required=True, metadata=described("All GGOs together"))
    groups = fields.List(
        fields.Nested(BalanceGroupSchema),
        required=True,
        metadata=described("By groupBy, sorted; those of zeros are left out"),
    )


class EntriesQuery(ListQuery, PeriodQuery):
    """Which entries."""

    kind = CommaList(
        fields.Enum(EntryKind, by_value=True),
        most=len(EntryKind),
        load_default=list,
        metadata=described("Only entries of these kinds", ["send", "undo"]),
    )
    operation = fields.UUID(
        load_default=None,
        metadata=described("Only entries of this operation", AN_ID),
    )


class StatementQuery(PeriodQuery):
    """The period of a statement of account. Without ends it is about the whole history."""


class EntrySchema(Schema):
    """A move of Wh between two buckets of the account's balance. It never changes."""

    id = fields.UUID(required=True, metadata=described("The entry's id", AN_ID))
    at = fields.AwareDateTime(
        required=True, metadata=described("When it counts, in UTC", "2026-01-31T12:00:00+00:00")
    )
    kind = fields.Enum(
        EntryKind, by_value=True, required=True, metadata=described("What it tells", "send")
    )
    amount = fields.Integer(required=True, metadata=described("Wh, above 0", 1000))
    source = fields.Enum(
        Bucket,
        by_value=True,
        data_key="from",
        required=True,
        metadata=described("The bucket that the Wh leave", "available"),
    )
    target = fields.Enum(
        Bucket,
        by_value=True,
        data_key="to",
        required=True,
        metadata=described("The bucket that they come to", "pendingOut"),
    )
    ggo = fields.Nested(
        MovedGgoSchema,
        required=True,
        metadata=described("The account's GGO: of a transfer, the one that was split"),
    )
    operation = fields.UUID(
        required=True,
        allow_none=True,
        metadata=described(
            "The id of the account's order; null if it is of none",
            AN_ID,
        ),
    )
    counterpart = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The subject of the other account; null if there is none", "bo"),
    )
    reference = fields.String(required=True, allow_none=True, metadata=REFERENCE)


class EntryList(ListResponse):
    """A page of entries, oldest first."""

    results = fields.List(
        fields.Nested(EntrySchema), required=True, metadata=described("The page's entries")
    )


class StatementBalanceSchema(BalanceSchema):
    """A balance at an end of the period."""

    at = fields.AwareDateTime(required=True, metadata=_AT)


class StatementResponse(Schema):
    """A statement of account: the opening balance and the lines add up to the closing balance."""

    opening = fields.Nested(
        StatementBalanceSchema,
        required=True,
        metadata=described("The balance right before the period begins"),
    )
    lines = fields.List(
        fields.Nested(EntrySchema),
        required=True,
        metadata=described("The entries of the period, oldest first"),
    )
    closing = fields.Nested(
        StatementBalanceSchema,
        required=True,
        metadata=described("The balance right before the period ends, or now"),
    )
