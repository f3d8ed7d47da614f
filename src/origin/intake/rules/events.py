"""What DataHub tells us, and the rules that need no database (contract: http-api, Webhooks in)."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from origin.errors import Refused
from origin.shared.limits import MAX_TEXT_BYTES

FIRST_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
PAST_LAST_BEGIN = datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)
"""From here on a period's key would be a hardened one (contract: domain, Keys and addresses)."""


@dataclass(frozen=True)
class MeteringPointEvent:
    """A metering point that a user has; `type` is production or consumption."""

    gsrn: str
    type: str
    sector: str


@dataclass(frozen=True)
class GgoEvent:
    """A GGO that was issued to a metering point. Times in UTC, amount in Wh, emissions in g/Wh."""

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
        """Refuse what can't be a GGO, by wire names.

        :raises Refused: an amount below 1, no codes, an impossible period.
        """
        wrong: dict[str, list[str]] = {}
        if self.amount < 1:
            wrong["amount"] = ["Must be greater than or equal to 1."]
        if not self.technology_code:
            wrong["technologyCode"] = ["Missing data for required field."]
        if not self.fuel_code:
            wrong["fuelCode"] = ["Missing data for required field."]
        for name, value in (
            ("sector", self.sector),
            ("technologyCode", self.technology_code),
            ("fuelCode", self.fuel_code),
        ):
            if len(value.encode(errors="replace")) > MAX_TEXT_BYTES:
                wrong[name] = [f"Longer than {MAX_TEXT_BYTES} bytes in UTF-8."]
        if not FIRST_BEGIN <= self.begin < PAST_LAST_BEGIN:
            wrong["begin"] = [
                "No keys can be derived for a begin before 1970 or from 2038-01-19T03:14:08Z on."
            ]
        if self.end <= self.begin:
            wrong["end"] = ["Must be after begin."]
        if wrong:
            raise Refused({"ggo": wrong})


Event = MeteringPointEvent | GgoEvent

_TIMES = ("begin", "end", "issue_time", "expire_time")


def to_payload(event: Event) -> dict[str, Any]:
    """The event as JSON, to be kept."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(event).items()
    }


def ggo_from_payload(payload: dict[str, Any]) -> GgoEvent:
    """The GGO event that was kept as this."""
    times = {name: datetime.fromisoformat(payload[name]) for name in _TIMES}
    return GgoEvent(**{**payload, **times})


def metering_point_from_payload(payload: dict[str, Any]) -> MeteringPointEvent:
    """The metering point event that was kept as this."""
    return MeteringPointEvent(**payload)


def digest(kind: str, subject: str, event: Event) -> str:
    """Names this event of this subject: a repeat has the same.

    So has whatever else is told of a metering point: only the latest word counts.
    """
    named = event.gsrn if isinstance(event, MeteringPointEvent) else to_payload(event)
    canonical = orjson.dumps([kind, subject, named], option=orjson.OPT_SORT_KEYS)
    return sha256(canonical).hexdigest()
