"""How Celery is set up. Tasks carry no state: PostgreSQL's rows are the queue."""

from collections.abc import Mapping
from datetime import timedelta

from celery import Celery

from origin.maintenance.rules.schedules import At, Every, Schedule
from origin.settings import Settings

BATCHES = "origin.batches"
DATAHUB_JOBS = "origin.datahub_jobs"
DELIVERIES = "origin.deliveries"
STUCK_BATCHES = "origin.stuck_batches"
TOKENS = "origin.tokens"
TECHNOLOGIES = "origin.technologies"
FIRST_TECHNOLOGIES = "origin.first_technologies"
PRUNING = "origin.pruning"
RECONCILIATION = "origin.reconciliation"
SCHEDULES = "origin.schedules"

SWEPT = (BATCHES, DATAHUB_JOBS, DELIVERIES, FIRST_TECHNOLOGIES, SCHEDULES)
"""What Beat wakes the workers for at every sweep."""

_BROKER_TIMEOUT_S = 10.0


def schedules(settings: Settings) -> Mapping[str, Schedule]:
    """When what isn't swept is due, by task (contract: operations, Schedule)."""
    return {
        STUCK_BATCHES: At((5,)),
        TOKENS: At((15, 45)),
        TECHNOLOGIES: At((0,), hour=1),
        RECONCILIATION: Every(timedelta(seconds=settings.reconcile_interval)),
        PRUNING: At((30,), hour=2),
    }


def create_celery(settings: Settings, *, broker_timeout_s: float = _BROKER_TIMEOUT_S) -> Celery:
    """Make a Celery app; connects to nothing.

    No call to the broker waits longer than `broker_timeout_s` for bytes, or a fifth of it (at least
    a second) for a connection.
    """
    connect_timeout_s = max(broker_timeout_s / 5, 1.0)
    app = Celery("origin", broker=settings.broker_url)
    app.conf.update(
        # Nobody asks for results: what was done is in PostgreSQL.
        task_ignore_result=True,
        result_backend=settings.backend_url,
        # Else each task's greenlet makes one of its own, which nobody asks for anything.
        result_backend_thread_safe=True,
        task_publish_retry=False,
        broker_transport_options={
            "socket_timeout": broker_timeout_s,
            "socket_connect_timeout": connect_timeout_s,
        },
        broker_connection_timeout=connect_timeout_s,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A Redis that answers by an error (READONLY, OOM, ...) is waited for, as one that is away.
        broker_channel_error_retry=True,
        # Nobody gives workers orders through Redis; its greenlet would end by such an error.
        worker_enable_remote_control=False,
        worker_consumer="origin.tasks.consumer:PatientConsumer",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        timezone="UTC",
    )
    return app
