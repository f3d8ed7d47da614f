"""Descriptions for the OpenAPI document: of fields, as marshmallow's `metadata`, and of errors.

A description says what a field means, with its unit. Those that several schemas share stand here.
The examples are of the demo's users and metering points (`devstack.scenario`).
"""

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from origin.errors import Rejected

P = ParamSpec("P")
T = TypeVar("T")

Description = Mapping[str, Any]

TIME = "ISO 8601; without an offset it is in the request's utcOffset, else UTC"
A_BEGIN = "2026-01-31T00:00:00+00:00"


def described(text: str, example: Any = None, **more: Any) -> Description:
    """Return a field's metadata.

    :param example: Of the field; None if the document makes it of the field's parts.
    :param more: Further keywords of JSON Schema, such as `format`.
    """
    return {"description": text, **({} if example is None else {"examples": [example]}), **more}


def rejects(*samples: Rejected) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Record samples of the errors that a view raises: the OpenAPI document shows their bodies."""

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        view.__dict__["origin_rejects"] = samples
        return view

    return decorate


def rejections_of(view: Callable[..., Any]) -> tuple[Rejected, ...]:
    """Return the samples that `rejects` recorded at a view."""
    return cast("tuple[Rejected, ...]", view.__dict__.get("origin_rejects", ()))


def many(one: Description) -> Description:
    """Return the metadata of a list of such values."""
    return {**one, "examples": [one["examples"]]}


AN_OPERATION_ID = "0193e4a8-6c00-7abc-8def-0123456789ab"
A_GGO_ADDRESS = "849c0b" + "5e" * 32
ADDRESS = described("A GGO's address on the ledger", A_GGO_ADDRESS)
AMOUNT = described("Energy in Wh", 1000)
AT_TIME = described(f"Only forecasts that cover this moment; {TIME}", "2026-01-31T12:00:00+00:00")
BEGIN = described(f"When the period begins; {TIME}", "2026-01-31T12:00:00+00:00")
BEGIN_IN_UTC = described("When the period begins, in UTC", "2026-01-31T12:00:00+00:00")
BEGIN_RANGE = described("When the period begins, both ends included")
EMISSIONS_PER_WH = described("g/Wh by name of the emission", {"CO2": 1.2})
END = described(f"When the period ends; {TIME}", "2026-01-31T13:00:00+00:00")
END_IN_UTC = described("When the period ends, in UTC", "2026-01-31T13:00:00+00:00")
FUEL_CODE = described("AIB fact sheet 5", "F01050100")
A_PRODUCTION_GSRN = "571313180400000012"
A_CONSUMPTION_GSRN = "571313180400000029"
GSRN = described("The number of a metering point (GS1)", A_PRODUCTION_GSRN)
CONSUMPTION_GSRN = described("The caller's consumption metering point", A_CONSUMPTION_GSRN)
ISSUE_GSRN = described("The production metering point to which it was issued", A_PRODUCTION_GSRN)
OFFSET = described("How many to skip", 0)
RECIPIENT = described("The recipient: the subject of the account's user", "bo")
REFERENCE = described("The sender's own name for it", "wind")
RESOLUTION = described("The length of a period", "day")
SECTOR = described("The price area", "DK1")
SUBJECT = described("The user's subject", "anna")
TECHNOLOGY_CODE = described("AIB fact sheet 5", "T020001")
TOTAL = described("How many match in all", 1)
