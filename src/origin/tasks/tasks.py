"""The Celery tasks: each calls one use case, and has no arguments."""

import logging
from collections.abc import Callable

from celery import Celery

from origin.maintenance.service import pruning, schedules
from origin.runtime import Runtime
from origin.tasks import celery as names
from origin.tasks.sending import WakeupSender
from origin.tasks.single_flight import SingleFlight

log = logging.getLogger(__name__)

_SKIPPED_IN_RECOVERY = {names.BATCHES, names.BULK, names.STUCK_BATCHES, names.DATAHUB_JOBS}
"""These tasks do nothing while RECOVERY_MODE is set (contract: operations)."""
_BATCH_RUNS_AT_ONCE = 4
"""In a worker process: enough to keep a ledger busy, few enough to leave room for other tasks."""
_BATCH_RUN_PATIENCE_S = 0.5
"""Longer than a run takes between two polls with a quick ledger, too short for users to notice."""


def register_tasks(app: Celery, runtime: Runtime, sender: WakeupSender) -> None:
    """Give the app its tasks, which use the services of this runtime."""
    periodic = names.schedules(runtime.settings.reconcile_interval)
    use_cases: dict[str, Callable[[], object]] = {
        names.STUCK_BATCHES: runtime.batch_runner.resubmit_stuck,
        names.BULK: runtime.bulk_queue.run_due,
        names.DATAHUB_JOBS: runtime.datahub_jobs.run_due,
        names.DELIVERIES: runtime.delivery_runner.run_due,
        names.TOKENS: runtime.user_tokens.refresh_due,
        names.TECHNOLOGIES: runtime.technologies.import_all,
        names.FIRST_TECHNOLOGIES: runtime.technologies.import_if_empty,
        names.PRUNING: lambda: pruning.prune(runtime.database),
        names.RECONCILIATION: runtime.reconciliation.continue_run,
        names.SCHEDULES: lambda: schedules.send_due(runtime.database, periodic, sender.send),
        names.OPERATIONS_BACK_FILL: runtime.operation_back_fill.run,
        names.ENTRY_TIMES: runtime.entry_times.run,
        names.BATCHES: _run_batches(runtime),
    }
    for name, use_case in use_cases.items():
        if runtime.settings.recovery_mode and name in _SKIPPED_IN_RECOVERY:
            app.task(name=name)(_skip(name))
        else:
            app.task(name=name)(_task(name, use_case, runtime, is_periodic=name in periodic))


def _run_batches(runtime: Runtime) -> Callable[[], None]:
    single_flight = SingleFlight(_BATCH_RUNS_AT_ONCE, _BATCH_RUN_PATIENCE_S)

    def run() -> None:
        if not single_flight.run(runtime.batch_runner.run_due):
            # The other run may fail or be held up: ask again, before Beat's next sweep does.
            runtime.wakeups.batches_due(delay_s=_BATCH_RUN_PATIENCE_S)

    return run


def _skip(name: str) -> Callable[[], None]:
    # Celery needs a function with a name; it can't make a task of a lambda.
    def skip() -> None:
        log.info("Task %s is skipped: RECOVERY_MODE is set", name)

    return skip


def _task(
    name: str, use_case: Callable[[], object], runtime: Runtime, *, is_periodic: bool
) -> Callable[[], None]:
    """Return the body of a task. A periodic run that fails is not finished: it is started anew."""

    def run() -> None:
        use_case()
        if is_periodic:
            schedules.finish(runtime.database, name)

    return run
