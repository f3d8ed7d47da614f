"""Measures how the cost of requests grows with the database and with the number of active accounts.

Cost is the CPU time of web and PostgreSQL per request; for settling a compose, that of worker and
PostgreSQL.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from bench import load, paths, running, workload
from bench.dataset import CROWD, HOURLY, HOURLY_YEAR, connect, reset_writes, subscribe_all
from bench.paths import CLIENTS, BenchContext, Side
from bench.running import Service
from bench.workload import PostRequest

BOUND = 1.3
USERS = (1, 10, 100, CROWD - 110)
"""Numbers of active accounts. Each number stands for different accounts, with unspent GGOs."""
_MS = 1000
_PATIENCE = 2000
"""How often to check that all composes are settled; 20 times a second."""

SETTLEMENT = "a settlement"

Requests = Callable[[BenchContext, int], Iterable[bytes]]


@dataclass(frozen=True)
class CostPoint:
    """The cost of an operation in CPU milliseconds, with `x` GGOs or active accounts."""

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


def _entries(context: BenchContext, users: int) -> Iterable[bytes]:
    months = [
        f"/v2/entries?from={HOURLY_YEAR}-{month:02d}-01T00:00:00Z&limit=100"
        for month in range(1, 10)
    ]
    return _gets(context, users, months)


def _balances(context: BenchContext, users: int) -> Iterable[bytes]:
    return _gets(context, users, ["/v2/balances"])


def _operation_pages(context: BenchContext, users: int) -> Iterable[bytes]:
    """Return pages of operations; the composes before have made enough of them."""
    return _gets(context, users, ["/v2/operations?limit=100"])


def _one_operation(context: BenchContext, users: int) -> Iterable[bytes]:
    with connect(context.dataset.uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT subject, id::text FROM users AS account, LATERAL ("
            " SELECT operations.id FROM operations WHERE user_id = account.id LIMIT 100"
            ") AS made WHERE subject = ANY(%s)",
            ([HOURLY] if users == 1 else _crowd(users),),
        )
        made = cursor.fetchall()
    return cycle([workload.get(f"/v2/operations/{each}", context.tokens[by]) for by, each in made])


def _gets(context: BenchContext, users: int, paths_: Sequence[str]) -> Iterable[bytes]:
    subjects = [HOURLY] if users == 1 else _crowd(users)
    return cycle([workload.get(path, context.tokens[by]) for by in subjects for path in paths_])


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
    "a page of 100 entries": _entries,
    "a balance": _balances,
    "a compose": _composes,
    "one operation": _one_operation,
    "a page of 100 operations": _operation_pages,
}


def by_size(
    contexts: Sequence[tuple[BenchContext, Side]], runs: int, seconds: float
) -> list[CostPoint]:
    """Measure the cost of one account's requests in databases of different sizes."""
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
    """Measure the cost of settling `count` composes of one account, in each database."""
    with running.instant_ledger() as ledger:
        return [
            CostPoint(
                SETTLEMENT, context.dataset.size, _settlement_ms(service, context, ledger, 1, count)
            )
            for service, context in zip(services, contexts, strict=True)
        ]


def settlements_by_users(service: Service, context: BenchContext, count: int) -> list[CostPoint]:
    """Measure the cost of settling `count` composes of more and more accounts."""
    with running.instant_ledger() as ledger:
        return [
            CostPoint(SETTLEMENT, users, _settlement_ms(service, context, ledger, users, count))
            for users in USERS
        ]


def _settlement_ms(
    service: Service, context: BenchContext, ledger_url: str, users: int, count: int
) -> float:
    """Return the CPU ms of worker and PostgreSQL per compose, in a second round with warm caches."""
    spent = 0.0
    for _ in range(2):
        prepare(context)
        asked = iter(_composes(context, users))
        load.exhaust(service.port, islice(asked, count - 1), clients=CLIENTS)
        with running.worker(service, ledger_url) as worker:
            side = Side(0, [pid for pid in (worker.pid, *context.server_pids) if pid])
            before = side.cost()
            # The wake-up of one more compose makes the worker take up all of them.
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
    raise TimeoutError("The composes were not settled in time")


def by_users(context: BenchContext, side: Side, runs: int, seconds: float) -> list[CostPoint]:
    """Measure the cost of requests in one database, from more and more accounts."""
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
    """Return the database to its built state, and subscribe all accounts to webhooks."""
    reset_writes(context.dataset)
    subscribe_all(context.dataset)


def _bound(requests: Requests, context: BenchContext, users: int) -> Callable[[], Iterable[bytes]]:
    return lambda: requests(context, users)


def _in_turn(
    sides: Sequence[tuple[Side, Callable[[], Iterable[bytes]]]], runs: int, seconds: float
) -> list[float]:
    """Return the CPU ms per request of each side, measured in short turns; medians of the runs."""
    found: list[list[float]] = [[] for _ in sides]
    asking = [paths.MeasuredSide(side, requests(), CLIENTS) for side, requests in sides]
    for one in asking:
        # Warm up connections, plans and caches.
        one.run_for(seconds)
    for _ in range(runs):
        for each, one in zip(found, asking, strict=True):
            before = one.spent
            one.run_for(seconds)
            cost, count = (now - then for now, then in zip(one.spent, before, strict=True))
            each.append(_MS * cost / count)
    return [statistics.median(each) for each in found]


def ratios(points: Sequence[CostPoint]) -> list[tuple[str, float]]:
    """Return, by operation, the ratio of the last cost to the first."""
    names = dict.fromkeys(point.operation for point in points)
    found = []
    for name in names:
        costs = [point.ms for point in points if point.operation == name]
        found.append((name, costs[-1] / costs[0]))
    return found
