"""What is told of tasks by those who send and those who run them: their metrics."""

import logging
import time
from typing import Any

from celery import signals

from origin.settings import Settings
from origin.telemetry import metrics

log = logging.getLogger(__name__)


def watch_tasks(settings: Settings) -> None:
    """Measure the tasks of this worker or beat, and serve their metrics where METRICS_PORT is set."""
    # Celery keeps weak references to what isn't in a module.
    signals.task_prerun.connect(_begin)
    signals.task_postrun.connect(_end)
    signals.after_task_publish.connect(_sent)

    def serve(**_: Any) -> None:
        _serve(settings)

    for started in (signals.worker_ready, signals.beat_init):
        started.connect(serve, weak=False)


def _begin(task: Any, **_: Any) -> None:
    task.request.began = time.perf_counter()


def _end(task: Any, state: str | None = None, **_: Any) -> None:
    seconds = time.perf_counter() - task.request.began
    metrics.TASK_SECONDS.labels(task.name, state or "none").observe(seconds)


def _sent(sender: str, **_: Any) -> None:
    metrics.TASKS_SENT.labels(sender).inc()


def _serve(settings: Settings) -> None:
    if not settings.metrics_port:
        return
    try:
        metrics.serve(settings.bind_host, settings.metrics_port)
    except OSError as error:
        # Work goes before watching it.
        log.error("METRICS_PORT %s: %s", settings.metrics_port, error)  # noqa: TRY400
