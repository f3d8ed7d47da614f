"""Measurements of the group scale: both sides in turn, several times; medians are compared."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import gevent
import orjson
import psycopg2

from bench import load, workload
from bench.dataset import BIG, CROWD, HOURLY, YEARS, reset_writes
from bench.running import Service

CLIENTS = 32
CROWD_CLIENTS = 100
_ONE_AT_A_TIME = 3
_COMPOSES = 40
_READ = 1 << 20


@dataclass(frozen=True)
class ScaleResult:
    """One line of the table."""

    name: str
    ours: float
    theirs: float
    ratio: float
    bound: str
    met: bool
    unit: str
    spread: float
    """The largest ratio of the runs divided by the smallest."""


def at_most(
    name: str, pairs: Sequence[tuple[float, float]], bound: float, unit: str
) -> ScaleResult:
    """Return a result that is met if the ratio of ours to theirs is at most `bound`."""
    return _measure(name, pairs, unit, f"≤ {bound}", lambda ratio: ratio <= bound)


def at_least(
    name: str, pairs: Sequence[tuple[float, float]], bound: float, unit: str
) -> ScaleResult:
    """Return a result that is met if the ratio of ours to theirs is at least `bound`."""
    return _measure(name, pairs, unit, f"≥ {bound}", lambda ratio: ratio >= bound)


def _measure(
    name: str,
    pairs: Sequence[tuple[float, float]],
    unit: str,
    bound: str,
    is_met: Callable[[float], bool],
) -> ScaleResult:
    ours = statistics.median(pair[0] for pair in pairs)
    theirs = statistics.median(pair[1] for pair in pairs)
    ratios = [mine / other for mine, other in pairs]
    # The median of ratios: the two of a pair ran at the same time, under the same load of the machine.
    ratio = statistics.median(ratios)
    return ScaleResult(
        name, ours, theirs, ratio, bound, is_met(ratio), unit, max(ratios) / min(ratios)
    )


def pages(service: Service, limit_port: int, runs: int, seconds: float) -> Iterator[ScaleResult]:
    """Measure pages of a hundred GGOs of a year, for an account with a fifth of all GGOs."""
    token = service.token(BIG)
    asked = [request.as_http(token) for request in workload.pages()]
    following = _following_pages(service, token)
    counted, alone, further, tails = [], [], [], []
    for _ in range(runs):
        ours = load.many(service.port, asked, clients=CLIENTS, seconds=seconds)
        theirs = load.many(
            limit_port, _limit_requests("/page-and-total"), clients=CLIENTS, seconds=seconds
        )
        page = load.many(limit_port, _limit_requests("/page"), clients=CLIENTS, seconds=seconds)
        more = load.many(service.port, following, clients=CLIENTS, seconds=seconds)
        counted.append((ours.per_second, theirs.per_second))
        alone.append((ours.per_second, page.per_second))
        further.append((more.per_second, page.per_second))
        tails.append((1000 * ours.quantile(0.99), 1000 * ours.median))
    yield at_least("first page and total : limit app, both queries", counted, 0.5, "/s")
    yield at_least("first page and total : limit app, page only", alone, 0.5, "/s")
    yield at_least("page by cursor : limit app, page only", further, 0.5, "/s")
    yield at_most("first page and total, 32 connections, p99 : p50", tails, 5, "ms")


def _limit_requests(path: str) -> list[bytes]:
    values = [{"owner": 1, **workload.year_range(year)} for year in YEARS]
    return [workload.PostRequest(path, each).as_http("-") for each in values]


def _following_pages(service: Service, token: str) -> list[bytes]:
    """Return requests for the second page of each year, by the first page's cursor."""
    found, client = [], load.Client(service.port, green=False)
    for request in workload.pages():
        body = {**request.body, "cursor": ""}
        first = orjson.loads(client.ask(workload.PostRequest("/ggo", body).as_http(token)))
        following = {**body, "cursor": first["nextCursor"]}
        found.append(workload.PostRequest("/ggo", following).as_http(token))
    client.close()
    return found


def sums(service: Service, runs: int) -> Iterator[ScaleResult]:
    """Measure summaries and a total, compared with the fastest known SQL for the same result."""
    for each in workload.SUMS:
        request = each.request.as_http(service.token(each.subject))
        with closing(psycopg2.connect(service.dataset.uri)) as connection:
            connection.autocommit = True
            plain = Plain(connection, each.sql, {"owner": each.owner, **each.values})
            pairs = [(median_ms(service, request), plain.median_ms()) for _ in range(runs)]
        yield at_most(f"{each.name} : plain SQL", pairs, each.bound, "ms")


class Plain:
    """A statement with its values."""

    def __init__(self, connection: Any, sql: str, values: dict[str, Any]) -> None:
        self._connection = connection
        self._sql = sql
        self._values = values

    def median_ms(self) -> float:
        """Return the median time to execute it and fetch the rows."""
        times = []
        for _ in range(_ONE_AT_A_TIME):
            begun = time.perf_counter()
            with self._connection.cursor() as cursor:
                cursor.execute(self._sql, self._values)
                cursor.fetchall()
            times.append(time.perf_counter() - begun)
        return 1000 * statistics.median(times)


def median_ms(service: Service, request: bytes) -> float:
    """Return the median time of a request that is sent a few times."""
    return 1000 * load.one(service.port, [request] * _ONE_AT_A_TIME).median


def growth(small: Service, large: Service, runs: int) -> Iterator[ScaleResult]:
    """Measure one account's requests, one at a time, in a small and in a large database."""
    for name, asked in (
        ("page of 100", workload.hourly_pages()),
        ("total of an hour", workload.hour_totals()),
    ):
        pairs = [(_hourly_ms(large, asked), _hourly_ms(small, asked)) for _ in range(runs)]
        yield at_most(f"{name} : in the small database", pairs, 1.3, "ms")
    pairs = []
    try:
        for run in range(runs):
            pairs.append((_composes_ms(large, run), _composes_ms(small, run)))
    finally:
        reset_writes(large.dataset)
        reset_writes(small.dataset)
    yield at_most("compose : in the small database", pairs, 1.3, "ms")


def _hourly_ms(service: Service, asked: Sequence[workload.PostRequest]) -> float:
    token = service.token(HOURLY)
    requests = [request.as_http(token) for request in asked]
    load.one(service.port, requests)
    return 1000 * load.one(service.port, requests * 4).median


def _composes_ms(service: Service, run: int) -> float:
    token = service.token(HOURLY)
    with closing(psycopg2.connect(service.dataset.uri)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT address FROM ggos WHERE owner_id = 2 AND stored AND NOT locked "
            "ORDER BY begin OFFSET %s LIMIT %s",
            (run * _COMPOSES, _COMPOSES),
        )
        addresses = [address for (address,) in cursor.fetchall()]
    asked = [workload.compose(address, "user 1").as_http(token) for address in addresses]
    return 1000 * load.one(service.port, asked).median


def neighbours(service: Service, runs: int, seconds: float) -> Iterator[ScaleResult]:
    """Measure 99 clients with and without a hundredth that keeps asking for a ten-year summary."""
    ordinary = [
        workload.PostRequest("/ggo", {"filters": {"category": "stored"}, "limit": 20}).as_http(
            token
        )
        for token in (service.token(f"user {number}") for number in range(0, CROWD, 50))
    ]
    greedy = [workload.MONTH_SUMMARY.as_http(service.token(BIG))]
    pairs = []
    for _ in range(runs):
        alone = load.many(service.port, ordinary, clients=CROWD_CLIENTS - 1, seconds=seconds)
        summing = gevent.spawn(load.many, service.port, greedy, clients=1, seconds=seconds)
        beside = load.many(service.port, ordinary, clients=CROWD_CLIENTS - 1, seconds=seconds)
        summing.get()
        pairs.append((1000 * beside.median, 1000 * alone.median))
    yield at_most("99 clients' p50 beside ten-year summaries : without", pairs, 2, "ms")


def memory(service: Service) -> Iterator[ScaleResult]:
    """Measure how much the web's memory grows while a fifth of all GGOs is listed."""
    token = service.token(BIG)
    for name, body in (
        ("unpaged", {"filters": {}}),
        ("by cursors of 1,000", {"filters": {}, "limit": 1000, "cursor": ""}),
    ):
        before = _resident_mb(service)
        listed, peak = _list_all(service, token, body)
        assert listed == service.dataset.size // 5, listed
        bound = 200
        yield ScaleResult(
            f"listing {listed:,} GGOs {name}: growth of all web processes",
            peak - before,
            bound,
            (peak - before) / bound,
            "≤ 1",
            peak - before <= bound,
            "MB",
            1,
        )


def _list_all(service: Service, token: str, body: dict[str, Any]) -> tuple[int, float]:
    """Return how many GGOs were listed, and the largest memory of the web processes in MB."""
    listed, peak, cursor = 0, 0.0, body.get("cursor")
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=600)) as connection:
        while True:
            asked = body if cursor is None else {**body, "cursor": cursor}
            headers = {"Authorization": f"Bearer {token}"}
            connection.request("POST", "/ggo", orjson.dumps(asked), headers)
            answer, end = connection.getresponse(), b""
            while part := answer.read(_READ):
                listed += (end[-8:] + part).count(b'"address"') - end[-8:].count(b'"address"')
                end = (end + part)[-1000:]
                peak = max(peak, _resident_mb(service))
            if cursor is None:
                return listed, peak
            cursor = _next_cursor(end)
            if cursor is None:
                return listed, peak


def _next_cursor(end: bytes) -> str | None:
    found = orjson.loads(b"{" + end[end.rindex(b'"nextCursor"') :])["nextCursor"]
    return None if found is None else str(found)


def _resident_mb(service: Service) -> float:
    pages = 0
    for pid in service.worker_pids():
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6
