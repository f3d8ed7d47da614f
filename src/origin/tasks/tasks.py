"""The tasks: each calls one use case, and carries nothing."""

from celery import Celery

from origin.runtime import Runtime
from origin.services import datahub_jobs, pruning, settlement, technologies, tokens
from origin.tasks import celery as names


def register_tasks(app: Celery, runtime: Runtime) -> None:
    """Give the app its tasks, working on this runtime."""
    use_cases = {
        names.BATCHES: settlement.run_due,
        names.STUCK_BATCHES: settlement.resubmit_stuck,
        names.DATAHUB_JOBS: datahub_jobs.run_due,
        names.TOKENS: tokens.refresh_due,
        names.TECHNOLOGIES: technologies.import_all,
        names.FIRST_TECHNOLOGIES: technologies.import_if_empty,
        names.PRUNING: pruning.prune,
    }
    for name, use_case in use_cases.items():
        # Bound as a default: the loop's variable would be the last use case in every task.
        def run(use_case: object = use_case) -> None:
            use_case(runtime)  # type: ignore[operator] # each takes the runtime

        app.task(name=name)(run)
