"""Consumption as tests write it down."""

from collections.abc import Mapping

from origin.declarations.rules.consumption import Consumption, Measurements


def measured(points: Mapping[tuple[str, str], Mapping[int, int]]) -> Consumption:
    """By GSRN and sector: Wh by begin."""
    return {
        place: Measurements(list(amounts), list(amounts.values()))
        for place, amounts in points.items()
    }
