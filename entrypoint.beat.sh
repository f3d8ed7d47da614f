#!/usr/bin/env bash
# The clock: Celery Beat says what is due. One is enough, a second does no harm.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/bin/service.sh"

migrate
# The schedule is kept in memory: what is due stands in the database, and the file system may be read-only.
exec "$python" -m celery --quiet --app origin.tasks.app:celery_app beat \
  --scheduler celery.beat.Scheduler \
  --loglevel "${LOG_LEVEL:-INFO}"
