"""Faults of the service's processes: killed, terminated, stopped beyond their leases, wrong clocks."""

import random
from collections import Counter

from devstack.processes import SupervisedProcess
from tests.support.clocks import skewed
from tests.support.fault_actions import DelayedActions, FaultAction, is_ready
from tests.support.live_system import QUICK, LiveSystem
from tests.support.waiting import eventually

_LEASE_SECONDS = float(QUICK["LEASE_SECONDS"])
_SKEWS = (60, 90)
_READY_SECONDS = 100
_RESTARTED_AFTER_SECONDS = 2


class ProcessFaults:
    """Faults of web, worker and beat. Processes that are starting are left alone.

    A process that ends by itself is started again, as a supervisor does. `gave_up` counts processes
    that ended during their start because a server was down, `crashed` those that had been ready.
    """

    def __init__(self, system: LiveSystem, chance: random.Random, delayed: DelayedActions) -> None:
        self._system = system
        self._chance = chance
        self._delayed = delayed
        self._paused: set[str] = set()
        self._awaited: set[str] = set()
        self.gave_up: Counter[str] = Counter()
        self.crashed: Counter[str] = Counter()
        services = system.services
        self.acts = {
            "kill the worker": FaultAction(4, lambda: self._kill(services.worker)),
            "kill beat": FaultAction(1, lambda: self._kill(services.beat)),
            "kill the web": FaultAction(1, lambda: self._kill(services.web)),
            "end the worker": FaultAction(1, lambda: self._end(services.worker)),
            "SIGSTOP the worker": FaultAction(4, lambda: self._pause(services.worker)),
            "SIGSTOP beat": FaultAction(1, lambda: self._pause(services.beat)),
            "SIGSTOP one web process": FaultAction(3, self._pause_one_web),
            "skew the workers' clocks": FaultAction(1, lambda: self._skew(*self._workers())),
            "skew beat's clock": FaultAction(1, lambda: self._skew(services.beat)),
            "skew the web's clock": FaultAction(1, lambda: self._skew(services.web)),
        }

    def restart_ended(self) -> None:
        """Schedule a restart of processes that have ended by themselves."""
        for process in self._system.processes:
            if process.pid is None and process.name not in self._awaited:
                ended = self.crashed if process.was_ready() else self.gave_up
                ended[process.name] += 1
                self._awaited.add(process.name)
                self._delayed.after(
                    _RESTARTED_AFTER_SECONDS, lambda process=process: self._start(process)
                )

    def repair(self) -> None:
        """Wait until all processes are ready. Clocks stay wrong until `restore_clocks`."""
        eventually(self._all_are_ready, "all processes are ready", within=_READY_SECONDS)

    def restore_clocks(self) -> None:
        """Restart the processes with wrong clocks, and wait until all are ready."""
        wrong = [each for each in self._system.processes if "CLOCK_SKEW_S" in each.env]
        for process in wrong:
            self._restart(process)
        self.repair()

    def _all_are_ready(self) -> bool:
        self.restart_ended()
        self._delayed.run_all()
        return all(is_ready(process) for process in self._system.processes)

    def _start(self, process: SupervisedProcess) -> None:
        self._awaited.discard(process.name)
        if process.pid is None:
            process.launch()

    def _kill(self, process: SupervisedProcess) -> bool:
        """Kill a process, even if it is stopped, and start a new one at once."""
        if not is_ready(process):
            return False
        self._restart(process)
        return True

    def _restart(self, process: SupervisedProcess, skew_seconds: float = 0) -> None:
        process.kill()
        self._paused.discard(process.name)
        process.env = skewed(process.env, skew_seconds)
        process.launch()

    def _end(self, process: SupervisedProcess) -> bool:
        """Terminate a process, as in a deployment, and start a new one."""
        if process.name in self._paused or not is_ready(process):
            return False
        process.terminate()
        process.launch()
        return True

    def _pause(self, process: SupervisedProcess, *pids: int) -> bool:
        """Stop a process for longer than a lease; it continues beside the one that took over."""
        if process.name in self._paused or not is_ready(process):
            return False
        process.pause(pids)
        self._paused.add(process.name)
        self._delayed.after(
            self._chance.uniform(1.2, 1.8) * _LEASE_SECONDS, lambda: self._resume(process)
        )
        return True

    def _pause_one_web(self) -> bool:
        """Stop one of gunicorn's processes; its requests wait, and its transactions stay open."""
        web = self._system.services.web
        children = web.children()
        return bool(children) and self._pause(web, self._chance.choice(children))

    def _resume(self, process: SupervisedProcess) -> None:
        if process.name in self._paused:
            process.resume()
            self._paused.discard(process.name)

    def _workers(self) -> list[SupervisedProcess]:
        return [each for each in self._system.processes if "worker" in each.name]

    def _skew(self, *processes: SupervisedProcess) -> bool:
        """Restart processes with a clock that is 60 to 90 s ahead or behind."""
        if not all(is_ready(process) for process in processes):
            return False
        seconds = self._chance.choice([-1, 1]) * self._chance.uniform(*_SKEWS)
        for process in processes:
            self._restart(process, seconds)
        return True
