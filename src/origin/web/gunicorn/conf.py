"""Gunicorn's configuration, for what isn't an operator's choice (those stand in entrypoint.web.sh)."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

# How long the event loop may stand still. It sets no limit to a request: a declaration may take minutes.
timeout = 120
# SIGTERM: how long requests that have begun may take to finish.
graceful_timeout = 30
# Longer than the usual proxy keeps an idle connection, so that it is never the proxy who finds it shut.
keepalive = 75

# The application's own log has what is worth knowing of a request.
accesslog = None
logger_class = "origin.telemetry.gunicorn.JsonLogger"
errorlog = "-"
loglevel = (os.environ.get("LOG_LEVEL") or "INFO").lower()

# What we call too long in a query, we shall be the ones to say; a callback has two long parameters.
limit_request_line = 8190
# A token has up to 16 KB.
limit_request_field_size = 17 * 1024

# Workers must not share connections or keys made before the fork.
preload_app = False
# The heartbeat file must not wait for a disk, and the rest of the file system may be read-only.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn makes an unnamed file there
worker_tmp_dir = str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None
# Where the workers share what they count. Made before anything imports prometheus_client, which looks
# for it then; a reload keeps it, and the counts with it.
_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_METRICS_PREFIX = "account-service-metrics-"
if _METRICS_VARIABLE not in os.environ:
    os.environ[_METRICS_VARIABLE] = tempfile.mkdtemp(prefix=_METRICS_PREFIX, dir=worker_tmp_dir)
# Nobody uses it, and it would be a file in the home folder.
control_socket_disable = True

# Links are built from PROJECT_URL, never from what a client or proxy says; gunicorn's defaults hold
# for the rest: X-Forwarded-Proto is believed from loopback alone (FORWARDED_ALLOW_IPS says otherwise).
# By default it would also take SCRIPT_NAME from there, and fail where that doesn't fit.
forwarder_headers = ""


def post_fork(_server: Any, _worker: Any) -> None:
    """Make psycopg2 yield to other greenlets while it waits; gevent alone doesn't see its waiting."""
    # Not before the fork: the master has no event loop.
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()


def post_worker_init(worker: Any) -> None:
    """The application is loaded."""
    from origin.db.clock_watch import watch_clock
    from origin.db.engine import Database
    from origin.web.gunicorn.gc_tuning import collect_seldom
    from origin.web.provided import provided_by

    watch_clock(provided_by(worker.wsgi, Database))
    collect_seldom()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget what a worker that has ended said of itself; its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # it has no types


def on_exit(_server: Any) -> None:
    """Remove the files of the metrics, if they are ours."""
    folder = Path(os.environ[_METRICS_VARIABLE])
    if folder.name.startswith(_METRICS_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
