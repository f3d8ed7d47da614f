"""Writes log lines, metrics and spans for tasks, where they are sent and where they run.

A task keeps the request id and the trace of the request that sent it. A task that Beat sent gets new
ones.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from celery import signals

from origin.settings import Settings
from origin.telemetry import context, metrics
from origin.telemetry.tracing import SpanKind, finish

_SENT_AT = "sent_at"
"""A task's header: when it was sent, in seconds of the sender's clock."""

log = logging.getLogger(__name__)


def task_headers() -> dict[str, str]:
    """Return the headers that pass the current request id and span to a task."""
    return context.outgoing_headers(context.current_span())


def watch_sending(tasks: Iterable[str]) -> None:
    """Count the wake-ups that this process sends. A second call changes nothing.

    :param tasks: The names of all tasks.
    """
    metrics.start_at_zero(metrics.TASKS_SENT, tasks)
    signals.before_task_publish.connect(_sending)
    signals.after_task_publish.connect(_sent)


def watch_tasks(settings: Settings, tasks: Sequence[str]) -> None:
    """Watch the tasks of this worker or beat, and serve metrics if METRICS_PORT is set.

    :param tasks: The names of all tasks.
    """
    signals.worker_init.connect(_expect_tasks_of(tasks), weak=False)
    signals.task_prerun.connect(_begin)
    signals.task_postrun.connect(_end)
    watch_sending(tasks)

    def serve(**_: Any) -> None:
        _serve(settings)

    for started in (signals.worker_ready, signals.beat_init):
        # Celery's reference is weak by default, and nothing else refers to this function.
        started.connect(serve, weak=False)


def _expect_tasks_of(tasks: Sequence[str]) -> Callable[..., None]:
    """Return a function that exports the results of these tasks, which only workers have."""

    def expect_tasks(**_: Any) -> None:
        results = [(task, state) for task in tasks for state in ("SUCCESS", "FAILURE")]
        metrics.start_at_zero(metrics.TASK_SECONDS, results)

    return expect_tasks


def _begin(task: Any, **_: Any) -> None:
    headers = task.request.headers or {}
    # Release 1.0 sends no such header. Two machines' clocks may differ.
    if (sent_at := headers.get(_SENT_AT)) is not None:
        metrics.TASK_WAIT_SECONDS.labels(task.name).observe(max(time.time() - sent_at, 0))
    task.request.began = time.perf_counter()
    task.request.span = context.begin_work(
        f"process {task.name}",
        headers.get(context.REQUEST_ID_HEADER),
        headers.get(context.TRACE_HEADER),
        headers.get(context.TRACE_STATE_HEADER),
    )


def _end(task: Any, state: str | None = None, **_: Any) -> None:
    seconds = time.perf_counter() - task.request.began
    metrics.TASK_SECONDS.labels(task.name, state or "none").observe(seconds)
    extra = {"task": task.name, "state": state, "ms": round(seconds * 1000, 1)}
    log.info("Task %s: %s", task.name, state, extra=extra)
    finish(
        task.request.span,
        SpanKind.TASK,
        {
            "messaging.system": "celery",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": task.app.conf.task_default_queue,
            "messaging.message.id": task.request.id,
            "celery.task_name": task.name,
            "celery.state": state or "none",
        },
        None if state == "SUCCESS" else state or "none",
    )
    context.end_work()


def _sending(headers: dict[str, Any], **_: Any) -> None:
    headers[_SENT_AT] = time.time()


def _sent(sender: str, **_: Any) -> None:
    metrics.TASKS_SENT.labels(sender).inc()


def _serve(settings: Settings) -> None:
    if not settings.metrics_port:
        return
    try:
        metrics.serve(settings.bind_host, settings.metrics_port)
    except OSError as error:
        # Without metrics the process still does its work.
        log.error("METRICS_PORT %s: %s", settings.metrics_port, error)  # noqa: TRY400
