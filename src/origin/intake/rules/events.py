"""DataHub's events, and the rules that need no database (contract: http-api, Webhooks in)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from hashlib import sha256
from typing import Any

import orjson

from origin.errors import Rejected
from origin.shared.limits import MAX_TEXT_BYTES

FIRST_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
PAST_LAST_BEGIN = datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)
"""A period that begins at this time or later would have a hardened key.

Contract: domain, Keys and addresses.
"""


class GgoFault(Enum):
    """What is wrong with a field of an issued GGO."""

    AMOUNT_BELOW_ONE = auto()
    CODE_MISSING = auto()
    TEXT_TOO_LONG = auto()
    BEGIN_WITHOUT_KEYS = auto()
    END_NOT_AFTER_BEGIN = auto()


@dataclass(eq=False)
class GgoImpossible(Rejected):
    """An event describes a GGO that cannot exist.

    :ivar faults: What is wrong, by the field's wire name.
    """

    code = "ggo_impossible"
    faults: Mapping[str, GgoFault]


@dataclass(eq=False)
class MeteringPointOfAnother(Rejected):
    """A GGO was issued to a metering point that belongs to another user."""

    code = "metering_point_of_another"
    gsrn: str


@dataclass(frozen=True)
class MeteringPointEvent:
    """A user has this metering point. `type` is production or consumption."""

    gsrn: str
    type: str
    sector: str


@dataclass(frozen=True)
class GgoEvent:
    """A GGO was issued to a metering point. Times in UTC, amount in Wh, emissions in g/Wh."""

    address: str
    gsrn: str
    begin: datetime
    end: datetime
    sector: str
    amount: int
    issue_time: datetime
    expire_time: datetime
    technology_code: str
    fuel_code: str
    emissions: dict[str, float] | None

    def check(self) -> None:
        """Check that this can be a GGO.

        :raises GgoImpossible: An amount below 1, missing codes, overlong texts, an impossible period.
        """
        faults: dict[str, GgoFault] = {}
        if self.amount < 1:
            faults["amount"] = GgoFault.AMOUNT_BELOW_ONE
        if not self.technology_code:
            faults["technologyCode"] = GgoFault.CODE_MISSING
        if not self.fuel_code:
            faults["fuelCode"] = GgoFault.CODE_MISSING
        for name, value in (
            ("sector", self.sector),
            ("technologyCode", self.technology_code),
            ("fuelCode", self.fuel_code),
        ):
            if len(value.encode(errors="replace")) > MAX_TEXT_BYTES:
                faults[name] = GgoFault.TEXT_TOO_LONG
        if not FIRST_BEGIN <= self.begin < PAST_LAST_BEGIN:
            faults["begin"] = GgoFault.BEGIN_WITHOUT_KEYS
        if self.end <= self.begin:
            faults["end"] = GgoFault.END_NOT_AFTER_BEGIN
        if faults:
            raise GgoImpossible(faults)


Event = MeteringPointEvent | GgoEvent

TIMES = ("begin", "end", "issue_time", "expire_time")
"""The fields of a GGO event that are times."""


def to_payload(event: Event) -> dict[str, Any]:
    """Return the event as JSON, to be stored in `kept_events`."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(event).items()
    }


def ggo_from_payload(payload: dict[str, Any]) -> GgoEvent:
    """Return the GGO event of a stored payload."""
    times = {name: datetime.fromisoformat(payload[name]) for name in TIMES}
    return GgoEvent(**{**payload, **times})


def metering_point_from_payload(payload: dict[str, Any]) -> MeteringPointEvent:
    """Return the metering point event of a stored payload."""
    return MeteringPointEvent(**payload)


def digest(kind: str, subject: str, event: Event) -> str:
    """Return the digest under which an event is kept. A repeat has the same digest.

    So have all events of one metering point, because only the latest one counts.
    """
    named = event.gsrn if isinstance(event, MeteringPointEvent) else to_payload(event)
    canonical = orjson.dumps([kind, subject, named], option=orjson.OPT_SORT_KEYS)
    return sha256(canonical).hexdigest()
