#!/usr/bin/env bash
# The background work: a Celery worker of CONCURRENCY (100) greenlets. As many as wanted may run.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/bin/service.sh"

migrate
# The process id in the name keeps several workers of one host apart; workers need no word of each other.
exec "$python" -m celery --quiet --app origin.tasks.app:celery_app worker \
  --pool gevent \
  --concurrency "${CONCURRENCY:-100}" \
  --loglevel "${LOG_LEVEL:-INFO}" \
  --hostname "worker-$$@%h" \
  --without-gossip \
  --without-mingle
