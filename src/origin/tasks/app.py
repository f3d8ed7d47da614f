"""The entry point of worker and Beat: `celery -A origin.tasks.app:celery_app …`.

As an entry point it reads the environment when it is imported. Nothing else may import it.
"""

import sys
from typing import Any

from celery import signals

from origin.db.clock_watch import watch_clock
from origin.errors import ConfigurationError
from origin.runtime import build_runtime
from origin.settings import Settings, load_settings
from origin.tasks.beat import use_sweeper
from origin.tasks.celery import TASKS, create_celery
from origin.tasks.heartbeats import Heartbeat
from origin.tasks.sending import WakeupSender
from origin.tasks.shutdown import limit_shutdown
from origin.tasks.tasks import register_tasks
from origin.tasks.wakeups import CeleryWakeups
from origin.telemetry.logs import configure_logging
from origin.telemetry.tasks import watch_tasks

try:
    _settings = load_settings(Settings)
except ConfigurationError as error:
    sys.exit(str(error))

# First: Celery logs warnings before it sets up logging.
configure_logging(_settings)
celery_app = create_celery(_settings)
_sender = WakeupSender(_settings)
_runtime = build_runtime(_settings, CeleryWakeups(_sender))
register_tasks(celery_app, _runtime, _sender)
_heartbeat = Heartbeat(_runtime.database, _settings.sweep_interval)
use_sweeper(celery_app, _sender, _settings.sweep_interval, _heartbeat.worked)
limit_shutdown(celery_app, _runtime.batch_runner)
watch_tasks(_settings, TASKS)


def _watch(kind: str) -> None:
    watch_clock(_runtime.database)
    _heartbeat.process = _runtime.secret_announcer.start(kind)


def _prove_work(state: str | None = None, **_: Any) -> None:
    if state == "SUCCESS":
        _heartbeat.worked()


# Not weak: nothing else refers to the lambdas.
signals.worker_ready.connect(lambda **_: _watch("worker"), weak=False)
signals.beat_init.connect(lambda **_: _watch("beat"), weak=False)
signals.task_postrun.connect(_prove_work)


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Do nothing: with a receiver of this signal, Celery does not set up its own logging."""


@signals.worker_init.connect
def _let_psycopg2_yield(**_: Any) -> None:
    """Make psycopg2 yield to gevent: otherwise a query would block all greenlets of the worker."""
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()
