#!/usr/bin/env bash
# Background work: a Celery worker with CONCURRENCY (100) greenlets. Run any number.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/bin/service.sh"

migrate
# The process id makes the names of several workers on a host unique. Workers don't need to know each other.
exec "$python" -m celery --quiet --app origin.tasks.app:celery_app worker \
  --pool gevent \
  --concurrency "${CONCURRENCY:-100}" \
  --loglevel "${LOG_LEVEL:-INFO}" \
  --hostname "worker-$$@%h" \
  --without-gossip \
  --without-mingle
