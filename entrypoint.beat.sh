#!/usr/bin/env bash
# Celery Beat, which wakes the workers periodically. Run one; a second does no harm.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/bin/service.sh"

migrate
# Beat stores no schedule: due work is in the database, and the file system may be read-only.
exec "$python" -m celery --quiet --app origin.tasks.app:celery_app beat \
  --loglevel "${LOG_LEVEL:-INFO}"
