"""Draws the growth of costs as an SVG chart for doc/bench.md."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.growth import BOUND, CostPoint

_WIDTH, _HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 110, 46, 40
_LINE_END = _WIDTH - _RIGHT
_LARGEST_RATIO = 2.0
_LABEL_HEIGHT = 13
_COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a4e9f", "#8a6d00")
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2")


def write_chart(panels: Sequence[tuple[str, Sequence[CostPoint]]], path: Path) -> None:
    """Draw a panel for each title; a line shows an operation's costs relative to its first point."""
    total = _WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {_HEIGHT}" role="img">',
        "<style>text { font: 11px sans-serif } .title { font: bold 13px sans-serif }</style>",
        "<title>What a request costs as the service grows</title>",
        f'<rect width="{total}" height="{_HEIGHT}" fill="white"/>',
    ]
    for number, (title, points) in enumerate(panels):
        parts.append(f'<g transform="translate({number * _WIDTH} 0)">')
        parts += _panel(title, points)
        parts.append("</g>")
    parts.append("</svg>")
    path.write_text("\n".join(parts) + "\n")


def _panel(title: str, points: Sequence[CostPoint]) -> Iterator[str]:
    xs = sorted({point.x for point in points})
    step = (_LINE_END - _LEFT) / max(1, len(xs) - 1)

    def x_at(x: int) -> float:
        return _LEFT + xs.index(x) * step

    yield f'<text x="{_LEFT}" y="24" class="title">{title}</text>'
    yield from _axes(xs, x_at)
    yield from _lines(points, x_at)


def _y_at(ratio: float) -> float:
    return (
        _HEIGHT - _BOTTOM - min(ratio, _LARGEST_RATIO) / _LARGEST_RATIO * (_HEIGHT - _TOP - _BOTTOM)
    )


def _axes(xs: Sequence[int], x_at: Callable[[int], float]) -> Iterator[str]:
    for value in (0, 0.5, 1, BOUND, 1.5, 2):
        dash = ' stroke-dasharray="4 4" stroke="#b00"' if value == BOUND else ' stroke="#ddd"'
        yield f'<path d="M{_LEFT} {_y_at(value):.1f} H{_LINE_END}"{dash}/>'
        yield (
            f'<text x="{_LEFT - 6}" y="{_y_at(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    y = _HEIGHT - _BOTTOM + 18
    for x in xs:
        yield f'<text x="{x_at(x):.1f}" y="{y}" text-anchor="middle">{x:,}</text>'


def _lines(points: Sequence[CostPoint], x_at: Callable[[int], float]) -> Iterator[str]:
    labels: list[float] = []
    for place, name in enumerate(dict.fromkeys(point.operation for point in points)):
        mine = [point for point in points if point.operation == name]
        ratios = [point.ms / mine[0].ms for point in mine]
        line = " L".join(
            f"{x_at(point.x):.1f} {_y_at(ratio):.1f}"
            for point, ratio in zip(mine, ratios, strict=True)
        )
        colour = _COLOURS[place % len(_COLOURS)]
        yield (
            f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{_DASHES[place % len(_DASHES)]}"/>'
        )
        # Move the label down until it overlaps no other one.
        label = _y_at(ratios[-1]) + 4
        while any(abs(label - other) < _LABEL_HEIGHT for other in labels):
            label += 1
        labels.append(label)
        yield f'<text x="{_LINE_END + 6}" y="{label:.1f}" fill="{colour}">{name}</text>'
