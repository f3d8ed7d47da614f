"""The bodies of bulk orders. The size of an order is checked before anything else in it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from marshmallow import ValidationError, fields, post_load, pre_load

from origin.bulk.rules.limits import MAX_LIST, MAX_TARGETS, check_request_size
from origin.bulk.rules.orders import BulkOrder, BulkRetirement, BulkTransfer, Selection
from origin.bulk.rules.retirements import RetirementOrder
from origin.bulk.rules.stock import GgoOrder
from origin.bulk.rules.takes import All, Amount, Percentage, Shortfall, Take
from origin.bulk.rules.transfers import Spread, Target, check_takes
from origin.operations.rules import Kind
from origin.shared.json_codec import read_json
from origin.shared.limits import MAX_WH
from origin.web.collections import Items
from origin.web.described import (
    ADDRESS,
    CONSUMPTION_GSRN,
    FUEL_CODE,
    ISSUE_GSRN,
    RECIPIENT,
    REFERENCE,
    SECTOR,
    TECHNOLOGY_CODE,
    Description,
    described,
    many,
)
from origin.web.fields import Reference, Text, WholeNumber
from origin.web.v2 import schema as v2
from origin.web.v2.schema import AwareTime, Body, PeriodBody

TECHNOLOGY = described("The label of a technology; `Unknown`: those without one", "Wind")
A_DIGEST = f"sha256:{'3f' * 32}"
DIGEST = described("What the plan moves, as a digest", A_DIGEST)

Choice = TypeVar("Choice", GgoOrder, Spread, Shortfall)


class _Flag(fields.Boolean):
    """True or false: no number or text stands for them."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if type(value) is not bool:
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


def _texts(metadata: Description, **named: Any) -> Items:
    return Items(
        Text(metadata=metadata), most=MAX_LIST, load_default=list, metadata=many(metadata), **named
    )


def _choice(default: Choice, text: str) -> fields.Enum[Choice]:
    return fields.Enum(
        type(default), by_value=True, load_default=default, metadata=described(text, default.value)
    )


class TakeBody(Body):
    """How much is taken: exactly one of the three."""

    amount = WholeNumber(least=1, metadata=described("So many Wh in all", 2_000_000))
    percentage = v2.Percentage(
        metadata=described("Of each GGO, or of each measurement's unmet rest", "12.5")
    )
    all = _Flag(metadata=described("All that there is", example=True))

    @post_load
    def _as_take(self, data: dict[str, Any], **_: Any) -> Take:
        if len(data) != 1 or data.get("all") is False:
            raise ValidationError("Exactly one of amount, percentage and all (true).")
        if "amount" in data:
            return Amount(data["amount"])
        return Percentage.from_percent(data["percentage"]) if "percentage" in data else All()


class SelectBody(Body):
    """Which of the caller's free GGOs may be used. An absent or empty list stands for all."""

    sector = _texts(SECTOR)
    technology = _texts(TECHNOLOGY)
    technology_code = _texts(TECHNOLOGY_CODE, data_key="technologyCode")
    fuel_code = _texts(FUEL_CODE, data_key="fuelCode")
    issue_gsrn = _texts(ISSUE_GSRN, data_key="issueGsrn")
    address = _texts(ADDRESS)
    period = fields.Nested(
        PeriodBody, load_default=None, metadata=described("GGOs that begin in it; absent: all")
    )
    expires_before = AwareTime(
        data_key="expiresBefore",
        load_default=None,
        metadata=described("Only GGOs that expire before then", "2026-06-01T00:00:00+02:00"),
    )

    @post_load
    def _as_selection(self, data: dict[str, Any], **_: Any) -> Selection:
        return Selection(**data)


class TargetBody(Body):
    """A recipient, and how much it gets."""

    account = Text(required=True, metadata=RECIPIENT)
    reference = Reference(metadata=REFERENCE)
    take = fields.Nested(TakeBody, required=True, metadata=described("How much it gets"))

    @post_load
    def _as_target(self, data: dict[str, Any], **_: Any) -> Target:
        return Target(**data)


class ExpectBody(Body):
    """What the caller expects of the plan."""

    digest = Text(data_key="planDigest", required=True, metadata=DIGEST)


class _OrderBody(Body):
    """What both kinds of order have."""

    select = fields.Nested(SelectBody, required=True, metadata=described("Which GGOs may be used"))
    shortfall = _choice(Shortfall.REFUSE, "What to do if there is less than is asked for")
    dry_run = _Flag(
        data_key="dryRun",
        load_default=False,
        metadata=described("Only plan: nothing is moved", example=False),
    )
    expect = fields.Nested(
        ExpectBody,
        load_default=None,
        metadata=described("Carry the order out only if its plan is this one"),
    )

    @pre_load
    def _check_size(self, data: Any, **_: Any) -> Any:
        """Check the limits before anything else.

        :raises TooMany: The order is too large.
        """
        if isinstance(data, dict):
            targets = data.get("targets")
            count = len(targets) if isinstance(targets, list) else 0
            periods = filter(None, map(_as_written, _periods(data)))
            check_request_size(count, _lengths(data), periods)
        return data


def _lengths(data: Mapping[str, Any]) -> dict[str, int]:
    """Return the lengths of all lists of an order that are limited alike."""
    owners = [_object(data, "select"), _object(data, "against"), _object(data, "order")]
    return {
        name: len(value)
        for owner in owners
        for name, value in owner.items()
        if isinstance(value, list)
    }


def _periods(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("select", "against"):
        yield _object(_object(data, name), "period")


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _as_written(period: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """Return a period's ends with their own offsets; dates as midnights. None: they can't be read."""
    try:
        return datetime.fromisoformat(period["from"]), datetime.fromisoformat(period["to"])
    except (KeyError, TypeError, ValueError):
        return None


class TransferBody(_OrderBody):
    """An order to transfer GGOs."""

    targets = Items(
        fields.Nested(TargetBody),
        least=1,
        most=MAX_TARGETS,
        required=True,
        metadata=described("The recipients, served in this order"),
    )
    order = _choice(GgoOrder.EXPIRY_FIRST, "Which GGOs are used first")
    spread = _choice(
        Spread.SEQUENTIAL,
        "sequential: whole GGOs, at most one split per target; proportional: the same share of each",
    )

    @post_load
    def _as_order(self, data: dict[str, Any], **_: Any) -> tuple[BulkTransfer, bool]:
        expect = data.pop("expect")
        is_dry_run = data.pop("dry_run")
        check_takes(data["targets"])
        order = BulkTransfer(**data, expected=expect and expect["digest"])
        if (order.requested or 0) > MAX_WH:
            raise ValidationError(f"The amounts together must be at most {MAX_WH}.", "targets")
        return order, is_dry_run


class AgainstBody(Body):
    """Which measurements GGOs are retired to."""

    gsrn = Items(
        Text(metadata=CONSUMPTION_GSRN),
        most=MAX_LIST,
        load_default=list,
        metadata={
            **many(CONSUMPTION_GSRN),
            "description": "The caller's consumption points; absent: all of them",
        },
    )
    period = fields.Nested(
        PeriodBody, required=True, metadata=described("Measurements that begin in it")
    )


class RetirementOrderBody(Body):
    """What comes first within one period and sector."""

    points = _texts(CONSUMPTION_GSRN)
    technologies = _texts(TECHNOLOGY)
    ggos = _choice(GgoOrder.EXPIRY_FIRST, "Which GGOs of one technology are used first")

    @post_load
    def _as_order(self, data: dict[str, Any], **_: Any) -> RetirementOrder:
        return RetirementOrder(**data)


class RetirementBody(_OrderBody):
    """An order to retire GGOs to the caller's own consumption."""

    against = fields.Nested(
        AgainstBody, required=True, metadata=described("What they are retired to")
    )
    take = fields.Nested(TakeBody, required=True, metadata=described("How much is retired"))
    order = fields.Nested(
        RetirementOrderBody,
        load_default=RetirementOrder,
        metadata=described("What comes first within one period and sector"),
    )

    @post_load
    def _as_order(self, data: dict[str, Any], **_: Any) -> tuple[BulkRetirement, bool]:
        expect, against = data.pop("expect"), data.pop("against")
        is_dry_run = data.pop("dry_run")
        order = BulkRetirement(
            **data,
            points=against["gsrn"],
            period=against["period"],
            expected=expect and expect["digest"],
        )
        return order, is_dry_run


_BODIES: Mapping[Kind, type[_OrderBody]] = {
    Kind.TRANSFER: TransferBody,
    Kind.RETIREMENT: RetirementBody,
}


def read_order(kind: Kind, body: str) -> BulkOrder:
    """Return the order of a body that a request brought before.

    :raises ValidationError: This version of the service does not take it.
    """
    loaded: tuple[BulkOrder, bool] = _BODIES[kind]().load(read_json(body.encode()))
    return loaded[0]
