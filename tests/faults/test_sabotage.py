"""Users trade while everything around them breaks; then the auditor looks at all of it.

FAULT_SEED=7 pytest tests/faults/test_sabotage.py tells the story of another seed.
"""

import itertools
import os
import random
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

import pytest

from devstack.valkey import EmbeddedValkey
from tests.support.saboteur import Saboteur
from tests.support.stubborn import Stubborn
from tests.support.town import Household, Town
from tests.support.waiting import eventually

_SEEDS = [int(seed) for seed in os.environ.get("FAULT_SEED", "7 32").split()]
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
            found = eventually(self.client.stored, "something to trade", within=60)
            ggo = self._chance.choice(found)
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


def held_and_issued(town: Town) -> tuple[int, int]:
    """The Wh that everybody holds at this moment, and those that were ever issued."""
    [found] = town.rows(
        "SELECT sum(amount) FILTER (WHERE stored OR retired) AS held, "
        "sum(amount) FILTER (WHERE parent_id IS NULL) AS issued FROM ggos"
    )
    return int(found["held"]), int(found["issued"])


@pytest.mark.parametrize("seed", _SEEDS)
def test_energy_is_conserved_whatever_breaks(town: Town, own_valkey: EmbeddedValkey, seed: int):
    """Two clients of one account and one of another; SIGKILLs, flushes, a ledger that misbehaves."""
    homes = town.households("anna", "bo")
    for home in homes:
        for number in range(_HOURS):
            town.consume(home, number, _MEASURED_WH)
            town.issue(home, number, _WH)
    saboteur = Saboteur(town, own_valkey, random.Random(seed))
    batches_before = town.rows("SELECT id FROM batches")
    traders = [
        Trader(Stubborn(town, home), homes, f"{seed} {number}")
        for number, home in enumerate([homes[0], homes[0], homes[1]])
    ]
    over = Event()
    with ThreadPoolExecutor() as pool:
        work = [pool.submit(trader.trade, over) for trader in traders]
        try:
            sabotage = pool.submit(saboteur.work)
            while not sabotage.done():
                held, issued = held_and_issued(town)
                assert held == issued
                wait([sabotage], timeout=0.1)
        finally:
            over.set()
            print(f"seed {seed}: {', '.join(saboteur.done)}")  # noqa: T201 - to be told again
        for each in (sabotage, *work):
            each.result()
    town.settle()
    accepted = sum(trader.client.accepted for trader in traders)
    assert len(town.rows("SELECT id FROM batches")) == len(batches_before) + accepted
    assert accepted
    unanswered = [status for trader in traders for status in trader.client.unanswered]
    assert 500 not in unanswered
