"""Draws the dashboard as SVG from its own queries, laid out as Grafana does with all rows open."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from tests.support.dashboard_queries import dashboard, filled
from tests.support.prometheus_server import Prometheus, Series

Panel = dict[str, Any]
Line = tuple[str, list[tuple[float, float]]]
"""A legend, and its points: Unix time, value."""

_COLUMN, _UNIT, _GAP = 46, 24, 6
_WIDTH = 24 * _COLUMN + _GAP
_POINTS = 80
_LEGEND_LINES = 3
_COLOURS = {"green": "#3f8f3f", "orange": "#e0752d", "red": "#c4162a"}
_PALETTE = (
    "#3f8f3f", "#d9a400", "#3274d9", "#e0752d", "#c4162a", "#8f3bb8", "#1f9e9e", "#705da0",
    "#7c8a1a", "#b5651d", "#5a6b7b", "#d65db1",
)  # fmt: skip
_STYLE = (
    "text{font:11px sans-serif;fill:#24292e}.title{font-weight:bold}"
    ".row{font:bold 14px sans-serif}.big{font-size:22px;fill:#fff;text-anchor:middle}"
    ".axis{fill:#6a737d;font-size:10px}.legend{font-size:10px}"
    "polyline{fill:none;stroke-width:1.4}"
)


@dataclass(frozen=True)
class Evaluation:
    """What the picture shows: one job, between two times (Unix).

    :param rate: The value of `$__rate_interval`.
    """

    prometheus: Prometheus
    begin: float
    end: float
    rate: str
    job: str

    @property
    def step(self) -> float:
        """Seconds between two points of a line."""
        return max(1.0, (self.end - self.begin) / _POINTS)

    def lines(self, panel: Panel) -> list[Line]:
        """Return the series of a graph."""
        return [
            (
                _legend(target, series),
                [(at, float(value)) for at, value in series["values"]],
            )
            for target in panel["targets"]
            for series in self.prometheus.over_time(
                self._filled(target), self.begin, self.end, self.step
            )
        ]

    def values(self, panel: Panel) -> list[Series]:
        """Return the current series of a panel's first query."""
        return self.prometheus.now(self._filled(panel["targets"][0]))

    def _filled(self, target: dict[str, Any]) -> str:
        return filled(
            target["expr"],
            namespace=".*",
            job=self.job,
            instance=".*",
            __rate_interval=self.rate,
        )


def picture(evaluation: Evaluation) -> str:
    """Return the SVG."""
    parts: list[str] = []
    y = float(_GAP)
    for row, panels in _rows():
        parts.append(
            f'<text class="row" x="{_GAP}" y="{y + 18:.0f}">▾ {escape(row["title"])}</text>'
        )
        y += _UNIT
        first = min(panel["gridPos"]["y"] for panel in panels)
        for panel in panels:
            place = panel["gridPos"]
            top = y + (place["y"] - first) * _UNIT
            parts.append(f'<g transform="translate({_GAP + place["x"] * _COLUMN} {top:.0f})">')
            parts += _panel(panel, evaluation)
            parts.append("</g>")
        y += (max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) - first) * _UNIT
    size = f'width="{_WIDTH}" height="{y:.0f}" viewBox="0 0 {_WIDTH} {y:.0f}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<style>{_STYLE}</style><title>The dashboard of AccountService</title>",
        f'<rect width="{_WIDTH}" height="{y:.0f}" fill="#f4f5f5"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _rows() -> Iterator[tuple[Panel, list[Panel]]]:
    """Return each row with its panels: those of an open row follow it, a closed one contains them."""
    row: Panel = {}
    panels: list[Panel] = []
    for panel in [*dashboard()["panels"], {"type": "row"}]:
        if panel["type"] != "row":
            panels.append(panel)
            continue
        if panels:
            yield row, panels
        row, panels = panel, list(panel.get("panels", ()))


def _panel(panel: Panel, evaluation: Evaluation) -> Iterator[str]:
    width = panel["gridPos"]["w"] * _COLUMN - _GAP
    height = panel["gridPos"]["h"] * _UNIT - _GAP
    yield f'<rect width="{width}" height="{height}" fill="#fff" stroke="#d8d9da"/>'
    yield f'<text class="title" x="8" y="16">{escape(panel["title"])}</text>'
    draw = {"stat": _stat, "timeseries": _graph, "table": _table}[panel["type"]]
    yield from draw(panel, evaluation, width, height)


def _stat(panel: Panel, evaluation: Evaluation, width: float, height: float) -> Iterator[str]:
    series = evaluation.values(panel)
    defaults = panel["fieldConfig"]["defaults"]
    text, colour = "No data", "#8e8e8e"
    if series:
        text, colour = _shown(float(series[0]["value"][1]), defaults)
    yield (
        f'<rect x="6" y="24" width="{width - 12}" height="{height - 30}" rx="3" fill="{colour}"/>'
        f'<text class="big" x="{width / 2}" y="{height / 2 + 18}">{escape(text)}</text>'
    )


def _shown(value: float, defaults: dict[str, Any]) -> tuple[str, str]:
    """Return a value's text and colour."""
    for mapping in defaults["mappings"]:
        options = mapping["options"]
        if math.isnan(value) and mapping["type"] == "special":
            return options["result"]["text"], _COLOURS["green"]
        if mapping["type"] == "value" and f"{value:g}" in options:
            found = options[f"{value:g}"]
            return found["text"], _COLOURS[found["color"]]
    reached = [
        step["color"]
        for step in defaults["thresholds"]["steps"]
        if step["value"] is None or value >= step["value"]
    ]
    return _formatted(value, defaults["unit"]), _COLOURS[reached[-1]]


def _graph(panel: Panel, evaluation: Evaluation, width: float, height: float) -> Iterator[str]:
    lines = evaluation.lines(panel)
    defaults = panel["fieldConfig"]["defaults"]
    legends = list(_legend_places(lines, width))
    plot = _Plot(
        left=58,
        right=width - 10,
        top=26,
        bottom=height - 20 - 13 * (1 + max((row for *_, row in legends), default=0)),
        begin=evaluation.begin,
        end=evaluation.end,
        most=_round_number(_largest(lines), defaults["unit"]),
        signed="min" not in defaults,
    )
    yield from plot.axes(defaults["unit"])
    for step in defaults["thresholds"]["steps"][1:]:
        yield from plot.level(step["value"], _COLOURS[step["color"]])
    for number, (_, points) in enumerate(lines):
        yield from plot.line(points, _PALETTE[number % len(_PALETTE)], evaluation.step)
    if not lines:
        yield f'<text x="{width / 2}" y="{height / 2}" text-anchor="middle">No data</text>'
    for number, (text, x, row) in enumerate(legends):
        colour = _PALETTE[number % len(_PALETTE)]
        y = plot.bottom + 30 + 13 * row
        yield (
            f'<rect x="{x:.0f}" y="{y - 6:.0f}" width="10" height="3" fill="{colour}"/>'
            f'<text class="legend" x="{x + 14:.0f}" y="{y:.0f}">{escape(text)}</text>'
        )


def _largest(lines: list[Line]) -> float:
    values = (abs(value) for _, points in lines for _, value in points)
    return max((value for value in values if not math.isnan(value)), default=0) or 1.0


def _round_number(value: float, unit: str) -> float:
    """Return a round number that is not less."""
    base = 1.0
    if unit == "bytes":
        base = 2.0**20
    elif unit == "s" and value > 60:
        base = next(size for size in (86400, 3600, 60) if value > size)
    size = 10 ** math.floor(math.log10(value / base))
    return next(base * size * each for each in (1, 2, 4, 5, 6, 10) if base * size * each >= value)


def _legend_places(lines: list[Line], width: float) -> Iterator[tuple[str, float, int]]:
    """Return each legend's text, x and line; what finds no room is left out."""
    x, row = 8.0, 0
    for text, _ in lines:
        needed = 24 + 5.6 * len(text)
        if x + needed > width and x > 8:
            x, row = 8.0, row + 1
        if row == _LEGEND_LINES:
            return
        yield text, x, row
        x += needed


@dataclass(frozen=True)
class _Plot:
    """The area of a graph's lines, in the panel's coordinates.

    :param most: The end of the axis.
    :param signed: Whether 0 stands in the middle.
    """

    left: float
    right: float
    top: float
    bottom: float
    begin: float
    end: float
    most: float
    signed: bool

    def _y(self, value: float) -> float:
        least = -self.most if self.signed else 0.0
        share = (value - least) / (self.most - least)
        return self.bottom - share * (self.bottom - self.top)

    def _x(self, at: float) -> float:
        return self.left + (at - self.begin) / (self.end - self.begin) * (self.right - self.left)

    def axes(self, unit: str) -> Iterator[str]:
        """Draw three levels and some times."""
        for value in (
            -self.most if self.signed else 0.0,
            0.0 if self.signed else self.most / 2,
            self.most,
        ):
            y = self._y(value)
            yield (
                f'<path d="M{self.left} {y:.1f}H{self.right}" stroke="#e3e4e5"/>'
                f'<text class="axis" x="{self.left - 5}" y="{y + 3:.1f}" text-anchor="end">'
                f"{escape(_formatted(value, unit))}</text>"
            )
        for part in range(5):
            at = self.begin + (part + 0.5) * (self.end - self.begin) / 5
            yield (
                f'<text class="axis" x="{self._x(at):.0f}" y="{self.bottom + 14:.0f}" '
                f'text-anchor="middle">{datetime.fromtimestamp(at, UTC):%H:%M:%S}</text>'
            )

    def level(self, value: float, colour: str) -> Iterator[str]:
        """Draw a threshold, if the axis reaches it."""
        if value <= self.most:
            yield (
                f'<path d="M{self.left} {self._y(value):.1f}H{self.right}" stroke="{colour}" '
                'stroke-dasharray="5 4"/>'
            )

    def line(self, points: list[tuple[float, float]], colour: str, step: float) -> Iterator[str]:
        """Draw a line, with a gap where points are missing."""
        pieces: list[list[str]] = []
        last = -math.inf
        for at, value in points:
            if math.isnan(value):
                continue
            if at - last > 1.5 * step:
                pieces.append([])
            pieces[-1].append(f"{self._x(at):.0f},{self._y(value):.1f}")
            last = at
        for piece in pieces:
            if len(piece) == 1:
                piece.append(piece[0])
            yield f'<polyline stroke="{colour}" points="{" ".join(piece)}"/>'


def _table(panel: Panel, evaluation: Evaluation, width: float, _height: float) -> Iterator[str]:
    rows = [series["metric"] for series in evaluation.values(panel)]
    names = sorted({name for row in rows for name in row})
    for number, row in enumerate([{name: name for name in names}, *rows]):
        style = ' class="title"' if number == 0 else ""
        for place, name in enumerate(names):
            x = 8 + place * (width - 16) / len(names)
            yield f'<text{style} x="{x:.0f}" y="{40 + 18 * number}">{escape(row.get(name, ""))}</text>'


def _legend(target: dict[str, Any], series: Series) -> str:
    text = str(target["legendFormat"])
    for name, value in series["metric"].items():
        text = text.replace("{{" + name + "}}", value)
    # Grafana, too, shows nothing for a label that is missing.
    return re.sub(r"{{\w+}}", "", text).strip()


def _formatted(value: float, unit: str) -> str:
    if unit == "s":
        return _duration(value)
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return number + {"reqps": " req/s", "ops": " ops/s"}.get(unit, "")


def _duration(seconds: float) -> str:
    if abs(seconds) < 1 and seconds:
        return f"{seconds * 1000:.3g} ms"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"
