"""The charts of the PDF, as data. `document.typ` draws them.

There are three kinds: the technologies of a declaration, consumption and its covered part by period, and
how much of each hour's consumption is covered. The last is a heat map with a column for each day (or for
some days) and a row for each hour of the day, in which darker means more covered.
"""

import math
from datetime import datetime
from itertools import chain
from typing import Any

from origin.declarations.pdf.formatting import Formatter
from origin.declarations.rules.declarations import Declaration, HourlyDeclarations
from origin.declarations.rules.exact import per
from origin.shared.periods import Resolution, numbered_period, period_begin, period_number

MAX_TECHNOLOGIES = 12
_MAX_COLUMNS = 400
_HOURS_A_DAY = 24
_MAX_TICKS = 8
_STRIDES = (1, 2, 3, 4, 6, 12, 24, 48, 120, 240)
"""Every how many periods there may be a date below a chart. Those for hours divide the day."""
_MAX_NAMED = 48
"""Beyond so many periods, the dates below a chart are those of longer periods."""

COARSER = {
    Resolution.HOUR: Resolution.DAY,
    Resolution.DAY: Resolution.MONTH,
    Resolution.MONTH: Resolution.YEAR,
}
"""The next longer period of each."""


def technology_chart(
    declaration: Declaration, names: list[str], formatter: Formatter
) -> dict[str, Any]:
    """Return a chart's rows: label, share of the total (0 to 1), and both as text.

    :param names: The technologies to show, in order; beyond `MAX_TECHNOLOGIES` the last row is their sum.
    """
    totals = declaration.total
    amounts = [(formatter.technology(name), totals.technologies.get(name, 0)) for name in names]
    if len(amounts) > MAX_TECHNOLOGIES:
        rest = sum(amount for _, amount in amounts[MAX_TECHNOLOGIES - 1 :])
        amounts = [*amounts[: MAX_TECHNOLOGIES - 1], (formatter.say("other"), rest)]
    _, unit = formatter.energy(totals.consumed)
    rows = [
        {
            "label": label,
            "share": per(amount, totals.consumed),
            "percent": f"{formatter.percent(amount, totals.consumed)} %",
            "amount": formatter.energy_in(amount, unit),
        }
        for label, amount in amounts
    ]
    return {"rows": rows, "unit": unit, "total": formatter.energy_in(totals.consumed, unit)}


def bar_chart(
    declaration: Declaration, resolution: Resolution, formatter: Formatter
) -> dict[str, Any]:
    """Return a bar for each period: what was consumed, and what was covered, relative to the peak.

    :param declaration: By periods of this resolution, at least one; periods between them may be missing.
    """
    figures = declaration.figures
    numbers = [period_number(begin, resolution) for begin in declaration.begins]
    peak = max(figures.consumed)
    bars = [[0.0, 0.0] for _ in range(numbers[-1] - numbers[0] + 1)]
    for number, consumed, retired in zip(numbers, figures.consumed, figures.retired, strict=True):
        bars[number - numbers[0]] = [per(consumed, peak), per(retired, peak)]
    period = formatter.say(resolution.value)
    text = formatter.say("bars_of", period=period, peak=" ".join(formatter.energy(peak)))
    return {
        "bars": bars,
        "text": text,
        "alt": formatter.say("alt_bars", text=text),
        "ticks": _ticks(numbers[0], len(bars), resolution, formatter),
        "legend": [formatter.say("bar_covered"), formatter.say("bar_uncovered")],
    }


def coverage_summary(declarations: HourlyDeclarations, formatter: Formatter) -> str:
    """Return how many hours are covered in full, in part and not at all."""
    own = declarations.individual
    if not any(own.retired):
        return formatter.say("coverage_none")
    hours = [each for each in zip(own.consumed, own.retired, strict=True) if each[0]]
    full = sum(consumed == retired for consumed, retired in hours)
    none = sum(not retired for _, retired in hours)
    counts = {"full": full, "hours": len(hours), "part": len(hours) - full - none, "none": none}
    return formatter.say(
        "hours", **{name: formatter.number(count, 0) for name, count in counts.items()}
    )


def heat_map(declarations: HourlyDeclarations, formatter: Formatter) -> dict[str, Any]:
    """Return columns of 24 shades, each shade a digit, or a blank where nothing was consumed."""
    own = declarations.individual
    numbers = [
        period_number(datetime.fromtimestamp(hour, formatter.zone), Resolution.HOUR)
        for hour in declarations.hours
    ]
    first, last = (numbers[place] // _HOURS_A_DAY for place in (0, -1))
    days = math.ceil((last - first + 1) / _MAX_COLUMNS)
    columns = math.ceil((last - first + 1) / days)
    sums = [[[0, 0] for _ in range(_HOURS_A_DAY)] for _ in range(columns)]
    for number, consumed, retired in zip(numbers, own.consumed, own.retired, strict=True):
        day, hour = divmod(number, _HOURS_A_DAY)
        cell = sums[(day - first) // days][hour]
        cell[0] += consumed
        cell[1] += retired
    column_width = formatter.say("day") if days == 1 else formatter.say("days", count=days)
    return {
        "carpet": ["".join(_shade(*cell) for cell in column) for column in sums],
        "text": formatter.say("coverage_carpet", days=column_width),
        "alt": formatter.say("alt_coverage", summary=coverage_summary(declarations, formatter)),
        "ticks": _ticks(first, columns * days, Resolution.DAY, formatter),
        "hours": [
            {"at": hour / _HOURS_A_DAY, "text": formatter.clock(hour)} for hour in range(0, 25, 6)
        ],
        "legend": [
            formatter.say("none"),
            formatter.say("up_to", percent=50),
            formatter.say("up_to", percent=90),
            formatter.say("below_all"),
            formatter.say("all"),
        ],
    }


def _ticks(
    first: int, count: int, resolution: Resolution, formatter: Formatter
) -> list[dict[str, Any]]:
    """Return the dates below a chart: the place as a part of its width (0 to 1), and the text.

    :param first: The number of the first of `count` periods.
    """
    named = resolution if count <= _MAX_NAMED else COARSER.get(resolution, resolution)
    begins = [numbered_period(first + place, resolution, formatter.zone) for place in range(count)]
    numbers = {
        place: period_number(begin, named)
        for place, begin in enumerate(begins)
        if named is resolution or begin == period_begin(begin, named)
    }
    origin = first if named is Resolution.DAY else 0
    kept: list[int] = []
    for stride in chain(_STRIDES, (count,)):
        kept = [place for place, number in numbers.items() if (number - origin) % stride == 0]
        if len(kept) <= _MAX_TICKS:
            break
    # A date stands below the middle of its period, a time of day or a longer period at its begin.
    shift = 0.5 if named is resolution and resolution is not Resolution.HOUR else 0.0
    return [
        {"at": (place + shift) / count, "text": _tick(begins[place], named, place, formatter)}
        for place in kept
    ]


def _tick(begin: datetime, resolution: Resolution, place: int, formatter: Formatter) -> str:
    """Return the text below a chart: the period; by hour, the time of day, but at midnight the day."""
    if resolution is not Resolution.HOUR:
        return formatter.period(begin, resolution)
    if place and not begin.hour:
        return formatter.period(begin, Resolution.DAY)
    return formatter.clock(begin.hour)


def _shade(consumed: int, retired: int) -> str:
    if not consumed:
        return " "
    if retired == consumed:
        return "4"
    percent = 100 * retired // consumed
    return "0" if not retired else "1" if percent < 50 else "2" if percent < 90 else "3"
