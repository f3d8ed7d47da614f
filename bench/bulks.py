"""Measurements of the group orders: operations, balances, entries and bulk orders (contract: v2, Costs).

Each line compares two sides that are measured in turns. CPU is that of web, planner and PostgreSQL.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import cycle

import gevent
import orjson

from bench import before, cpu, load, measures, paths, running, workload
from bench.dataset import BIG, CROWD, HOURLY, HOURLY_YEAR, TRADER, connect, reset_writes, unspent
from bench.measures import ScaleResult, at_least, at_most
from bench.paths import CLIENTS, BenchContext, MeasuredSide, Side, composes
from bench.planner import READY
from bench.running import Service
from bench.workload import PostRequest, get
from devstack.processes import ROOT

BULK_GGOS = 8760
"""GGOs of a bulk order: one for each hour of a year."""
_BULK_S = 15
_WAIT_MS = 300
_OPERATIONS = 1000
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


def measure(
    now: Measured, then: Measured, limit: Side, runs: int, seconds: float
) -> Iterator[ScaleResult]:
    """Yield the lines of the table.

    :param then: The last version without operations and entries.
    :param limit: The limit app on the database of `now`.
    """
    yield from composes_now_and_before(now, then, runs, seconds)
    yield from views(now, limit, runs, seconds)
    yield from balances(now, runs)
    yield from waits(now)
    yield from bulk(now, runs, seconds)
    yield from beside_a_bulk(now, runs)


def composes_now_and_before(
    now: Measured, then: Measured, runs: int, seconds: float
) -> Iterator[ScaleResult]:
    """Compare composes with those of the last version without operations and entries."""
    pairs = []
    for _ in range(runs):
        ours, theirs = paths.run(
            (now.side, composes(now.context, _EVERYBODY)),
            (then.side, composes(then.context, _EVERYBODY)),
            CLIENTS,
            seconds,
        )
        pairs.append((1000 / ours.per_cpu_second, 1000 / theirs.per_cpu_second))
    reset_writes(now.service.dataset)
    before.reset_writes(then.service.dataset)
    yield at_most(f"a compose : at {before.COMMIT[:7]}", pairs, 1.2, "CPU ms")


def views(now: Measured, limit: Side, runs: int, seconds: float) -> Iterator[ScaleResult]:
    """Compare reads with bare views that run the same query."""
    token = now.context.tokens[TRADER]
    years = [f"{year}-01-01T00:00:00Z" for year in range(2016, 2024)]
    with connect(now.service.dataset.uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT operations.id::text FROM operations JOIN users ON users.id = user_id "
            "WHERE subject = %s LIMIT %s",
            (TRADER, _OPERATIONS),
        )
        ids = [each for (each,) in cursor]
    for name, asked, theirs in (
        (
            "one operation",
            [get(f"/v2/operations/{each}", token) for each in ids],
            [PostRequest("/operation", {"id": each}) for each in ids],
        ),
        (
            "a page of 100 operations",
            [get(f"/v2/operations?from={each}&limit=100", token) for each in years],
            [PostRequest("/operations", {"begin": each}) for each in years],
        ),
        (
            "a page of 100 entries",
            [get(f"/v2/entries?from={each}&limit=100", token) for each in years],
            [PostRequest("/entries", {"low": each}) for each in years],
        ),
    ):
        bare = [each.as_http("-") for each in theirs]
        pairs = []
        for _ in range(runs):
            mine, other = paths.run(
                (now.side, cycle(asked)), (limit, cycle(bare)), CLIENTS, seconds
            )
            pairs.append((mine.per_cpu_second, other.per_cpu_second))
        yield at_least(f"{name} : bare view, same query", pairs, 0.5, "/CPU s")


def balances(now: Measured, runs: int) -> Iterator[ScaleResult]:
    """Compare the balance of now with plain SQL, and that of a year ago with that of now."""
    then = datetime.now(UTC) - timedelta(days=365)
    token = now.context.tokens[BIG]
    asked = get("/v2/balances", token)
    earlier = get(f"/v2/balances?at={then:%Y-%m-%dT%H:%M:%SZ}", token)
    plainly, in_time = [], []
    with connect(now.service.dataset.uri) as connection:
        plain = measures.Plain(connection, workload.BALANCE, {"owner": 1})
        for _ in range(runs):
            ours = measures.median_ms(now.service, asked)
            plainly.append((1000 / ours, 1000 / plain.median_ms()))
            in_time.append(
                (measures.median_ms(now.service, earlier), measures.median_ms(now.service, asked))
            )
    yield at_least("balances now : plain SQL", plainly, 0.9, "/s")
    yield at_most("balances at a year ago : now", in_time, 2, "ms")


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
        before_it, begun = self._cost(), time.perf_counter()
        made = orjson.loads(self.send(take))
        self.start_planning()
        self.planned()
        found = BulkCost(self._cost() - before_it, time.perf_counter() - begun)
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
        before_it, begun = self._cost(), time.perf_counter()
        self.send(take, dry_run=True)
        return BulkCost(self._cost() - before_it, time.perf_counter() - begun)


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
