"""The tasks: each calls one use case, and carries nothing."""

import logging
from collections.abc import Callable

from celery import Celery

from origin.maintenance.service import pruning, schedules
from origin.runtime import Runtime
from origin.tasks import celery as names
from origin.tasks.sending import WakeupSender
from origin.tasks.single_flight import Gate

log = logging.getLogger(__name__)

_RESTING_IN_RECOVERY = {names.BATCHES, names.STUCK_BATCHES, names.DATAHUB_JOBS}
"""While RECOVERY_MODE is set these do nothing (contract: operations)."""
_BATCH_RUNS_AT_ONCE = 4
"""In a worker process: enough to keep a ledger busy, few enough to leave others their turn."""
_BATCH_RUN_IS_AWAITED_S = 0.5
"""Longer than a run between two looks where the ledger is quick, too short for a user to notice."""


def register_tasks(app: Celery, runtime: Runtime, wakeups: WakeupSender) -> None:
    """Give the app its tasks, working on this runtime."""
    rules = names.schedules(runtime.settings)
    use_cases: dict[str, Callable[[], object]] = {
        names.STUCK_BATCHES: runtime.batch_runner.resubmit_stuck,
        names.DATAHUB_JOBS: runtime.datahub_jobs.run_due,
        names.DELIVERIES: runtime.delivery_runner.run_due,
        names.TOKENS: runtime.user_tokens.refresh_due,
        names.TECHNOLOGIES: runtime.technologies.import_all,
        names.FIRST_TECHNOLOGIES: runtime.technologies.import_if_empty,
        names.PRUNING: lambda: pruning.prune(runtime.database),
        names.RECONCILIATION: runtime.reconciliation.continue_run,
    }
    gate = Gate(_BATCH_RUNS_AT_ONCE, _BATCH_RUN_IS_AWAITED_S)

    def add(name: str, run: Callable[[], None]) -> None:
        def rest() -> None:
            log.info("Task %s rests: RECOVERY_MODE is set", name)

        rests = runtime.settings.recovery_mode and name in _RESTING_IN_RECOVERY
        app.task(name=name)(rest if rests else run)

    def run_batches() -> None:
        if not gate.run(runtime.batch_runner.run_due):
            # Should who is inside be held up, or fail: not only Beat's next sweep comes to it.
            runtime.wakeups.batches_due(delay_s=_BATCH_RUN_IS_AWAITED_S)

    def send_due() -> None:
        schedules.send_due(runtime.database, rules, wakeups.send)

    add(names.BATCHES, run_batches)
    add(names.SCHEDULES, send_due)
    for name, use_case in use_cases.items():
        # Bound as defaults: the loop's variables would be the last ones in every task.
        def run(use_case: Callable[[], object] = use_case, name: str = name) -> None:
            use_case()
            if name in rules:
                schedules.finish(runtime.database, name)

        add(name, run)
