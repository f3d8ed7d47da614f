"""Breaks things at random moments while users trade; all by one random source, to be told again."""

import random
from collections.abc import Callable  # noqa: TC003 - as everywhere
from threading import Event

from devstack.guarded import ProcessFailedError
from devstack.postgres import EmbeddedPostgres
from devstack.processes import SupervisedProcess
from devstack.valkey import EmbeddedValkey
from tests.support.town import Town

_LONGEST_PAUSE_SECONDS = 0.7
_FAULTS_AT_A_TIME = 2
_LEDGER_DOWN = (15, 17, 18, 31)


class Saboteur:
    """One who breaks `acts` things, and mends in the end.

    `done`: what was broken, in order. What can't be broken at its moment is left out: a process
    that only starts, a ledger with too many faults waiting.
    """

    def __init__(
        self,
        town: Town,
        servers: tuple[EmbeddedPostgres, EmbeddedValkey],
        chance: random.Random,
        *,
        acts: int,
    ) -> None:
        self._town = town
        self._ledger = town.sandbox.ledger
        self._postgres, self._valkey = servers
        self._chance = chance
        self._count = acts
        self.done: list[str] = []
        services = town.services
        self._acts: dict[str, tuple[int, Callable[[], object]]] = {
            "kill the worker": (4, lambda: self._kill(services.worker)),
            "kill beat": (1, lambda: self._kill(services.beat)),
            "kill the web": (1, lambda: self._kill(services.web)),
            "end the worker": (1, lambda: self._end(services.worker)),
            "restart PostgreSQL": (1, self._restart_postgres),
            "flush Redis": (3, self._valkey.flush),
            "restart Redis": (1, self._restart_valkey),
            "cut POSTs": (4, lambda: self._strike("/batches", cut=self._side())),
            "delay a POST's answer": (2, lambda: self._strike("/batches", delay_after=1)),
            "take a POST, and say no": (2, lambda: self._refuse_posts(process=True)),
            "refuse POSTs for now": (2, lambda: self._refuse_posts(process=False)),
            "cut statuses": (2, lambda: self._strike("/batch_statuses", cut=self._side())),
            "garble statuses": (1, lambda: self._strike("/batch_statuses", body="<html>")),
            "delay statuses": (1, lambda: self._strike("/batch_statuses", delay_after=1)),
            "no state": (2, lambda: self._strike("/state/*", status=503)),
            "cut state": (1, lambda: self._strike("/state/*", cut=self._side())),
            "garble state": (1, lambda: self._strike("/state/*", body={"data": "e30="})),
            "delay state": (1, lambda: self._strike("/state/*", delay_after=1)),
            "lose batches": (3, lambda: self._ledger.drop_next(self._few())),
            "find batches invalid": (3, lambda: self._ledger.refuse_next(self._few())),
            "call what is committed invalid": (2, self._call_invalid),
            "restart the ledger": (3, self._ledger.forget),
            "a ledger that lags": (1, lambda: self._ledger.forget(committed=True)),
        }

    def work(self) -> None:
        """Break one thing after another, and mend in the end."""
        weights = [weight for weight, _ in self._acts.values()]
        for _ in range(self._count):
            Event().wait(self._chance.uniform(0, _LONGEST_PAUSE_SECONDS))
            [name] = self._chance.choices(list(self._acts), weights)
            if self._acts[name][1]() is not False:
                self.done.append(name)
        self._mend()

    def _mend(self) -> None:
        self._town.clear_faults()
        self._ledger.drop_next(0)
        self._ledger.refuse_next(0)
        for process in self._town.services.all:
            if process.pid is None:
                process.launch()
        for process in self._town.services.all:
            process.wait_until_ready()

    def _kill(self, process: SupervisedProcess) -> bool:
        """SIGKILL, and a new one at once; one that isn't ready yet is left to become so."""
        if not _is_ready(process):
            return False
        process.kill()
        process.launch()
        return True

    def _end(self, process: SupervisedProcess) -> bool:
        """SIGTERM, as at a deploy, and a new one."""
        if not _is_ready(process):
            return False
        process.terminate()
        process.launch()
        return True

    def _restart_postgres(self) -> None:
        self._postgres.kill()
        self._postgres.start()

    def _call_invalid(self) -> bool:
        """The ledger's word against its state: some of the latest batches are called INVALID."""
        committed = [
            batch["id"] for batch in self._ledger.batches() if batch["status"] == "COMMITTED"
        ]
        for batch_id in committed[-self._few() :]:
            self._ledger.pretend(batch_id, "INVALID")
        return bool(committed)

    def _restart_valkey(self) -> None:
        self._valkey.kill()
        self._valkey.start()

    def _refuse_posts(self, *, process: bool) -> bool:
        return self._strike("/batches", code=self._chance.choice(_LEDGER_DOWN), process=process)

    def _strike(self, endpoint: str, **fault: object) -> bool:
        """Faults that pile up would outlast the trading."""
        times = self._few()
        if len(self._ledger.faults()) >= _FAULTS_AT_A_TIME:
            return False
        self._ledger.fault(endpoint, times=times, **fault)
        return True

    def _side(self) -> str:
        return self._chance.choice(["before", "after"])

    def _few(self) -> int:
        return self._chance.randint(1, 3)


def _is_ready(process: SupervisedProcess) -> bool:
    try:
        process.wait_until_ready(timeout=0)
    except ProcessFailedError:
        return False
    return True
