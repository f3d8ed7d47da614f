"""A round of faults: users trade while faults are injected; then everything is audited."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import psycopg2

from devstack.replicated import ReplicatedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.answers_kept import AnswersKept
from tests.support.clocks import FEW_IN_A_REQUEST
from tests.support.database_loss import DatabaseLosses
from tests.support.fault_injector import FaultInjector, FaultPlan
from tests.support.live_system import Household, LiveSystem
from tests.support.lost_data import LostData
from tests.support.retrying_client import RetryingClient
from tests.support.waiting import eventually

# Without this, Hydra would rarely be called, and its faults would have no effect.
# Without the rest, no order would be large enough for a worker.
HARD_TIMES = {"TOKEN_CACHE_SECONDS": "1", **FEW_IN_A_REQUEST}
_FEWEST_HOURS = 4
# One more hour of GGOs per this many faults, so that long rounds don't run out of GGOs.
_ACTS_AN_HOUR = 20
_WH = 1000
_MEASURED_WH = 700
_AT_LEAST = 3
_BULKS = 0.3
"""The share of bulk orders."""


class Trader:
    """Composes random GGOs of its household, and orders in bulk."""

    def __init__(
        self, client: RetryingClient, others: list[Household], seed: str, lost_data: LostData
    ) -> None:
        self.client = client
        self._others = others
        self._lost_data = lost_data
        self._chance = random.Random(seed)

    def trade(self, over: Event) -> None:
        """Order until the event is set, but at least three times."""
        for number in itertools.count():
            if over.is_set() and number >= _AT_LEAST:
                return
            found: list[dict[str, Any]] = eventually(
                lambda: self.client.stored() or (self.client.holds_nothing() and [{}]),
                "a stored GGO, or an empty account",
                within=120,
            )
            ggo = self._chance.choice(found)
            if not ggo:
                # Everything was transferred or retired.
                return
            if self._chance.random() < _BULKS:
                self._order_in_bulk(len(found))
            else:
                self.client.compose(self._order(ggo["address"], ggo["amount"]))
            self.client.check_identity()

    def _order_in_bulk(self, ggos: int) -> None:
        """Transfer or retire a part of many GGOs; much of what is transferred stays in the account."""
        chance, home = self._chance, self.client.home
        amount = chance.randint(1, max(1, ggos * _WH // 4))
        take = chance.choice(({"amount": amount}, {"percentage": chance.choice(("7", "12.5"))}))
        order = {"select": {}, "shortfall": "partial"}
        if chance.random() < 0.5:
            period = {"from": "2026-01-01", "to": "2026-01-03"}
            against = {"gsrn": [home.consumption], "period": period}
            self._send("/v2/retirements", {**order, "against": against, "take": take})
        else:
            others = [each.subject for each in self._others if each.subject != home.subject]
            targets = [{"account": chance.choice(others), "reference": "bulk", "take": take}]
            spread = chance.choice(("sequential", "proportional"))
            self._send("/v2/transfers", {**order, "targets": targets, "spread": spread})

    def _send(self, path: str, order: dict[str, object]) -> None:
        self.client.order(path, order, self._lost_data)

    def _order(self, address: str, amount: int) -> dict[str, object]:
        """Return a compose with up to three parts; a retire may exceed what was measured."""
        home, left, transfers, retires = self.client.home, amount, [], []
        for _ in range(self._chance.randint(1, 3)):
            wh = left if self._chance.random() < 0.2 else self._chance.randint(0, left // 2)
            if wh and self._chance.random() < 0.5:
                retires.append(wh)
            elif wh:
                # The whole remainder goes to the sender itself, so that it can keep trading.
                transfers.append((wh, home if wh == left else self._chance.choice(self._others)))
            left -= wh
        if not transfers and not retires:
            transfers.append((1, home))
        return home.order(address, transfers=transfers, retires=retires)


@dataclass(frozen=True)
class RoundResult:
    """The result of a round.

    Faults by name, the number of accepted orders, and how often each process couldn't start.
    """

    faults: Counter[str]
    orders: int
    gave_up: Counter[str]


def fault_round(
    system: LiveSystem,
    servers: tuple[ReplicatedPostgres, EmbeddedValkey],
    seed: int,
    plan: FaultPlan,
    *,
    settled_within: float = 45,
) -> RoundResult:
    """Let two clients of one account and one of another trade while faults happen as planned.

    AssertionError if anything is lost, duplicated, or not settled in the end.
    """
    homes = _homes(system, _FEWEST_HOURS + plan.acts // _ACTS_AN_HOUR)
    lost_data, chance = system.lost_data, random.Random(seed)
    losses_before = lost_data.count
    database_losses = DatabaseLosses(system, servers[0], homes, lost_data, chance)
    injector = FaultInjector(system, servers, chance, plan, database_losses)
    operations_before = _operations(system)
    with _users(system, homes, seed) as (traders, answers):
        with _working(
            [*(each.trade for each in traders), *(each.watch for each in answers)]
        ) as pool:
            sabotage = pool.submit(injector.work)
            try:
                _watch(system, sabotage)
            finally:
                print(f"seed {seed}: {', '.join(injector.done)}")  # noqa: T201 - to reproduce a failure
        system.wait_until_settled(settled_within)
        system.audit()
        for each in answers:
            each.check_again()
    _check_announcements(system, homes)
    injector.restore_clocks()
    assert not injector.crashed
    if lost_data.count == losses_before:
        # After a loss of the database, accepted orders may be missing.
        ordered = [each for trader in traders for each in trader.client.operations]
        assert Counter(ordered) == Counter(_operations(system) - operations_before)
    for client in (*(trader.client for trader in traders), *(each.reader for each in answers)):
        assert 500 not in client.unanswered
    accepted = sum(len(trader.client.operations) for trader in traders)
    assert accepted
    return RoundResult(injector.survived, accepted, injector.gave_up)


def _operations(system: LiveSystem) -> set[str]:
    return {str(row["id"]) for row in system.rows("SELECT id FROM operations")}


@contextmanager
def _users(
    system: LiveSystem, homes: list[Household], seed: int
) -> Iterator[tuple[list[Trader], list[AnswersKept]]]:
    """Yield two traders of one household and one of another, and a watcher of each household's account."""
    with ExitStack() as stack:
        traders = [
            Trader(RetryingClient(system, home), homes, f"{seed} {number}", system.lost_data)
            for number, home in enumerate([homes[0], homes[0], homes[1]])
        ]
        readers = [stack.enter_context(system.reader(home.subject)) for home in homes]
        yield traders, [AnswersKept(reader, system.lost_data) for reader in readers]


def _homes(system: LiveSystem, hours: int) -> list[Household]:
    """Create two households with GGOs and consumption for this many hours."""
    homes = system.households("anna", "bo")
    for home in homes:
        system.subscribe(home)
        for number in range(hours):
            system.publish_consumption(home, number, _MEASURED_WH)
            system.issue(home, number, _WH)
    return homes


@contextmanager
def _working(loops: Sequence[Callable[[Event], None]]) -> Iterator[ThreadPoolExecutor]:
    """Run these loops in threads while the context is open; raise what they raise."""
    over = Event()
    with ThreadPoolExecutor() as pool:
        work = [pool.submit(loop, over) for loop in loops]
        try:
            yield pool
        finally:
            over.set()
        for each in work:
            each.result()


def _watch(system: LiveSystem, sabotage: Future[None]) -> None:
    """Check while faults happen that the accounts together hold what was issued, at every moment.

    The check is skipped between the loss of a database and its recovery.
    """
    lost_data = system.lost_data
    while not sabotage.done():
        count, excused = lost_data.count, lost_data.going_on.is_set()
        try:
            held, issued = _held_and_issued(system)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # PostgreSQL is restarting.
            held = issued = 0
        assert held == issued or excused or lost_data.count > count
        wait([sabotage], timeout=0.2)
    sabotage.result()


def _held_and_issued(system: LiveSystem) -> tuple[int, int]:
    """Return the Wh that all accounts hold now, and the Wh that were issued so far."""
    [found] = system.rows(
        "SELECT sum(amount) FILTER (WHERE stored OR retired) AS held, "
        "sum(amount) FILTER (WHERE parent_id IS NULL) AS issued FROM ggos"
    )
    return int(found["held"]), int(found["issued"])


_RECEIVED = """
    SELECT address FROM ggos JOIN users ON users.id = owner_id
    WHERE subject = %s AND parent_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM transactions JOIN batches ON batches.id = batch_id
        WHERE transactions.ggo_id = ggos.id AND transactions.type = 'retire'
        AND batches.ggo_id = ggos.parent_id)
"""
"""The parts of splits that a user received or kept, without those retired by the split itself."""


def _check_announcements(system: LiveSystem, homes: list[Household]) -> None:
    """Check that each committed transfer and remainder was announced at least once.

    GGOs that a recovery brought back are exempt.
    """
    for home in homes:
        received = {row["address"] for row in system.rows(_RECEIVED, home.subject)}
        received -= system.lost_data.recovered
        eventually(
            lambda home=home, received=received: received <= system.announced_addresses(home),
            f"webhooks about everything that {home.subject} received",
            within=60,
        )
