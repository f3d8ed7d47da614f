"""Measures bulk orders, and waiting for an operation (contract: v2, What it may cost).

CPU is that of web, planner and PostgreSQL.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection

import gevent
import orjson

from bench import cpu, load, running, workload
from bench.dataset import CROWD, HOURLY, HOURLY_YEAR, connect, reset_writes, unspent
from bench.growth import CostPoint
from bench.measures import ScaleResult, at_most
from bench.paths import CLIENTS, BenchContext, MeasuredSide, Side, composes
from bench.planner import READY
from bench.running import Service
from bench.workload import PostRequest
from devstack.processes import ROOT

BULK_GGOS = 8760
"""GGOs of a bulk order: one for each hour of a year."""
_BULK_S = 15
_WAIT_MS = 300
_NEIGHBOURS = 4
_SLICE_S = 0.5
_QUIET_SLICES = 6
_EVERYBODY = [f"user {number}" for number in range(CROWD)]
_LONG_WAIT_S = 20
_WAITS = 50


@dataclass(frozen=True)
class Measured:
    """A service under measurement: its web, the data of requests, and its processes."""

    service: Service
    context: BenchContext
    side: Side


def measure(now: Measured, runs: int, seconds: float) -> Iterator[ScaleResult]:
    """Yield the lines of the table."""
    yield from waits(now)
    yield from bulk(now, runs, seconds)
    yield from beside_a_bulk(now, runs)


def waits(now: Measured) -> Iterator[ScaleResult]:
    """Measure how long after the ledger's commit an answer comes that has waited for it."""
    late = []
    with running.instant_ledger() as ledger, running.worker(now.service, ledger):
        for request in composes(now.context, _EVERYBODY):
            late += _late_ms(now, request)
            if len(late) >= _WAITS:
                break
    reset_writes(now.service.dataset)
    late.sort()
    p95 = late[int(0.95 * len(late))]
    yield at_most("Prefer: wait, answered after the commit, p95", [(p95, _WAIT_MS)], 1, "ms")


def _late_ms(now: Measured, request: bytes) -> list[float]:
    """Compose, and wait for the end; return how late the answer came, or nothing if none waited."""
    with closing(HTTPConnection("127.0.0.1", now.service.port, timeout=60)) as connection:
        head, _, body = request.partition(b"\r\n\r\n")
        bearer = next(
            line.split(": ", 1)[1]
            for line in head.decode().split("\r\n")
            if line.startswith("Authorization")
        )
        headers = {"Authorization": bearer, "Content-Type": "application/json"}
        connection.request("POST", "/ggo/compose", body, headers)
        answer = connection.getresponse()
        answer.read()
        path = answer.headers["Location"]
        asked = datetime.now(UTC)
        connection.request("GET", path, headers={**headers, "Prefer": f"wait={_LONG_WAIT_S}"})
        found = orjson.loads(connection.getresponse().read())
        answered = datetime.now(UTC)
    ended = datetime.fromisoformat(found["completedAt"])
    return [1000 * (answered - ended).total_seconds()] if ended > asked else []


@dataclass(frozen=True)
class BulkCost:
    """What a bulk order cost until it was accepted."""

    cpu_s: float
    seconds: float


class Bulks:
    """Bulk orders of one account, whose planner is no worker, so that nothing settles them."""

    def __init__(self, now: Measured, planner: "subprocess.Popen[str]") -> None:
        self._now = now
        self._planner = planner
        self._pids = [*now.side.pids, planner.pid]
        self._count = time.time_ns()

    def _cost(self) -> float:
        return sum(map(cpu.seconds, self._pids))

    def send(self, take: dict[str, object], *, dry_run: bool = False) -> bytes:
        """Order or plan the transfer of the year; return the answer."""
        self._count += 1
        year = {"from": f"{HOURLY_YEAR}-01-01", "to": f"{HOURLY_YEAR + 1}-01-01", "timeZone": "UTC"}
        body = {
            "select": {"period": year},
            "targets": [{"account": "user 0", "reference": "bench", "take": take}],
            "dryRun": dry_run,
        }
        token = self._now.context.tokens[HOURLY]
        header = f"Authorization: Bearer {token}\r\nIdempotency-Key: bench-{self._count}"
        client = load.Client(self._now.service.port, green=True)
        answer = client.ask(workload.post("/v2/transfers", orjson.dumps(body), header))
        client.close()
        return answer

    def start_planning(self) -> None:
        """Let the planner work on all that is queued."""
        assert self._planner.stdin is not None
        self._planner.stdin.write("\n")
        self._planner.stdin.flush()

    def planned(self) -> None:
        """Wait until the planner has finished.

        :raises RuntimeError: It worked on no order.
        """
        assert self._planner.stdout is not None
        count = self._planner.stdout.readline().partition(" ")[0]
        if count != "1":
            raise RuntimeError(f"The planner worked on {count} orders instead of one")

    def order(self, take: dict[str, object]) -> BulkCost:
        """Order, and return the cost until all its batches are written.

        :raises RuntimeError: It did not become as many batches as there are GGOs.
        """
        spent, begun = self._cost(), time.perf_counter()
        made = orjson.loads(self.send(take))
        self.start_planning()
        self.planned()
        found = BulkCost(self._cost() - spent, time.perf_counter() - begun)
        self.check(made["id"])
        return found

    def check(self, operation_id: str) -> None:
        """Raise RuntimeError unless the operation has a batch for each GGO of the year."""
        with connect(self._now.service.dataset.uri) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM batches WHERE operation_id = %s", (operation_id,))
            if cursor.fetchone() != (BULK_GGOS,):
                raise RuntimeError("The bulk order was not planned as it should")

    def dry_run(self, take: dict[str, object]) -> BulkCost:
        """Plan the same without carrying it out."""
        spent, begun = self._cost(), time.perf_counter()
        self.send(take, dry_run=True)
        return BulkCost(self._cost() - spent, time.perf_counter() - begun)


@contextmanager
def bulks(now: Measured) -> Iterator[Bulks]:
    """Run a planner."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.planner"],
        env={**now.service.environment, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as planner:
        assert planner.stdout is not None
        assert planner.stdin is not None
        while planner.stdout.readline().strip() not in (READY, ""):
            pass
        try:
            yield Bulks(now, planner)
        finally:
            planner.stdin.close()


_WHOLE: dict[str, object] = {"all": True}
_HALF: dict[str, object] = {"percentage": "50"}


def bulk(now: Measured, runs: int, seconds: float) -> Iterator[ScaleResult]:
    """Compare a bulk order of a year with as many composes, and with its dry run."""
    with bulks(now) as orders:
        orders.dry_run(_WHOLE)
        for name, take, requests in (
            ("whole GGOs", _WHOLE, _whole_composes),
            ("half of each", _HALF, lambda context: composes(context, _EVERYBODY)),
        ):
            costs, dry, pairs = [], [], []
            for _ in range(runs):
                planned = orders.dry_run(take)
                costs.append(orders.order(take))
                dry.append((planned.cpu_s, costs[-1].cpu_s))
                reset_writes(now.service.dataset)
                pairs.append(
                    (costs[-1].cpu_s, BULK_GGOS * _compose_s(now, requests(now.context), seconds))
                )
                reset_writes(now.service.dataset)
            title = f"a bulk of {BULK_GGOS:,}, {name}"
            yield at_most(f"{title} : as many composes", pairs, 0.25, "CPU s")
            yield at_most(
                f"{title}: until accepted", [(each.seconds, _BULK_S) for each in costs], 1, "s"
            )
            yield at_most(f"{title}: dry run : that", dry, 0.3, "CPU s")


def _whole_composes(context: BenchContext) -> Iterator[bytes]:
    for subject, address, amount in unspent(context.dataset, _EVERYBODY):
        account = _EVERYBODY[hash(address) % CROWD]
        transfer = {"amount": amount, "account": account, "reference": "bench"}
        body = {"address": address, "transfers": [transfer], "retires": []}
        yield PostRequest("/ggo/compose", body).as_http(context.tokens[subject])


def _compose_s(now: Measured, requests: Iterable[bytes], seconds: float) -> float:
    """Return the CPU seconds of a compose."""
    side = MeasuredSide(now.side, requests, CLIENTS)
    side.run_for(seconds)
    cost, count = side.spent
    return cost / count


def beside_a_bulk(now: Measured, runs: int) -> Iterator[ScaleResult]:
    """Compare others' composes while a bulk order is planned with those before."""
    with bulks(now) as orders:
        pairs = [_beside_one(now, orders) for _ in range(runs)]
    yield at_most("others' composes beside a bulk, p95 : without", pairs, 1.5, "ms")


def _beside_one(now: Measured, orders: Bulks) -> tuple[float, float]:
    """Return the p95 of others' composes, in ms, while a bulk order is planned, and before."""
    requests = composes(now.context, _EVERYBODY)

    def some() -> Sequence[float]:
        found = load.many(now.service.port, requests, clients=_NEIGHBOURS, seconds=_SLICE_S)
        return found.times

    some()
    made = orjson.loads(orders.send(_HALF))
    quiet = [each for _ in range(_QUIET_SLICES) for each in some()]
    orders.start_planning()
    planned = gevent.get_hub().threadpool.spawn(orders.planned)
    busy: list[float] = []
    while not planned.ready():
        busy += some()
    planned.get()
    orders.check(made["id"])
    reset_writes(now.service.dataset)
    return _p95_ms(busy), _p95_ms(quiet)


def _p95_ms(times: Sequence[float]) -> float:
    return 1000 * load.Load(times, 1).quantile(0.95)


def by_size(measured: Sequence[Measured], runs: int) -> list[CostPoint]:
    """Measure a bulk order of a year and its dry run in databases of different sizes.

    It returns the databases to their built state.
    """
    found = []
    for now in measured:
        reset_writes(now.service.dataset)
        planned, ordered = [], []
        with bulks(now) as orders:
            orders.dry_run(_HALF)
            for _ in range(runs):
                planned.append(orders.dry_run(_HALF).cpu_s)
                ordered.append(orders.order(_HALF).cpu_s)
                reset_writes(now.service.dataset)
        size = now.service.dataset.size
        found.append(CostPoint("a bulk of a year", size, 1000 * statistics.median(ordered)))
        found.append(CostPoint("a dry run of it", size, 1000 * statistics.median(planned)))
    return sorted(found, key=lambda point: point.operation)
