#!/usr/bin/env bash
# The HTTP API: gunicorn with gevent on BIND_HOST (all addresses) and PORT (8085), with WORKERS (3)
# processes that answer WORKER_CONNECTIONS (100) requests at once each.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/bin/service.sh"

migrate
host=${BIND_HOST:-0.0.0.0}
# An IPv6 address needs brackets before a port.
if [[ $host == *:* && $host != \[* ]]; then host="[$host]"; fi
exec "$python" -m gunicorn \
  --config "$root/src/origin/web/gunicorn/conf.py" \
  --bind "$host:${PORT:-8085}" \
  --worker-class origin.web.gunicorn.worker.OriginWorker \
  --workers "${WORKERS:-3}" \
  --worker-connections "${WORKER_CONNECTIONS:-100}" \
  "origin.app:create_app()"
