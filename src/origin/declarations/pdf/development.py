"""The development over time in the PDF: a chart and a table by the periods of the query's resolution."""

from dataclasses import replace
from typing import Any

from origin.declarations.pdf.charts import COARSER, bar_chart, coverage_summary, heat_map
from origin.declarations.pdf.formatting import Formatter
from origin.declarations.rules.declarations import (
    Declaration,
    DeclarationQuery,
    EnvironmentDeclaration,
    HourlyDeclarations,
    by_resolution,
)
from origin.declarations.rules.exact import per
from origin.shared.periods import Resolution, period_number

_MAX_HOURS_AS_BARS = 8 * 24
"""Coverage of longer spans is shown as a heat map."""
_MAX_BARS = 372
_MAX_ROWS = 31


def coverage(
    query: DeclarationQuery, hours: HourlyDeclarations, formatter: Formatter
) -> dict[str, Any]:
    """Return how much of each hour's consumption is covered: in words, and as a chart if any is."""
    text = {"summary": coverage_summary(hours, formatter)}
    if not any(hours.individual.retired):
        return text
    by_hour = _at(query, hours, Resolution.HOUR)
    if _span(by_hour.individual, Resolution.HOUR) <= _MAX_HOURS_AS_BARS:
        return {**text, **bar_chart(by_hour.individual, Resolution.HOUR, formatter)}
    return {**text, **heat_map(hours, formatter)}


def development(
    query: DeclarationQuery,
    hours: HourlyDeclarations,
    carbon: str | None,
    formatter: Formatter,
    *,
    hours_are_drawn: bool,
) -> dict[str, Any] | None:
    """Return the chart and the table by period, or None if the query asks for one sum of all.

    If there are too many periods, the chart or the table is by longer ones, and says so.

    :param carbon: The name of the emission to show in g/kWh, if the mix has it.
    :param hours_are_drawn: Whether the coverage has a bar for each hour, so none are drawn here.
    """
    if query.resolution is Resolution.ALL:
        return None
    listed, rows_at = _readable(query, hours, _MAX_ROWS)
    drawn, bars_at = _readable(query, hours, _MAX_BARS)
    table = _table(listed, rows_at, carbon, formatter)
    if query.resolution is Resolution.HOUR and hours_are_drawn:
        return {"title": formatter.say(f"by_{rows_at.value}"), "note": None, **table}
    row_is = formatter.say("rows_are", period=formatter.say(rows_at.value))
    return {
        "title": formatter.say(f"by_{bars_at.value}"),
        "note": None if rows_at is bars_at else row_is,
        "chart": bar_chart(drawn.individual, bars_at, formatter),
        **table,
    }


def _at(
    query: DeclarationQuery, hours: HourlyDeclarations, resolution: Resolution
) -> EnvironmentDeclaration:
    return by_resolution(replace(query, resolution=resolution), hours)


def _span(declaration: Declaration, resolution: Resolution) -> int:
    """Return the number of periods from the first to the last."""
    begins = declaration.begins
    return period_number(begins[-1], resolution) - period_number(begins[0], resolution) + 1


def _readable(
    query: DeclarationQuery, hours: HourlyDeclarations, most: int
) -> tuple[EnvironmentDeclaration, Resolution]:
    """Return the sums by the query's resolution, or by the next coarser one with few enough periods."""
    resolution = query.resolution
    found = _at(query, hours, resolution)
    while _span(found.individual, resolution) > most and resolution in COARSER:
        resolution = COARSER[resolution]
        found = _at(query, hours, resolution)
    return found, resolution


def _table(
    found: EnvironmentDeclaration, resolution: Resolution, carbon: str | None, formatter: Formatter
) -> dict[str, Any]:
    """Return the table's unit, and a row of texts for each period."""
    figures = found.individual.figures
    _, unit = formatter.energy(max(figures.consumed))
    both = (found.individual.figures, found.general.figures)
    columns = [(each.emissions[carbon], each.consumed) for each in both] if carbon else []
    rows = [
        [
            formatter.period(begin, resolution),
            formatter.energy_in(figures.consumed[place], unit),
            formatter.energy_in(figures.retired[place], unit),
            formatter.percent(figures.retired[place], figures.consumed[place]),
            *(
                formatter.three_digits(1000 * per(grams[place], consumed[place]))
                for grams, consumed in columns
            ),
        ]
        for place, begin in enumerate(found.individual.begins)
    ]
    return {"unit": unit, "rows": rows}
