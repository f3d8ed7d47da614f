"""Each path that is asked often, beside the limit of what can't be left out of it.

Cost is CPU time of web and PostgreSQL together: what the clients and peers use isn't counted, and
another's load on the machine changes it least.
"""

import base64
import hmac
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import cycle, islice
from typing import Any

import orjson

from bench import cpu, load, questions
from bench.dataset import BIG, CROWD, FEW, HOURLY, HOURLY_YEAR, TRADER, Dataset, unspent
from bench.questions import Question
from origin.keys.derivation import AddressKind, ExtendedKey, period_key

CLIENTS = 16
_SLICES = 5
"""Of a run, each side's in turn."""
_ISSUED_FROM = datetime(2026, 1, 1, tzinfo=UTC)
_MONTHS = [(year, month) for year in range(2016, 2026) for month in range(1, 13)]


@dataclass(frozen=True)
class Side:
    """A web and its database server, both by their first process, and where it listens."""

    port: int
    pids: Sequence[int]

    def cost(self) -> float:
        """CPU seconds so far."""
        return sum(map(cpu.seconds, self.pids))


@dataclass(frozen=True)
class Run:
    """One side's load for some seconds."""

    per_cpu_second: float
    per_second: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Path:
    """A path of the service, its limit, and the share of that which it must reach.

    `ours` and `limit` make the requests; all clients read them together.
    """

    name: str
    target: float
    ours: Callable[["World"], Iterable[bytes]]
    limit: Callable[["World"], Iterable[bytes]]
    clients: int = CLIENTS
    is_read: bool = True


@dataclass
class World:
    """What requests are made from."""

    dataset: Dataset
    tokens: Mapping[str, str]
    points: Mapping[int, ExtendedKey]
    """The keys of production points, by their owners' places in `subjects`."""
    webhook_secret: bytes
    server_pids: Sequence[int]
    """PostgreSQL's first process."""
    issued: int = 0
    """How many GGOs requests have told of so far."""


class Load:
    """One side's requests, and what they have cost so far."""

    def __init__(self, side: Side, requests: Iterable[bytes], clients: int) -> None:
        self._side = side
        self._requests = iter(requests)
        self._clients = clients
        self._cost = 0.0
        self._seconds = 0.0
        self._times: list[float] = []

    def go_on(self, seconds: float) -> None:
        """Ask for so long."""
        before = self._side.cost()
        seen = load.many(self._side.port, self._requests, clients=self._clients, seconds=seconds)
        self._cost += self._side.cost() - before
        self._seconds += seen.seconds
        self._times.extend(seen.times)

    @property
    def spent(self) -> tuple[float, int]:
        """CPU seconds, and answers."""
        return self._cost, len(self._times)

    def result(self) -> Run:
        """What it was like."""
        seen = load.Load(self._times, self._seconds)
        return Run(
            len(self._times) / self._cost,
            seen.per_second,
            1000 * seen.median,
            1000 * seen.quantile(0.95),
        )


def run(
    one: tuple[Side, Iterable[bytes]],
    other: tuple[Side, Iterable[bytes]],
    clients: int,
    seconds: float,
) -> tuple[Run, Run]:
    """Have clients ask each side for so long, in turn in short slices.

    The machine's own pace changes from one second to the next: so it changes for both.
    """
    loads = [Load(*each, clients) for each in (one, other)]
    for _ in range(_SLICES):
        for each in loads:
            each.go_on(seconds / _SLICES)
    first, second = loads
    return first.result(), second.result()


@dataclass(frozen=True)
class Compared:
    """A path's line: ours and the limit's, medians of the runs."""

    name: str
    ours: Run
    limit: Run
    share: float
    target: float
    spread: float
    """Of the runs' shares: the largest by the smallest."""
    is_read: bool

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.share >= self.target


def compare(
    path: Path, world: World, ours: Side, limit: Side, *, runs: int, seconds: float
) -> Compared:
    """Measure one path and its limit in turn."""
    sides = [(ours, path.ours), (limit, path.limit)]
    pairs = []
    for _ in range(runs):
        asked = [(side, requests(world)) for side, requests in sides]
        pairs.append(run(*asked, path.clients, seconds))
    return compared(path.name, pairs, path.target, is_read=path.is_read)


def compared(
    name: str, pairs: Sequence[tuple[Run, Run]], target: float, *, is_read: bool = False
) -> Compared:
    """The line of these pairs of ours and the other's."""
    shares = [mine.per_cpu_second / other.per_cpu_second for mine, other in pairs]
    return Compared(
        name,
        _median([mine for mine, _ in pairs]),
        _median([other for _, other in pairs]),
        statistics.median(shares),
        target,
        max(shares) / min(shares),
        is_read,
    )


def _median(runs: Sequence[Run]) -> Run:
    return Run(*(statistics.median(values) for values in zip(*map(_values, runs), strict=True)))


def _values(each: Run) -> tuple[float, ...]:
    return (each.per_cpu_second, each.per_second, each.p50_ms, each.p95_ms)


def _limit(path: str, *values: dict[str, Any]) -> Callable[[World], Iterable[bytes]]:
    asked = [Question(path, each).as_http("-") for each in values]
    return lambda _: cycle(asked)


def _ours(subject: str, *asked: Question) -> Callable[[World], Iterable[bytes]]:
    return lambda world: cycle([each.as_http(world.tokens[subject]) for each in asked])


def _month_ends() -> Iterator[tuple[str, str]]:
    for year, month in _MONTHS:
        following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        yield f"{year}-{month:02d}-01T00:00:00+00:00", (following - timedelta(hours=1)).isoformat()


_MONTH_VALUES = [{"owner": 1, "begin": begin, "end": end} for begin, end in _month_ends()]
_HOURS = [f"{HOURLY_YEAR}-06-{1 + n // 24:02d}T{n % 24:02d}:00:00+00:00" for n in range(240)]
_YEAR = {"owner": 2, **questions.year_range(HOURLY_YEAR)}


def _pages_of_a_month() -> list[Question]:
    return [
        Question(
            "/ggo",
            {
                "filters": {"beginRange": {"begin": begin, "end": end}},
                "offset": 0,
                "limit": 100,
            },
        )
        for begin, end in _month_ends()
    ]


def _hour_totals() -> list[Question]:
    return [
        Question("/ggo/get-total-amount", {"filters": {"begin": at, "category": "stored"}})
        for at in _HOURS
    ]


def _summary(path: str, resolution: str, **more: Any) -> Question:
    body = {"resolution": resolution, "timezone": "Europe/Copenhagen", "filters": {}, **more}
    return Question(path, body)


READS = [
    Path("/accounts", 0.35, _ours(BIG, Question("/accounts", {})), _limit("/hello", {})),
    Path(
        "/ggo: 100 of a month",
        0.5,
        _ours(BIG, *_pages_of_a_month()),
        _limit("/page", *_MONTH_VALUES),
    ),
    Path(
        "/ggo: a year unpaged, 8,760 GGOs",
        0.5,
        _ours(
            HOURLY,
            Question("/ggo", {"filters": {"beginRange": questions.year_range(HOURLY_YEAR)}}),
        ),
        _limit("/year", _YEAR),
        clients=1,
    ),
    Path(
        "/ggo/get-total-amount: an hour",
        0.45,
        _ours(HOURLY, *_hour_totals()),
        _limit("/sum/hour", *({"owner": 2, "at": at} for at in _HOURS)),
    ),
    Path(
        "/ggo/summary: day by technology, a year",
        0.85,
        _ours(
            HOURLY,
            _summary(
                "/ggo/summary",
                "day",
                grouping=["technology"],
                filters={"beginRange": questions.year_range(HOURLY_YEAR)},
            ),
        ),
        _limit("/sum/days", _YEAR),
    ),
    Path(
        "/ggo/summary: month by sector and technology, ten years",
        0.9,
        _ours(BIG, _summary("/ggo/summary", "month", grouping=["sector", "technology"])),
        _limit("/sum/months", {"owner": 1}),
    ),
    Path(
        "/ggo/get-total-amount: all that is held",
        0.9,
        _ours(BIG, Question("/ggo/get-total-amount", {"filters": {"category": "stored"}})),
        _limit("/sum/stored", {"owner": 1}),
    ),
    Path(
        "/transfer/summary: month, 20,000 transfers",
        0.8,
        _ours(TRADER, _summary("/transfer/summary", "month")),
        _limit("/sum/transfers", {"owner": 3}),
    ),
]


def issued_events(world: World, *, users: int = CROWD) -> Iterator[bytes]:
    """Endless new GGOs of users of the crowd in turn, signed as DataHubService does."""
    while True:
        # Each once, whichever side it goes to.
        number, world.issued = world.issued, world.issued + 1
        begin = _ISSUED_FROM + timedelta(hours=number // users)
        place = FEW + number % users
        key = period_key(world.points[place], begin)
        ggo = {
            "address": key.address(AddressKind.GGO),
            "gsrn": f"p{place}",
            "begin": begin.isoformat(),
            "end": (begin + timedelta(hours=1)).isoformat(),
            "sector": "DK1",
            "amount": 1000 + number,
            "issueTime": begin.isoformat(),
            "expireTime": "2037-01-01T00:00:00+00:00",
            "technologyCode": "T010000",
            "fuelCode": "F01040100",
            "emissions": {"CO2": 0.0, "SO2": 0.12},
        }
        body = orjson.dumps({"sub": f"user {number % users}", "ggo": ggo})
        digest = base64.b64encode(hmac.digest(world.webhook_secret, body, sha256)).decode()
        yield questions.post("/webhook/on-ggo-issued", body, f"x-hub-signature: sha256={digest}")


def _issued_for_the_limit(world: World) -> Iterator[bytes]:
    for request in issued_events(world):
        yield request.replace(b"/webhook/on-ggo-issued", b"/ggo-issued", 1)


def composes(
    world: World, subjects: Sequence[str], path: str = "/ggo/compose", half: int = 0
) -> Iterator[bytes]:
    """Each of these users in turn sends half of a GGO to another, as long as there are any.

    :param half: Which of all that they have, 0 or 1: two sides that take turns need their own.
    """
    for subject, address, amount in islice(unspent(world.dataset, subjects), half, None, 2):
        recipient = f"user {hash(address) % CROWD}"
        transfer = {"amount": amount // 2, "account": recipient, "reference": "bench"}
        body = {"address": address, "transfers": [transfer], "retires": []}
        yield Question(path, body).as_http(world.tokens[subject])


_EVERYBODY = [f"user {number}" for number in range(CROWD)]

WRITES = [
    Path("on-ggo-issued", 0.35, issued_events, _issued_for_the_limit, is_read=False),
    Path(
        "/ggo/compose: half, many senders",
        0.3,
        lambda world: composes(world, _EVERYBODY),
        lambda world: composes(world, _EVERYBODY, "/compose", half=1),
        is_read=False,
    ),
]


def one_sender(world: World, ours: Side, *, runs: int, seconds: float) -> Compared:
    """Composes of one sender, compared with those of many: by answers in a second."""
    pairs = []
    for _ in range(runs):
        asked = [(ours, composes(world, senders)) for senders in ([BIG], _EVERYBODY)]
        pairs.append(run(*asked, CLIENTS, seconds))
    line = compared("/ggo/compose: one sender : many", pairs, 0.9)
    rates = [alone.per_second / many.per_second for alone, many in pairs]
    return replace(line, share=statistics.median(rates), spread=max(rates) / min(rates))
