"""The payloads of the transaction families, as the ledger SDK writes them: UTF-8 JSON."""

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.times import UtcTime

FAMILY_VERSION = "0.1"


class RejectedError(Exception):
    """A transaction that breaks a rule; the message says which."""


class MeasurementType(StrEnum):
    """Which way the electricity went."""

    PRODUCTION = "PRODUCTION"
    CONSUMPTION = "CONSUMPTION"


class Payload(BaseModel):
    """Base of all payloads: no field unknown, no number in quotes, no boolean as a number."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Return the payload in these bytes; RejectedError where it has another shape."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            issue = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in issue["loc"])
            raise RejectedError(f"Payload not understood: {where}: {issue['msg']}") from error


class PublishMeasurement(Payload):
    """A measurement of `amount` Wh; its address is the transaction's one output."""

    begin: UtcTime
    end: UtcTime
    sector: str = Field(min_length=1)
    type: MeasurementType
    amount: int = Field(ge=0)


class IssueGGO(Payload):
    """A GGO at `destination` out of the production measurement at `origin`."""

    origin: str
    destination: str
    tech_type: str
    fuel_type: str
    emissions: dict[str, Any] | None = None


class TransferGGO(Payload):
    """The GGO at `origin` moves, whole, to `destination`."""

    origin: str
    destination: str


class SplitPart(Payload):
    """`amount` Wh to a new GGO at `address`."""

    address: str
    amount: int


class SplitGGO(Payload):
    """The GGO at `origin` is divided among `parts`."""

    origin: str
    parts: list[SplitPart] = Field(min_length=1)


class RetireGGO(Payload):
    """The GGO at `origin` is used up for the settlement at `settlement_address`."""

    origin: str
    settlement_address: str


class Settle(Payload):
    """The GGOs at `ggo_addresses`, just retired, are counted towards a measurement."""

    settlement_address: str
    measurement_address: str
    ggo_addresses: list[str] = Field(min_length=1)
