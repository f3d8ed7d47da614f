"""The bodies of DataHub's requests and answers (contract: peers, DataHubService)."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sandbox.times import UtcTime

PointType = Literal["production", "consumption"]
Resolution = Literal["all", "year", "month", "day", "hour"]


class Body(BaseModel):
    """Base of all bodies: unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid")

    def as_json(self) -> dict[str, Any]:
        """Return the body in its JSON form."""
        return self.model_dump(mode="json")


class Range(Body):
    """A time range from `begin` to `end`, both included."""

    begin: UtcTime
    end: UtcTime

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.begin > self.end:
            raise ValueError("begin is after end")
        return self


class SetKey(Body):
    """A metering point's extended private key."""

    gsrn: str
    key: str


class Filters(Body):
    """Selects measurements; fields that are null or left out don't restrict."""

    begin: UtcTime | None = None
    beginRange: Range | None = None  # noqa: N815 (the wire's name)
    sector: str | list[str] | None = None
    gsrn: list[str] | None = None
    type: PointType | None = None


class MeasurementsWanted(Body):
    """Asks for a page of measurements."""

    filters: Filters = Field(default_factory=Filters)
    offset: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, ge=0)


class SummaryWanted(Body):
    """Asks for sums of measurements by period."""

    filters: Filters
    resolution: Resolution
    utcOffset: int = 0  # noqa: N815 (the wire's name)
    grouping: list[str]
    fill: bool


class ConsumedWanted(Body):
    """Asks for the consumption of one metering point in the period that starts at `begin`."""

    gsrn: str
    begin: UtcTime


class GgosWanted(Body):
    """Asks for the GGOs issued to one metering point."""

    gsrn: str
    beginRange: Range  # noqa: N815 (the wire's name)


class Subscription(Body):
    """The URL to send an event to, and the secret to sign it with."""

    url: str = Field(pattern=r"^https?://")
    secret: str = Field(min_length=1)


class MeteringPoint(Body):
    """A metering point as DataHub shows it."""

    gsrn: str = Field(min_length=1)
    type: PointType
    sector: str
    technologyCode: str | None = None  # noqa: N815 (the wire's name)
    fuelCode: str | None = None  # noqa: N815 (the wire's name)
    streetCode: str | None = None  # noqa: N815 (the wire's name)
    streetName: str | None = None  # noqa: N815 (the wire's name)
    buildingNumber: str | None = None  # noqa: N815 (the wire's name)
    cityName: str | None = None  # noqa: N815 (the wire's name)
    postCode: str | None = None  # noqa: N815 (the wire's name)
    municipalityCode: str | None = None  # noqa: N815 (the wire's name)


class Measurement(Body):
    """A measurement of `amount` Wh as DataHub shows it."""

    address: str
    gsrn: str
    begin: UtcTime
    end: UtcTime
    type: PointType
    sector: str
    amount: int


class Ggo(Body):
    """A GGO of `amount` Wh as DataHub shows it; emissions in g/Wh by name."""

    address: str
    gsrn: str
    begin: UtcTime
    end: UtcTime
    sector: str
    amount: int
    issueTime: UtcTime  # noqa: N815 (the wire's name)
    expireTime: UtcTime  # noqa: N815 (the wire's name)
    technologyCode: str  # noqa: N815 (the wire's name)
    fuelCode: str  # noqa: N815 (the wire's name)
    emissions: dict[str, float] | None = None
