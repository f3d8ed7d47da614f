"""Builds consumption for tests of declarations."""

from collections.abc import Mapping

from origin.declarations.rules.consumption import Consumption, Measurements


def measured(points: Mapping[tuple[str, str], Mapping[int, int]]) -> Consumption:
    """Return consumption from Wh by begin, for each GSRN and sector."""
    return {
        place: Measurements(list(amounts), list(amounts.values()))
        for place, amounts in points.items()
    }
