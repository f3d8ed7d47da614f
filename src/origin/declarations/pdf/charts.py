"""The charts of the PDF, as data. `document.typ` draws them.

There are two kinds: the technologies of a declaration as bars, and the coverage hour by hour: bars for
up to eight days, else a carpet with a column for each day (or for some days) and a row for each hour of
the day, in which darker means more covered.
"""

import math
from datetime import datetime
from typing import Any

from origin.declarations.pdf.formatting import Formatter
from origin.declarations.rules.consumption import HOUR_S
from origin.declarations.rules.declarations import Declaration, HourlyDeclarations
from origin.declarations.rules.exact import per

MAX_TECHNOLOGIES = 12
_MAX_BARS = 8 * 24
_MAX_COLUMNS = 400
_HOURS_A_DAY = 24
_DAY_S = _HOURS_A_DAY * HOUR_S
_MAX_TICKS = 7

_CoveredHours = dict[int, tuple[int, int]]
"""Consumed and retired, in exact units, by hour (Unix time)."""


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


def coverage_chart(declarations: HourlyDeclarations, formatter: Formatter) -> dict[str, Any]:
    """Return the chart of how much of each hour's consumption retired GGOs cover."""
    own = declarations.individual
    hours = {
        hour: (consumed, retired)
        for hour, consumed, retired in zip(
            declarations.hours, own.consumed, own.retired, strict=True
        )
        if consumed
    }
    full = sum(consumed == retired for consumed, retired in hours.values())
    none = sum(not retired for _, retired in hours.values())
    counts = {"full": full, "hours": len(hours), "part": len(hours) - full - none, "none": none}
    summary = formatter.say(
        "hours", **{name: formatter.number(count, 0) for name, count in counts.items()}
    )
    chart = _bars if _span_h(hours) <= _MAX_BARS else _carpet
    return {
        "summary": summary,
        "alt": formatter.say("alt_coverage", summary=summary),
        **chart(hours, formatter),
    }


def _bars(hours: _CoveredHours, formatter: Formatter) -> dict[str, Any]:
    """Return a bar for each hour: what was consumed, and what was covered, relative to the peak."""
    peak = max((consumed for consumed, _ in hours.values()), default=0)
    first = min(hours, default=0)
    bars = [hours.get(first + number * HOUR_S, (0, 0)) for number in range(_span_h(hours))]
    return {
        "bars": [[per(consumed, peak), per(retired, peak)] for consumed, retired in bars],
        "text": formatter.say("coverage_bars", peak=" ".join(formatter.energy(peak))),
        "ticks": _ticks(first, len(bars), HOUR_S, formatter),
        "legend": [formatter.say("bar_covered"), formatter.say("bar_uncovered")],
    }


def _carpet(hours: _CoveredHours, formatter: Formatter) -> dict[str, Any]:
    """Return columns of 24 shades, each shade a digit, or a blank where nothing was consumed."""
    offset_s = formatter.offset_s
    first_day, last_day = ((hour + offset_s) // _DAY_S for hour in (min(hours), max(hours)))
    days = math.ceil((last_day - first_day + 1) / _MAX_COLUMNS)
    columns = math.ceil((last_day - first_day + 1) / days)
    sums = [[[0, 0] for _ in range(_HOURS_A_DAY)] for _ in range(columns)]
    for hour, (consumed, retired) in hours.items():
        day, second = divmod(hour + offset_s, _DAY_S)
        cell = sums[(day - first_day) // days][second // HOUR_S]
        cell[0] += consumed
        cell[1] += retired
    column_width = formatter.say("day") if days == 1 else formatter.say("days", count=days)
    return {
        "carpet": ["".join(_shade(*cell) for cell in column) for column in sums],
        "text": formatter.say("coverage_carpet", days=column_width),
        "ticks": _ticks(first_day * _DAY_S - offset_s, columns, days * _DAY_S, formatter),
        "legend": [
            formatter.say("none"),
            formatter.say("up_to", percent=50),
            formatter.say("up_to", percent=90),
            formatter.say("below_all"),
            formatter.say("all"),
        ],
    }


def _ticks(first: int, count: int, step_s: int, formatter: Formatter) -> list[dict[str, Any]]:
    """Return the dates below a chart: the place as a part of its width (0 to 1), and the text."""
    if not count:
        return []
    ticks = []
    for number in range(0, count, max(1, math.ceil(count / _MAX_TICKS))):
        time = datetime.fromtimestamp(first + number * step_s, formatter.zone)
        date = formatter.time(time)
        ticks.append({"at": number / count, "text": date if step_s == HOUR_S else date[:10]})
    return ticks


def _span_h(hours: _CoveredHours) -> int:
    """Return the number of hours from the first to the last."""
    return (max(hours) - min(hours)) // HOUR_S + 1 if hours else 0


def _shade(consumed: int, retired: int) -> str:
    if not consumed:
        return " "
    if retired == consumed:
        return "4"
    percent = 100 * retired // consumed
    return "0" if not retired else "1" if percent < 50 else "2" if percent < 90 else "3"
