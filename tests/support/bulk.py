"""GGOs, measurements and targets for tests of the planner of bulk orders."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from origin.bulk.rules.plan import Item, Plan
from origin.bulk.rules.retirements import Measurement
from origin.bulk.rules.stock import Candidate
from origin.bulk.rules.takes import Amount, Percentage, Take
from origin.bulk.rules.transfers import Target

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def at(hour: float) -> datetime:
    """Return the time so many hours after midnight."""
    return MIDNIGHT + timedelta(hours=hour)


def ggo(address: str, amount: int, hour: float = 0, **other: Any) -> Candidate:
    """Return a GGO of the period from this hour to the next; it expires after 1,000 hours."""
    facts = {
        "id": sum(address.encode()),
        "address": address,
        "amount": amount,
        "begin": at(hour),
        "end": at(hour + 1),
        "sector": "DK1",
        "technology": "Wind",
        "issue_time": at(hour + 24),
        "expire_time": at(hour + 1000),
    }
    return Candidate(**{**facts, **other})


def measured(
    gsrn: str, amount: int, hour: float = 0, *, retired: int = 0, **other: Any
) -> Measurement:
    """Return the consumption of a point from this hour to the next."""
    facts = {"begin": at(hour), "end": at(hour + 1), "sector": "DK1"}
    address = f"{gsrn} at {hour}"
    return Measurement(address, gsrn, amount=amount, retired=retired, **{**facts, **other})


def percent(text: str) -> Percentage:
    """Return the percentage of this decimal, with at most five digits after the point."""
    return Percentage.from_percent(Decimal(text))


def to(account: str, take: Take | int, reference: str | None = None) -> Target:
    """Return a target; a number is an amount."""
    return Target(account, Amount(take) if isinstance(take, int) else take, reference)


def shown(plan: Plan) -> dict[str, list[tuple[str, int, str | None]]]:
    """Return each source's parts as kind, Wh and the recipient's or the metering point's name."""
    return {item.source.address: shown_parts(item) for item in plan.items}


def shown_parts(item: Item) -> list[tuple[str, int, str | None]]:
    """Return an item's parts as kind, Wh and the recipient's or the metering point's name."""
    return [(part.kind.value, part.amount, part.account or part.gsrn) for part in item.parts]
