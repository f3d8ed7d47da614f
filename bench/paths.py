"""The paths that are called most, and their comparison with the limit app.

Cost is the CPU time of web and PostgreSQL together. It leaves out clients and peers, and depends
little on other load of the machine.
"""

import base64
import hmac
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import cycle
from typing import Any

import orjson

from bench import cpu, load, workload
from bench.dataset import (
    BIG,
    CROWD,
    FEW,
    HOURLY,
    HOURLY_YEAR,
    TRADER,
    Dataset,
    operations_of,
    unspent,
)
from bench.workload import GetRequest, PostRequest
from origin.keys.derivation import AddressKind, ExtendedKey, period_key

CLIENTS = 16
MANY_PARTS = 20
"""Parts of a compose with many: the rest stays with the sender."""
_PLACES = 200
"""Places in the trader's history that pages are read from."""
_SLICES = 5
"""Slices of a run; the two sides alternate."""
_ISSUED_FROM = datetime(2026, 1, 1, tzinfo=UTC)
_MONTHS = [(year, month) for year in range(2016, 2026) for month in range(1, 13)]


@dataclass(frozen=True)
class Side:
    """A web and its database server: the web's port, and the first process of each, PostgreSQL's last."""

    port: int
    pids: Sequence[int]

    def cost(self) -> float:
        """Return the CPU seconds used so far."""
        return sum(map(cpu.seconds, self.pids))

    def database_cost(self) -> float:
        """Return the CPU seconds that PostgreSQL has used so far."""
        return cpu.seconds(self.pids[-1])


@dataclass(frozen=True)
class Run:
    """The result of one side's load in a run."""

    per_cpu_second: float
    per_second: float
    p50_ms: float
    p95_ms: float
    database_share: float
    """How much of the CPU time PostgreSQL used, 0 to 1."""


@dataclass(frozen=True)
class MeasuredPath:
    """A path of the service, its limit, and its floor: the share of the limit that it must reach.

    `ours` and `limit` make the requests, which all clients share.
    """

    name: str
    target: float
    ours: Callable[["BenchContext"], Iterable[bytes]]
    limit: Callable[["BenchContext"], Iterable[bytes]]
    clients: int = CLIENTS
    is_read: bool = True


@dataclass
class BenchContext:
    """The data that requests are made from."""

    dataset: Dataset
    tokens: Mapping[str, str]
    points: Mapping[int, ExtendedKey]
    """The keys of production metering points, by their owners' positions in `subjects`."""
    webhook_secret: bytes
    server_pids: Sequence[int]
    """PostgreSQL's first process."""
    issued: int = 0
    """How many issued GGOs have been announced so far."""


class MeasuredSide:
    """One side's requests, and their cost so far."""

    def __init__(self, side: Side, requests: Iterable[bytes], clients: int) -> None:
        self._side = side
        self._requests = iter(requests)
        self._clients = clients
        self._cost = 0.0
        self._database_cost = 0.0
        self._seconds = 0.0
        self._times: list[float] = []

    def run_for(self, seconds: float) -> None:
        """Send requests for some seconds."""
        before, database_before = self._side.cost(), self._side.database_cost()
        seen = load.many(self._side.port, self._requests, clients=self._clients, seconds=seconds)
        self._cost += self._side.cost() - before
        self._database_cost += self._side.database_cost() - database_before
        self._seconds += seen.seconds
        self._times.extend(seen.times)

    @property
    def spent(self) -> tuple[float, int]:
        """Return the CPU seconds and the number of answers so far."""
        return self._cost, len(self._times)

    def result(self) -> Run:
        """Return the rates and response times over all slices."""
        seen = load.Load(self._times, self._seconds)
        return Run(
            len(self._times) / self._cost,
            seen.per_second,
            1000 * seen.median,
            1000 * seen.quantile(0.95),
            self._database_cost / self._cost,
        )


def run(
    one: tuple[Side, Iterable[bytes]],
    other: tuple[Side, Iterable[bytes]],
    clients: int,
    seconds: float,
) -> tuple[Run, Run]:
    """Send requests to each side for some seconds, alternately in short slices.

    The machine's speed changes from second to second; this way it changes for both sides.
    """
    loads = [MeasuredSide(*each, clients) for each in (one, other)]
    for _ in range(_SLICES):
        for each in loads:
            each.run_for(seconds / _SLICES)
    first, second = loads
    return first.result(), second.result()


@dataclass(frozen=True)
class PathResult:
    """A path's result: medians of the runs of the service and of the limit."""

    name: str
    ours: Run
    limit: Run
    share: float
    target: float
    spread: float
    """The largest share of the runs divided by the smallest."""
    is_read: bool

    @property
    def met(self) -> bool:
        """Return whether the floor is reached."""
        return self.share >= self.target


def compare(
    path: MeasuredPath, context: BenchContext, ours: Side, limit: Side, *, runs: int, seconds: float
) -> PathResult:
    """Measure one path and its limit alternately."""
    pairs = [
        run((ours, path.ours(context)), (limit, path.limit(context)), path.clients, seconds)
        for _ in range(runs)
    ]
    return compared(path.name, pairs, path.target, is_read=path.is_read)


def compared(
    name: str, pairs: Sequence[tuple[Run, Run]], target: float, *, is_read: bool = False
) -> PathResult:
    """Return the result of these pairs of runs."""
    shares = [mine.per_cpu_second / other.per_cpu_second for mine, other in pairs]
    return PathResult(
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
    return (
        each.per_cpu_second,
        each.per_second,
        each.p50_ms,
        each.p95_ms,
        each.database_share,
    )


def _limit(path: str, *values: dict[str, Any]) -> Callable[[BenchContext], Iterable[bytes]]:
    asked = [PostRequest(path, each).as_http("-") for each in values]
    return lambda _: cycle(asked)


def _ours(subject: str, *asked: PostRequest) -> Callable[[BenchContext], Iterable[bytes]]:
    return lambda context: cycle([each.as_http(context.tokens[subject]) for each in asked])


def _month_ends() -> Iterator[tuple[str, str]]:
    for year, month in _MONTHS:
        following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        yield f"{year}-{month:02d}-01T00:00:00+00:00", (following - timedelta(hours=1)).isoformat()


_MONTH_VALUES = [{"owner": 1, "begin": begin, "end": end} for begin, end in _month_ends()]
_HOURS = [f"{HOURLY_YEAR}-06-{1 + n // 24:02d}T{n % 24:02d}:00:00+00:00" for n in range(240)]
_YEAR = {"owner": 2, **workload.year_range(HOURLY_YEAR)}


def _pages_of_a_month() -> list[PostRequest]:
    return [
        PostRequest(
            "/ggo",
            {
                "filters": {"beginRange": {"begin": begin, "end": end}},
                "offset": 0,
                "limit": 100,
            },
        )
        for begin, end in _month_ends()
    ]


def _hour_totals() -> list[PostRequest]:
    return [
        PostRequest("/ggo/get-total-amount", {"filters": {"begin": at, "category": "stored"}})
        for at in _HOURS
    ]


def _summary(path: str, resolution: str, **more: Any) -> PostRequest:
    body = {"resolution": resolution, "timezone": "Europe/Copenhagen", "filters": {}, **more}
    return PostRequest(path, body)


READS = [
    MeasuredPath("/accounts", 0.33, _ours(BIG, PostRequest("/accounts", {})), _limit("/hello", {})),
    MeasuredPath(
        "/ggo: 100 of a month",
        0.5,
        _ours(BIG, *_pages_of_a_month()),
        _limit("/page", *_MONTH_VALUES),
    ),
    MeasuredPath(
        "/ggo: a year unpaged, 8,760 GGOs",
        0.5,
        _ours(
            HOURLY,
            PostRequest("/ggo", {"filters": {"beginRange": workload.year_range(HOURLY_YEAR)}}),
        ),
        _limit("/year", _YEAR),
        clients=1,
    ),
    MeasuredPath(
        "/ggo/get-total-amount: an hour",
        0.42,
        _ours(HOURLY, *_hour_totals()),
        _limit("/sum/hour", *({"owner": 2, "at": at} for at in _HOURS)),
    ),
    MeasuredPath(
        "/ggo/summary: day by technology, a year",
        0.85,
        _ours(
            HOURLY,
            _summary(
                "/ggo/summary",
                "day",
                grouping=["technology"],
                filters={"beginRange": workload.year_range(HOURLY_YEAR)},
            ),
        ),
        _limit("/sum/days", _YEAR),
    ),
    MeasuredPath(
        "/ggo/summary: month by sector and technology, ten years",
        0.9,
        _ours(BIG, _summary("/ggo/summary", "month", grouping=["sector", "technology"])),
        _limit("/sum/months", {"owner": 1}),
    ),
    MeasuredPath(
        "/ggo/get-total-amount: all that is held",
        0.9,
        _ours(BIG, PostRequest("/ggo/get-total-amount", {"filters": {"category": "stored"}})),
        _limit("/sum/stored", {"owner": 1}),
    ),
    MeasuredPath(
        "/transfer/summary: month, 20,000 transfers",
        0.8,
        _ours(TRADER, _summary("/transfer/summary", "month")),
        _limit("/sum/transfers", {"owner": 3}),
    ),
]


def _operations(context: BenchContext) -> list[tuple[str, str]]:
    """Return ids and times of the trader's operations, at places all over its history."""
    found = operations_of(context.dataset, TRADER, _PLACES)
    return [(each, f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z") for each, at in found]


def _ours_of(
    subject: str, make: Callable[[BenchContext], Sequence[str]]
) -> Callable[[BenchContext], Iterable[bytes]]:
    """Return what makes GETs of the paths that `make` returns."""

    def requests(context: BenchContext) -> Iterable[bytes]:
        return cycle([GetRequest(path).as_http(context.tokens[subject]) for path in make(context)])

    return requests


def _limit_of(
    path: str, make: Callable[[str, str], dict[str, Any]]
) -> Callable[[BenchContext], Iterable[bytes]]:
    """Return what makes requests to the limit app of each of the trader's operations."""

    def requests(context: BenchContext) -> Iterable[bytes]:
        values = [make(*each) for each in _operations(context)]
        return cycle([PostRequest(path, each).as_http("-") for each in values])

    return requests


_TRADER_ID = 3
_NOW = datetime.now(UTC).isoformat()
OPERATION = "/v2/operations/{id}"
YEAR_AGO = f"/v2/balances?at={datetime.now(UTC) - timedelta(days=365):%Y-%m-%dT%H:%M:%SZ}"

READS += [
    MeasuredPath(
        OPERATION,
        0.5,
        _ours_of(
            TRADER, lambda context: [f"/v2/operations/{each}" for each, _ in _operations(context)]
        ),
        _limit_of("/operation", lambda each, _: {"id": each, "user_id": _TRADER_ID}),
    ),
    MeasuredPath(
        "/v2/operations: 100",
        0.5,
        _ours_of(
            TRADER, lambda context: [f"/v2/operations?to={at}" for _, at in _operations(context)]
        ),
        _limit_of("/operations", lambda _, at: {"user_id": _TRADER_ID, "end": at}),
    ),
    MeasuredPath(
        "/v2/entries: 100",
        0.5,
        _ours_of(
            TRADER, lambda context: [f"/v2/entries?from={at}" for _, at in _operations(context)]
        ),
        _limit_of("/entries", lambda _, at: {"owner": _TRADER_ID, "low": at, "high": _NOW}),
    ),
    MeasuredPath(
        "/v2/balances: a fifth of all GGOs",
        0.9,
        _ours_of(BIG, lambda _: ["/v2/balances"]),
        _limit("/balances", {"owner": 1}),
    ),
    MeasuredPath(
        "/v2/balances: 20,000 transfers",
        0.9,
        _ours_of(TRADER, lambda _: ["/v2/balances"]),
        _limit("/balances", {"owner": _TRADER_ID}),
    ),
]


def issued_events(context: BenchContext, *, users: int = CROWD) -> Iterator[bytes]:
    """Yield webhooks about new GGOs of the crowd's users in turn, signed as DataHub does; no end."""
    while True:
        # Both sides share the numbers, so that no GGO is sent twice.
        number, context.issued = context.issued, context.issued + 1
        begin = _ISSUED_FROM + timedelta(hours=number // users)
        place = FEW + number % users
        key = period_key(context.points[place], begin)
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
        digest = base64.b64encode(hmac.digest(context.webhook_secret, body, sha256)).decode()
        yield workload.post("/webhook/on-ggo-issued", body, f"x-hub-signature: sha256={digest}")


def _issued_for_the_limit(context: BenchContext) -> Iterator[bytes]:
    for request in issued_events(context):
        yield request.replace(b"/webhook/on-ggo-issued", b"/ggo-issued", 1)


def composes(
    context: BenchContext,
    subjects: Sequence[str],
    path: str = "/ggo/compose",
    *,
    transfers: int = 1,
) -> Iterator[bytes]:
    """Yield composes that send half of a GGO to other users, by these users in turn.

    Two generators that run at the same time need different users, or they spend the same GGOs.

    :param transfers: How many others get an equal share. GGOs that are too small are left out.
    """
    for subject, address, amount in unspent(context.dataset, subjects):
        wh = amount // (2 * transfers)
        if wh == 0:
            continue
        first = hash(address)
        body = {
            "address": address,
            "transfers": [
                {"amount": wh, "account": f"user {(first + n) % CROWD}", "reference": "bench"}
                for n in range(transfers)
            ],
            "retires": [],
        }
        yield PostRequest(path, body).as_http(context.tokens[subject])


_EVERYBODY = [f"user {number}" for number in range(CROWD)]

WRITES = [
    MeasuredPath("on-ggo-issued", 0.35, issued_events, _issued_for_the_limit, is_read=False),
    MeasuredPath(
        "/ggo/compose: half, many senders",
        0.3,
        lambda context: composes(context, _EVERYBODY[0::2]),
        lambda context: composes(context, _EVERYBODY[1::2], "/compose"),
        is_read=False,
    ),
]


def one_sender(context: BenchContext, ours: Side, *, runs: int, seconds: float) -> PathResult:
    """Compare composes of one sender with those of many, by answers per second."""
    pairs = [
        run(
            (ours, composes(context, [BIG])),
            (ours, composes(context, _EVERYBODY)),
            CLIENTS,
            seconds,
        )
        for _ in range(runs)
    ]
    line = compared("/ggo/compose: one sender : many", pairs, 0.9)
    rates = [alone.per_second / many.per_second for alone, many in pairs]
    return replace(line, share=statistics.median(rates), spread=max(rates) / min(rates))


def year_ago(context: BenchContext, ours: Side, *, runs: int, seconds: float) -> PathResult:
    """Compare balances of a year ago with those of now."""
    then, now = (
        cycle([GetRequest(path).as_http(context.tokens[TRADER])])
        for path in (YEAR_AGO, "/v2/balances")
    )
    pairs = [run((ours, then), (ours, now), CLIENTS, seconds) for _ in range(runs)]
    return compared("/v2/balances: a year ago : now", pairs, 0.5, is_read=True)


def composes_before(
    context: BenchContext,
    ours: Side,
    before: tuple[BenchContext, Side],
    *,
    runs: int,
    seconds: float,
) -> PathResult:
    """Compare composes with those of the service before operations and entries, on its own schema."""
    context_before, side_before = before
    pairs = [
        run(
            (ours, composes(context, _EVERYBODY)),
            (side_before, composes(context_before, _EVERYBODY)),
            CLIENTS,
            seconds,
        )
        for _ in range(runs)
    ]
    return compared("/ggo/compose: with operations and entries : before", pairs, 0.83)


def many_parts_ms(context: BenchContext, ours: Side, *, runs: int, seconds: float) -> float:
    """Return the CPU ms of web and PostgreSQL for a compose into `MANY_PARTS` parts."""
    side = MeasuredSide(ours, composes(context, _EVERYBODY, transfers=MANY_PARTS - 1), CLIENTS)
    side.run_for(runs * seconds)
    cost, count = side.spent
    return 1000 * cost / count
