"""The entry of worker and beat: `celery -A origin.tasks.app:celery_app …`.

As an entry it reads the environment when imported; nothing else imports it.
"""

import sys
from typing import Any

from celery import signals

from origin.db.clock_watch import watch_clock
from origin.errors import ConfigurationError
from origin.runtime import build_runtime
from origin.settings import Settings, load_settings
from origin.tasks.beat import sweep_by
from origin.tasks.celery import create_celery
from origin.tasks.sending import WakeupSender
from origin.tasks.shutdown import end_in_time
from origin.tasks.tasks import register_tasks
from origin.tasks.wakeups import CeleryWakeups
from origin.telemetry.logs import configure_logging
from origin.telemetry.tasks import watch_tasks

try:
    _settings = load_settings(Settings)
except ConfigurationError as error:
    sys.exit(str(error))

# At once: Celery warns of things before it sets up logging.
configure_logging(_settings)
celery_app = create_celery(_settings)
_wakeups = WakeupSender(_settings)
_runtime = build_runtime(_settings, CeleryWakeups(_wakeups))
register_tasks(celery_app, _runtime, _wakeups)
sweep_by(celery_app, _wakeups, _settings.sweep_interval)
end_in_time(celery_app, _runtime.batch_runner)
watch_tasks(_settings)
for _started in (signals.worker_ready, signals.beat_init):
    # Celery keeps weak references to what isn't in a module.
    _started.connect(lambda **_: watch_clock(_runtime.database), weak=False)


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """That somebody listens is what keeps Celery from setting up its own."""


@signals.worker_init.connect
def _let_psycopg2_yield(**_: Any) -> None:
    """Without this a query would block all greenlets of the worker."""
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()
