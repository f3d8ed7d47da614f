"""What a request costs as the database fills and as more accounts are at it; a chart of both.

Cost is CPU time of web and PostgreSQL for each request; of a settlement, that of the worker's task.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from bench import load, paths, running, workload
from bench.dataset import CROWD, HOURLY, connect, reset_writes, subscribe_all
from bench.paths import CLIENTS, BenchContext, Side
from bench.running import Service
from bench.workload import PostRequest

BOUND = 1.3
USERS = (1, 10, 100, CROWD - 110)
"""Accounts at it; each number of them are others, who have what nobody has spent."""
_MS = 1000
_PATIENCE = 2000
"""Looks at whether all is settled; 20 a second."""

SETTLEMENT = "a settlement"

Requests = Callable[[BenchContext, int], Iterable[bytes]]


@dataclass(frozen=True)
class CostPoint:
    """What an operation cost, in CPU milliseconds; `x` GGOs or active accounts."""

    operation: str
    x: int
    ms: float


def _pages(context: BenchContext, users: int) -> Iterable[bytes]:
    if users == 1:
        return _by(context, [HOURLY], workload.hourly_pages())
    asked = PostRequest("/ggo", {"filters": {"category": "stored"}, "offset": 0, "limit": 100})
    return _by(context, _crowd(users), [asked])


def _totals(context: BenchContext, users: int) -> Iterable[bytes]:
    subjects = [HOURLY] if users == 1 else _crowd(users)
    return _by(context, subjects, workload.hour_totals())


def _issues(context: BenchContext, users: int) -> Iterable[bytes]:
    return paths.issued_events(context, users=users)


def _composes(context: BenchContext, users: int) -> Iterable[bytes]:
    return paths.composes(context, [HOURLY] if users == 1 else _crowd(users))


def _crowd(users: int) -> list[str]:
    first = sum(USERS[1 : USERS.index(users)])
    return [f"user {number}" for number in range(first, first + users)]


def _by(
    context: BenchContext, subjects: Sequence[str], asked: Sequence[PostRequest]
) -> Iterable[bytes]:
    requests = (request.as_http(context.tokens[each]) for each in subjects for request in asked)
    return cycle(list(requests))


OPERATIONS: dict[str, Requests] = {
    "a page of 100": _pages,
    "an hour's total": _totals,
    "an issued GGO": _issues,
    "a compose": _composes,
}


def by_size(
    contexts: Sequence[tuple[BenchContext, Side]], runs: int, seconds: float
) -> list[CostPoint]:
    """What one account's requests cost, in databases of different sizes."""
    return [
        CostPoint(name, context.dataset.size, ms)
        for name, requests in OPERATIONS.items()
        for (context, _), ms in zip(
            contexts,
            _in_turn(
                [(side, _bound(requests, context, 1)) for context, side in contexts], runs, seconds
            ),
            strict=True,
        )
    ]


def settlements_by_size(
    services: Sequence[Service], contexts: Sequence[BenchContext], count: int
) -> list[CostPoint]:
    """What settling so many composes of one account costs, in each database."""
    with running.instant_ledger() as ledger:
        return [
            CostPoint(
                SETTLEMENT, context.dataset.size, _settlement_ms(service, context, ledger, 1, count)
            )
            for service, context in zip(services, contexts, strict=True)
        ]


def settlements_by_users(service: Service, context: BenchContext, count: int) -> list[CostPoint]:
    """What settling so many composes costs, made by more and more accounts."""
    with running.instant_ledger() as ledger:
        return [
            CostPoint(SETTLEMENT, users, _settlement_ms(service, context, ledger, users, count))
            for users in USERS
        ]


def _settlement_ms(
    service: Service, context: BenchContext, ledger_url: str, users: int, count: int
) -> float:
    """CPU milliseconds of worker and PostgreSQL for each; the second time, when all is warm."""
    spent = 0.0
    for _ in range(2):
        prepare(context)
        asked = iter(_composes(context, users))
        load.exhaust(service.port, islice(asked, count - 1), clients=CLIENTS)
        with running.worker(service, ledger_url) as worker:
            side = Side(0, [pid for pid in (worker.pid, *context.server_pids) if pid])
            before = side.cost()
            # Its wake-up has the worker take up all.
            load.exhaust(service.port, islice(asked, 1), clients=1)
            _wait_until_settled(context)
            spent = side.cost() - before
    return _MS * spent / count


def _wait_until_settled(context: BenchContext) -> None:
    with connect(context.dataset.uri) as connection, connection.cursor() as cursor:
        for _ in range(_PATIENCE):
            cursor.execute(
                "SELECT pg_sleep(0.05), EXISTS (SELECT FROM batches WHERE ended_at IS NULL)"
            )
            if cursor.fetchone() == ("", False):
                return
    raise TimeoutError("The composes don't settle")


def by_users(context: BenchContext, side: Side, runs: int, seconds: float) -> list[CostPoint]:
    """What requests cost in one database, with more and more accounts making them."""
    return [
        CostPoint(name, users, ms)
        for name, requests in OPERATIONS.items()
        for users, ms in zip(
            USERS,
            _in_turn([(side, _bound(requests, context, users)) for users in USERS], runs, seconds),
            strict=True,
        )
    ]


def prepare(context: BenchContext) -> None:
    """Have the database as it was built, and everybody want to know."""
    reset_writes(context.dataset)
    subscribe_all(context.dataset)


def _bound(requests: Requests, context: BenchContext, users: int) -> Callable[[], Iterable[bytes]]:
    return lambda: requests(context, users)


def _in_turn(
    sides: Sequence[tuple[Side, Callable[[], Iterable[bytes]]]], runs: int, seconds: float
) -> list[float]:
    """CPU milliseconds of a request at each, measured in short turns; medians of the runs."""
    found: list[list[float]] = [[] for _ in sides]
    asking = [paths.MeasuredSide(side, requests(), CLIENTS) for side, requests in sides]
    for one in asking:
        # Connections, plans and caches as they are after the first moments.
        one.go_on(seconds)
    for _ in range(runs):
        for each, one in zip(found, asking, strict=True):
            before = one.spent
            one.go_on(seconds)
            cost, count = (now - then for now, then in zip(one.spent, before, strict=True))
            each.append(_MS * cost / count)
    return [statistics.median(each) for each in found]


def ratios(points: Sequence[CostPoint]) -> list[tuple[str, float]]:
    """How many times the first one's cost the last one has, by operation."""
    names = dict.fromkeys(point.operation for point in points)
    found = []
    for name in names:
        costs = [point.ms for point in points if point.operation == name]
        found.append((name, costs[-1] / costs[0]))
    return found


_WIDTH, _HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 110, 46, 40
_COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a4e9f", "#8a6d00")
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2")


def chart(panels: Sequence[tuple[str, Sequence[CostPoint]]], path: Path) -> None:
    """Draw what each operation costs relative to the first point, a panel for each series."""
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


def _panel(title: str, points: Sequence[CostPoint]) -> list[str]:
    xs = sorted({point.x for point in points})
    across = (_WIDTH - _LEFT - _RIGHT) / max(1, len(xs) - 1)
    top = 2.0

    def x_at(x: int) -> float:
        return _LEFT + xs.index(x) * across

    def y_at(ratio: float) -> float:
        return _HEIGHT - _BOTTOM - min(ratio, top) / top * (_HEIGHT - _TOP - _BOTTOM)

    right = _WIDTH - _RIGHT
    parts = [f'<text x="{_LEFT}" y="24" class="title">{title}</text>']
    for value in (0, 0.5, 1, BOUND, 1.5, 2):
        dash = ' stroke-dasharray="4 4" stroke="#b00"' if value == BOUND else ' stroke="#ddd"'
        parts += [
            f'<path d="M{_LEFT} {y_at(value):.1f} H{right}"{dash}/>',
            f'<text x="{_LEFT - 6}" y="{y_at(value) + 4:.1f}" text-anchor="end">{value:g}</text>',
        ]
    parts += [
        f'<text x="{x_at(x):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{x:,}</text>'
        for x in xs
    ]
    ends: list[float] = []
    for place, name in enumerate(dict.fromkeys(point.operation for point in points)):
        mine = [point for point in points if point.operation == name]
        ratio = [point.ms / mine[0].ms for point in mine]
        line = " L".join(
            f"{x_at(point.x):.1f} {y_at(each):.1f}" for point, each in zip(mine, ratio, strict=True)
        )
        colour = _COLOURS[place % len(_COLOURS)]
        parts.append(
            f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{_DASHES[place % len(_DASHES)]}"/>'
        )
        # Names keep out of each other's way.
        label = y_at(ratio[-1]) + 4
        while any(abs(label - other) < 13 for other in ends):
            label += 1
        ends.append(label)
        parts.append(f'<text x="{right + 6}" y="{label:.1f}" fill="{colour}">{name}</text>')
    return parts
