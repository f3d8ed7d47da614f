"""What is told of tasks, by those who send and those who run them.

A task works for the request that sent it: under its id, in its trace. One that Beat has sent gets an
id of its own.
"""

import logging
import time
from typing import Any

from celery import signals

from origin.settings import Settings
from origin.telemetry import context, metrics
from origin.telemetry.tracing import SpanKind, finish

log = logging.getLogger(__name__)


def task_headers() -> dict[str, str]:
    """The headers of a task that is sent for the request at hand, if there is one."""
    return context.outgoing_headers(context.current_span())


def watch_sending() -> None:
    """Count the wake-ups that this process sends; a repeat changes nothing."""
    signals.after_task_publish.connect(_sent)


def watch_tasks(settings: Settings) -> None:
    """Tell of the tasks of this worker or beat; serve their metrics where METRICS_PORT is set."""
    signals.task_prerun.connect(_begin)
    signals.task_postrun.connect(_end)
    watch_sending()

    def serve(**_: Any) -> None:
        _serve(settings)

    for started in (signals.worker_ready, signals.beat_init):
        # Celery keeps weak references to what isn't in a module.
        started.connect(serve, weak=False)


def _begin(task: Any, **_: Any) -> None:
    headers = task.request.headers or {}
    task.request.began = time.perf_counter()
    task.request.span = context.begin_work(
        f"TASK {task.name}",
        headers.get(context.REQUEST_ID_HEADER),
        headers.get(context.TRACE_HEADER),
    )


def _end(task: Any, state: str | None = None, **_: Any) -> None:
    seconds = time.perf_counter() - task.request.began
    metrics.TASK_SECONDS.labels(task.name, state or "none").observe(seconds)
    extra = {"task": task.name, "state": state, "ms": round(seconds * 1000, 1)}
    log.info("Task %s: %s", task.name, state, extra=extra)
    is_success = state == "SUCCESS"
    finish(task.request.span, SpanKind.INCOMING, is_success=is_success, state=state)
    context.end_work()


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
