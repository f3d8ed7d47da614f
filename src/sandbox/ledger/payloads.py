"""The transaction families' payloads, as the ledger SDK writes them: UTF-8 JSON."""

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.times import UtcTime

FAMILY_VERSION = "0.1"


class RejectedError(Exception):
    """A transaction breaks a rule; the message says which."""


class MeasurementType(StrEnum):
    """The direction of the measured electricity."""

    PRODUCTION = "PRODUCTION"
    CONSUMPTION = "CONSUMPTION"


class Payload(BaseModel):
    """Base of all payloads: rejects unknown fields, numbers in quotes, booleans as numbers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Return the payload in these bytes; RejectedError if it has another form."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            issue = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in issue["loc"])
            raise RejectedError(f"Payload not understood: {where}: {issue['msg']}") from error


class PublishMeasurement(Payload):
    """Publishes a measurement of `amount` Wh; its address is the transaction's only output."""

    begin: UtcTime
    end: UtcTime
    sector: str = Field(min_length=1)
    type: MeasurementType
    amount: int = Field(ge=0)


class IssueGGO(Payload):
    """Issues a GGO at `destination` on the production measurement at `origin`."""

    origin: str
    destination: str
    tech_type: str
    fuel_type: str
    emissions: dict[str, Any] | None = None


class TransferGGO(Payload):
    """Transfers the whole GGO at `origin` to `destination`."""

    origin: str
    destination: str


class SplitPart(Payload):
    """One part of a split: a new GGO of `amount` Wh at `address`."""

    address: str
    amount: int


class SplitGGO(Payload):
    """Splits the GGO at `origin` into `parts`."""

    origin: str
    parts: list[SplitPart] = Field(min_length=1)


class RetireGGO(Payload):
    """Retires the GGO at `origin` for the settlement at `settlement_address`."""

    origin: str
    settlement_address: str


class Settle(Payload):
    """Settles the GGOs at `ggo_addresses`, retired in this batch, against a measurement."""

    settlement_address: str
    measurement_address: str
    ggo_addresses: list[str] = Field(min_length=1)
