#!/usr/bin/env bash
# Celery Beat wakes the workers, time and again. One is enough, a second does no harm.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/bin/service.sh"

migrate
# No schedule is kept: what is due stands in the database, and the file system may be read-only.
exec "$python" -m celery --quiet --app origin.tasks.app:celery_app beat \
  --loglevel "${LOG_LEVEL:-INFO}"
