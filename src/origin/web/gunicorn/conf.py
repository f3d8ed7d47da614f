"""Gunicorn's settings that operators do not choose. Theirs stand in entrypoint.web.sh."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

# How long the event loop may be blocked, in seconds. No limit of a request: a declaration may take minutes.
timeout = 120
# After SIGTERM: how long running requests may take to finish.
graceful_timeout = 30
# Longer than usual proxies keep idle connections, so that the proxy closes them first.
keepalive = 75

# The application logs its requests itself.
accesslog = None
logger_class = "origin.telemetry.gunicorn.JsonLogger"
errorlog = "-"
loglevel = (os.environ.get("LOG_LEVEL") or "INFO").lower()

# Long enough that schemas check queries first: a login's callback has two long parameters.
limit_request_line = 8190
# A token has up to 16 KB.
limit_request_field_size = 17 * 1024

# Workers must not share connections or keys that were made before the fork.
preload_app = False
# The heartbeat file must not wait for a disk. All other file systems may be read-only.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn makes an unnamed file there
worker_tmp_dir = str(_SHARED_MEMORY) if os.access(_SHARED_MEMORY, os.W_OK) else None
# The directory in which workers share their metrics. prometheus_client reads the variable when it is
# imported. A reload keeps the directory and its counts.
_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_METRICS_PREFIX = "account-service-metrics-"
if _METRICS_VARIABLE not in os.environ:
    # With the process's id, so that whoever kills it can remove the directory.
    os.environ[_METRICS_VARIABLE] = tempfile.mkdtemp(
        prefix=f"{_METRICS_PREFIX}{os.getpid()}-", dir=worker_tmp_dir
    )
# It would be a file in the home directory, and nothing uses it.
control_socket_disable = True

# Links are built from PROJECT_URL, never from a client's or proxy's headers. Gunicorn trusts
# X-Forwarded-Proto from loopback alone (FORWARDED_ALLOW_IPS changes that). By default it would also
# trust a SCRIPT_NAME header, and fail at a path that does not begin with it.
forwarder_headers = ""


def when_ready(_server: Any) -> None:
    """Let the web say at SIGTERM that it isn't ready, before it stops."""
    from origin.web.gunicorn.stopping import announce_at_sigterm

    announce_at_sigterm(float(os.environ.get("DRAIN_SECONDS") or 0))


def post_fork(_server: Any, _worker: Any) -> None:
    """Make psycopg2 yield to other greenlets while it waits: gevent does not patch C code."""
    # Not before the fork: the master has no event loop.
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()


def post_worker_init(worker: Any) -> None:
    """Watch the database's clock, announce the secrets and tune the GC, once the application is loaded."""
    from origin.db.clock_watch import watch_clock
    from origin.db.engine import Database
    from origin.keys.announcing import SecretAnnouncer
    from origin.web.gunicorn.gc_tuning import tune_gc
    from origin.web.provided import provided_by

    watch_clock(provided_by(worker.wsgi, Database))
    provided_by(worker.wsgi, SecretAnnouncer).start("web")
    tune_gc()


def child_exit(_server: Any, worker: Any) -> None:
    """Drop the gauges of a worker that has ended. Its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # it has no types


def on_exit(_server: Any) -> None:
    """Remove the metrics' directory, if this module made it."""
    folder = Path(os.environ[_METRICS_VARIABLE])
    if folder.name.startswith(_METRICS_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
