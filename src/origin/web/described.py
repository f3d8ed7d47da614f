"""Descriptions of fields for the OpenAPI document, as marshmallow's `metadata`.

A description says what a field means, with its unit. Those that several schemas share stand here.
"""

from collections.abc import Mapping
from typing import Any

Description = Mapping[str, Any]

TIME = "ISO 8601; without an offset it is in the request's utcOffset, else UTC"
A_BEGIN = "2026-01-31T00:00:00+00:00"


def described(text: str, example: Any = None, **more: Any) -> Description:
    """Return a field's metadata.

    :param example: Of the field; None if the document makes it of the field's parts.
    :param more: Further keywords of JSON Schema, such as `format`.
    """
    return {"description": text, **({} if example is None else {"examples": [example]}), **more}


def many(one: Description) -> Description:
    """Return the metadata of a list of such values."""
    return {**one, "examples": [one["examples"]]}


ADDRESS = described("A GGO's address on the ledger", "849c0b" + "5e" * 32)
AMOUNT = described("Energy in Wh", 1000)
AT_TIME = described(f"Only forecasts that cover this moment; {TIME}", "2026-01-31T12:00:00+00:00")
BEGIN = described(f"When the period begins; {TIME}", "2026-01-31T12:00:00+00:00")
BEGIN_RANGE = described("When the period begins, both ends included")
EMISSIONS_PER_WH = described("g/Wh by name of the emission", {"CO2": 1.2})
END = described(f"When the period ends; {TIME}", "2026-01-31T13:00:00+00:00")
FUEL_CODE = described("AIB fact sheet 5", "F01050100")
GSRN = described("The number of a metering point (GS1)", "571313180400000012")
ISSUE_GSRN = described("The production metering point to which it was issued", "571313180400000012")
OFFSET = described("How many to skip", 0)
RECIPIENT = described("The recipient: the subject of the account's user", "8d7b9c1e-bo")
REFERENCE = described("The sender's own name for it", "contract 7")
RESOLUTION = described("The length of a period", "day")
SECTOR = described("The price area", "DK1")
SUBJECT = described("The user's subject", "8d7b9c1e-anna")
TECHNOLOGY_CODE = described("AIB fact sheet 5", "T020001")
TOTAL = described("How many match in all", 1)
