"""Injects faults at random moments while users trade; one random source makes rounds reproducible."""

import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Event

from devstack.replicated import ReplicatedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.database_loss import DatabaseLosses
from tests.support.fault_actions import DelayedActions, FaultAction
from tests.support.live_system import LiveSystem
from tests.support.peer_faults import PeerFaults
from tests.support.process_faults import ProcessFaults
from tests.support.server_faults import ServerFaults
from tests.support.waiting import eventually

_LONGEST_PAUSE_SECONDS = 0.7
_DRAWS = 5
# How long a fault may be impossible, for example because a process is starting.
_POSSIBLE_SECONDS = 100
DATABASE_LOSSES = ("restore a backup", "promote a lagging standby")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The faults of a round.

    - `acts`: the largest number of faults, drawn by weight. 0: each fault of `only` once, in order.
    - `only`, `without`: names of faults to include and to exclude; `only` empty: all.
    - `database_loss`: one of DATABASE_LOSSES, in the middle of the round, or None.
    """

    acts: int
    only: Collection[str] = ()
    without: Collection[str] = ()
    database_loss: str | None = None


class FaultInjector:
    """Injects the planned faults, and repairs everything in the end.

    `done` has the names of injected faults in order. Faults that are impossible at their moment are
    skipped, for example if a process is starting, or a peer has too many faults already.
    """

    def __init__(
        self,
        system: LiveSystem,
        servers: tuple[ReplicatedPostgres, EmbeddedValkey],
        chance: random.Random,
        plan: FaultPlan,
        database_losses: DatabaseLosses,
    ) -> None:
        self._chance = chance
        self._plan = plan
        self._delayed = DelayedActions()
        self._database_losses = database_losses
        self._processes = ProcessFaults(system, chance, self._delayed)
        self._servers = ServerFaults(*servers, chance, self._delayed)
        self._peers = PeerFaults(system, chance)
        self._missed: Counter[str] = Counter()
        self.done: list[str] = []
        acts = {**self._processes.acts, **self._servers.acts, **self._peers.acts}
        unknown = {*plan.only, *plan.without} - {*acts, *DATABASE_LOSSES}
        if unknown:
            raise ValueError(f"no such acts: {sorted(unknown)}; there are {sorted(acts)}")
        self._acts: dict[str, FaultAction] = {
            name: act
            for name, act in acts.items()
            if name not in plan.without and (not plan.only or name in plan.only)
        }

    @property
    def survived(self) -> Counter[str]:
        """Return how often each fault happened, without faults of peers that no call met."""
        return Counter(self.done) - self._missed

    @property
    def gave_up(self) -> Counter[str]:
        """Return how often each process ended during its start because a server was down."""
        return self._processes.gave_up

    @property
    def crashed(self) -> Counter[str]:
        """Return how often each process ended by itself after it had been ready."""
        return self._processes.crashed

    def work(self) -> None:
        """Inject one fault after another, and repair everything in the end."""
        try:
            if self._plan.acts:
                self._at_random()
            else:
                for name in self._plan.only:
                    self._pause()
                    eventually(lambda name=name: self._do(name), name, within=_POSSIBLE_SECONDS)
        finally:
            self._repair()

    def restore_clocks(self) -> None:
        """Restart the processes with wrong clocks; called when everything has settled."""
        self._processes.restore_clocks()

    def _at_random(self) -> None:
        count, names = self._plan.acts, list(self._acts)
        weights = [self._acts[name].weight for name in names]
        # A database loss is prepared in the first half, and happens in the second.
        prepared_at = self._chance.randrange(count // 4, count // 2 + 1)
        struck_at = self._chance.randrange(count // 2 + 1, count)
        strike: Callable[[], None] | None = None
        for number in range(count):
            if self._plan.database_loss and number == prepared_at:
                self._delayed.run_all()
                strike = self._database_losses.prepare(self._plan.database_loss)
            if self._plan.database_loss and strike and number == struck_at:
                self._delayed.run_all()
                strike()
                self.done.append(self._plan.database_loss)
            if names:
                self._pause()
                # Several draws, because many faults are impossible right after others.
                any(self._do(*self._chance.choices(names, weights)) for _ in range(_DRAWS))

    def _pause(self) -> None:
        Event().wait(self._chance.uniform(0, _LONGEST_PAUSE_SECONDS))

    def _do(self, name: str) -> bool:
        """Inject this fault if it is possible; return whether it was."""
        self._delayed.run_due()
        self._processes.restart_ended()
        if self._acts[name].do() is False:
            return False
        self.done.append(name)
        return True

    def _repair(self) -> None:
        self._delayed.run_all()
        self._missed += self._peers.repair()
        self._processes.repair()
