"""Gunicorn's configuration for the limit app (`bench.limit_app`).

It repeats what the service's own configuration (`origin/web/gunicorn/conf.py`) does to a request's
cost, and nothing that needs the service's app: no metrics, no database gauges, no JSON log.
"""

import gc
from typing import Any

worker_class = "gevent"
timeout = 120
keepalive = 75
accesslog = None
errorlog = "-"
loglevel = "info"
preload_app = False
control_socket_disable = True


def post_fork(_server: Any, _worker: Any) -> None:
    """Let psycopg2 yield to other greenlets while it waits for PostgreSQL."""
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()


def post_worker_init(_worker: Any) -> None:
    """Collect cycles as seldom as the service does, so that both sides pay the same for it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, *gc.get_threshold()[1:])
