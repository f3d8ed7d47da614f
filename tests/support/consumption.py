"""Consumption and decimals as tests write them down."""

from collections.abc import Mapping
from decimal import Decimal

from origin.declarations.rules.consumption import Consumption, Measurements
from origin.declarations.rules.exact import exact


def measured(points: Mapping[tuple[str, str], Mapping[int, int]]) -> Consumption:
    """Return consumption from Wh by begin, for each GSRN and sector."""
    return {
        place: Measurements(list(amounts), list(amounts.values()))
        for place, amounts in points.items()
    }


def exactly(number: float | Decimal) -> int:
    """Return the exact value of the decimal that this number is written as."""
    return exact(Decimal(str(number)))
