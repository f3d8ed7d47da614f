"""Celery's configuration and the tasks' names. Tasks have no arguments: rows are the queue."""

from collections.abc import Mapping
from datetime import timedelta

from celery import Celery

from origin.maintenance.rules.schedules import At, Every, Schedule
from origin.redis_servers import celery_options
from origin.settings import Settings

BATCHES = "origin.batches"
BULK = "origin.bulk"
DATAHUB_JOBS = "origin.datahub_jobs"
DELIVERIES = "origin.deliveries"
STUCK_BATCHES = "origin.stuck_batches"
TOKENS = "origin.tokens"
TECHNOLOGIES = "origin.technologies"
FIRST_TECHNOLOGIES = "origin.first_technologies"
PRUNING = "origin.pruning"
RECONCILIATION = "origin.reconciliation"
SCHEDULES = "origin.schedules"
OPERATIONS_BACK_FILL = "origin.operations_back_fill"
ENTRY_TIMES = "origin.entry_times"

TASKS = (
    BATCHES, BULK, DATAHUB_JOBS, DELIVERIES, STUCK_BATCHES, TOKENS, TECHNOLOGIES,
    FIRST_TECHNOLOGIES, PRUNING, RECONCILIATION, SCHEDULES, OPERATIONS_BACK_FILL, ENTRY_TIMES,
)  # fmt: skip
"""All tasks."""
SWEPT = (
    BATCHES, BULK, DATAHUB_JOBS, DELIVERIES, FIRST_TECHNOLOGIES, SCHEDULES, OPERATIONS_BACK_FILL, ENTRY_TIMES,
)  # fmt: skip
"""Tasks that Beat sends at every sweep."""

_BROKER_TIMEOUT_S = 10.0


def schedules(reconcile_interval_s: float) -> Mapping[str, Schedule]:
    """Return when periodic tasks are due, by name (contract: operations, Schedule).

    :param reconcile_interval_s: RECONCILE_INTERVAL.
    """
    return {
        STUCK_BATCHES: At((5,)),
        TOKENS: At((15, 45)),
        TECHNOLOGIES: At((0,), hour=1),
        RECONCILIATION: Every(timedelta(seconds=reconcile_interval_s)),
        PRUNING: At((30,), hour=2),
    }


def create_celery(settings: Settings, *, broker_timeout_s: float = _BROKER_TIMEOUT_S) -> Celery:
    """Make a Celery app; connect to nothing.

    :param broker_timeout_s: How long a call of the broker waits for bytes. For a connection it waits
        a fifth of that, at least a second.
    """
    connect_timeout_s = max(broker_timeout_s / 5, 1.0)
    app = Celery("origin")
    app.conf.update(
        # Nobody reads results: what was done is in PostgreSQL.
        task_ignore_result=True,
        # Otherwise each task's greenlet would make an unused backend of its own.
        result_backend_thread_safe=True,
        task_publish_retry=False,
        broker_connection_timeout=connect_timeout_s,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Wait for a Redis that answers with an error (READONLY, OOM, …) as if it were out of reach.
        broker_channel_error_retry=True,
        # Workers are not controlled through Redis; such an error would end the control greenlet.
        worker_enable_remote_control=False,
        worker_consumer="origin.tasks.consumer:PatientConsumer",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        timezone="UTC",
        **celery_options(settings, connect_timeout_s=connect_timeout_s, timeout_s=broker_timeout_s),
    )
    return app
