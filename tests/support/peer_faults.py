"""Faults of peers: cut, late, wrong and interim answers; a ledger that forgets, loses or lies."""

import random
from collections import Counter
from typing import Any

from sandbox.clients import Control
from tests.support.fault_actions import FaultAction
from tests.support.live_system import LiveSystem

_FAULTS_AT_A_TIME = 2
_LEDGER_DOWN = (15, 17, 18, 31)


class PeerFaults:
    """Faults of the ledger, DataHub, Hydra and receivers; at most two at a time per peer."""

    def __init__(self, system: LiveSystem, chance: random.Random) -> None:
        self._system = system
        self._ledger = ledger = system.sandbox.ledger
        self._chance = chance
        self._set: list[tuple[Control, str, dict[str, Any]]] = []
        self.acts = {
            "cut POSTs": self._fault(4, ledger, "/batches", cut=None),
            "delay a POST's answer": self._fault(2, ledger, "/batches", delay_after=1),
            "take a POST, and say no": self._fault(2, ledger, "/batches", code=None, process=True),
            "refuse POSTs for now": self._fault(2, ledger, "/batches", code=None),
            "cut statuses": self._fault(2, ledger, "/batch_statuses", cut=None),
            "garble statuses": self._fault(1, ledger, "/batch_statuses", body="<html>"),
            "delay statuses": self._fault(1, ledger, "/batch_statuses", delay_after=1),
            "no state": self._fault(2, ledger, "/state/*", status=503),
            "cut state": self._fault(1, ledger, "/state/*", cut=None),
            "garble state": self._fault(1, ledger, "/state/*", body={"data": "e30="}),
            "delay state": self._fault(1, ledger, "/state/*", delay_after=1),
            "lose batches": FaultAction(3, lambda: ledger.drop_next(self._few())),
            "find batches invalid": FaultAction(3, lambda: ledger.refuse_next(self._few())),
            "call what is committed invalid": FaultAction(2, self._call_invalid),
            "restart the ledger": FaultAction(3, ledger.forget),
            "a ledger that lags": FaultAction(1, lambda: ledger.forget(committed=True)),
            **self._interim_acts(),
            "cut DataHub's answers": self._fault(1, system.sandbox.datahub, "*", cut=None),
            "cut Hydra's answers": self._fault(1, system.sandbox.hydra, "/oauth2/*", cut=None),
            "cut receivers' answers": self._fault(
                1, system.sandbox.receiver, "/hook/*", cut="after"
            ),
        }
        self._names = {id(act): name for name, act in self.acts.items()}

    def _interim_acts(self) -> dict[str, FaultAction]:
        """Return faults that send an interim response half a second before the answer."""
        peers = self._system.sandbox
        places: dict[str, tuple[int, Control, str]] = {
            "POSTs": (3, self._ledger, "/batches"),
            "statuses": (3, self._ledger, "/batch_statuses"),
            "state": (2, self._ledger, "/state/*"),
            "DataHub": (2, peers.datahub, "*"),
            "Hydra": (3, peers.hydra, "/oauth2/introspect"),
            "receivers": (2, peers.receiver, "/hook/*"),
        }
        return {
            f"interim responses: {name}": self._fault(weight, peer, endpoint, interim=None)
            for name, (weight, peer, endpoint) in places.items()
        }

    def repair(self) -> Counter[str]:
        """End all faults; return those that no call met, by name."""
        missed: Counter[str] = Counter()
        for peer in self._peers():
            left = [each for each in peer.faults() if not each["struck"]]
            for of, name, fault in reversed(self._set):
                same = [each for each in left if of is peer and fault.items() <= each.items()]
                if same:
                    left.remove(same[-1])
                    missed[name] += 1
        self._set.clear()
        self._system.clear_faults()
        self._ledger.drop_next(0)
        self._ledger.refuse_next(0)
        return missed

    def _peers(self) -> tuple[Control, ...]:
        peers = self._system.sandbox
        return (peers.ledger, peers.datahub, peers.hydra, peers.receiver)

    def _fault(self, weight: int, peer: Control, endpoint: str, **fault: Any) -> FaultAction:
        """Return an action that sets a fault for a few calls; values that are None are chosen at random."""
        choices = {"cut": ["before", "after"], "code": _LEDGER_DOWN, "interim": [[102], [103]]}

        def strike() -> bool:
            times = self._few()
            if len(peer.faults()) >= _FAULTS_AT_A_TIME:
                return False
            chosen = {
                name: self._chance.choice(choices[name]) if value is None else value
                for name, value in fault.items()
            }
            peer.fault(endpoint, times=times, **chosen)
            self._set.append(
                (peer, self._names[id(act)], {"endpoint": endpoint, "times": times, **chosen})
            )
            return True

        act = FaultAction(weight, strike)
        return act

    def _call_invalid(self) -> bool:
        """Make the ledger report some of the latest committed batches as INVALID."""
        committed = [
            batch["id"] for batch in self._ledger.batches() if batch["status"] == "COMMITTED"
        ]
        for batch_id in committed[-self._few() :]:
            self._ledger.pretend(batch_id, "INVALID")
        return bool(committed)

    def _few(self) -> int:
        return self._chance.randint(1, 3)
