"""A round of sabotage: users trade while everything around them breaks; then all is audited."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import psycopg2

from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.saboteur import Saboteur
from tests.support.stubborn import Stubborn
from tests.support.town import Household, Town
from tests.support.waiting import eventually

_HOURS = 4
_WH = 1000
_MEASURED_WH = 700
_AT_LEAST = 3


class Trader:
    """Composes what it finds, at random."""

    def __init__(self, client: Stubborn, others: list[Household], seed: str) -> None:
        self.client = client
        self._others = others
        self._chance = random.Random(seed)

    def trade(self, over: Event) -> None:
        """Compose until the event is set, and a few times at least; each is answered in the end."""
        for number in itertools.count():
            if over.is_set() and number >= _AT_LEAST:
                return
            found: list[dict[str, Any]] = eventually(
                lambda: self.client.stored() or (self.client.holds_nothing() and [{}]),
                "something to trade, or nothing at all",
                within=60,
            )
            ggo = self._chance.choice(found)
            if not ggo:
                # All of it was given away or retired.
                return
            self.client.compose(self._order(ggo["address"], ggo["amount"]))

    def _order(self, address: str, amount: int) -> dict[str, object]:
        """Up to three parts, sometimes of all there is; a retire may be more than was measured."""
        home, left, transfers, retires = self.client.home, amount, [], []
        for _ in range(self._chance.randint(1, 3)):
            wh = left if self._chance.random() < 0.2 else self._chance.randint(0, left // 2)
            if wh and self._chance.random() < 0.5:
                retires.append(wh)
            elif wh:
                # Who gives all that is left to others has soon nothing to trade.
                transfers.append((wh, home if wh == left else self._chance.choice(self._others)))
            left -= wh
        if not transfers and not retires:
            transfers.append((1, home))
        return home.order(address, transfers=transfers, retires=retires)


@dataclass(frozen=True)
class Survived:
    """What a round was: faults by kind, and composes that were accepted."""

    faults: Counter[str]
    composes: int


def sabotage_round(
    town: Town,
    servers: tuple[EmbeddedPostgres, EmbeddedValkey],
    seed: int,
    *,
    acts: int,
    settled_within: float = 45,
) -> Survived:
    """Two clients of one account and one of another trade, while so many things are broken.

    AssertionError where anything is lost, doubled, or not settled in the end.
    """
    homes = town.households("anna", "bo")
    for home in homes:
        town.subscribe(home)
        for number in range(_HOURS):
            town.consume(home, number, _MEASURED_WH)
            town.issue(home, number, _WH)
    saboteur = Saboteur(town, servers, random.Random(seed), acts=acts)
    batches_before = town.rows("SELECT id FROM batches")
    traders = [
        Trader(Stubborn(town, home), homes, f"{seed} {number}")
        for number, home in enumerate([homes[0], homes[0], homes[1]])
    ]
    with _trading(traders) as pool:
        sabotage = pool.submit(saboteur.work)
        try:
            _watch(town, sabotage)
        finally:
            print(f"seed {seed}: {', '.join(saboteur.done)}")  # noqa: T201 - to be told again
    town.quiet(settled_within)
    town.audit()
    _all_are_told(town, homes)
    accepted = sum(trader.client.accepted for trader in traders)
    assert len(town.rows("SELECT id FROM batches")) == len(batches_before) + accepted
    assert accepted
    unanswered = [status for trader in traders for status in trader.client.unanswered]
    assert 500 not in unanswered
    return Survived(Counter(saboteur.done), accepted)


@contextmanager
def _trading(traders: list[Trader]) -> Iterator[ThreadPoolExecutor]:
    over = Event()
    with ThreadPoolExecutor() as pool:
        work = [pool.submit(trader.trade, over) for trader in traders]
        try:
            yield pool
        finally:
            over.set()
        for each in work:
            each.result()


def _watch(town: Town, sabotage: Future[None]) -> None:
    """While things break, what everybody holds is what was issued, at each moment."""
    while not sabotage.done():
        try:
            held, issued = _held_and_issued(town)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # It is being restarted.
            held = issued = 0
        assert held == issued
        wait([sabotage], timeout=0.1)
    sabotage.result()


def _held_and_issued(town: Town) -> tuple[int, int]:
    """The Wh that everybody holds at this moment, and those that were ever issued."""
    [found] = town.rows(
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
"""What came to a user out of a split, and wasn't retired by it."""


def _all_are_told(town: Town, homes: list[Household]) -> None:
    """Each transfer and remainder that the ledger has committed was announced at least once."""
    for home in homes:
        received = {row["address"] for row in town.rows(_RECEIVED, home.subject)}
        eventually(
            lambda home=home, received=received: received <= town.announced(home),
            f"{home.subject} is told of what it received",
            within=60,
        )
