#!/usr/bin/env bash
# The HTTP API: gunicorn with gevent on BIND_HOST (all addresses) and PORT (8085), in WORKERS (3) processes
# of WORKER_CONNECTIONS (100) each.
set -euo pipefail
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/bin/service.sh"

migrate
host=${BIND_HOST:-0.0.0.0}
# Beside a port, an IPv6 address stands in brackets.
if [[ $host == *:* && $host != \[* ]]; then host="[$host]"; fi
exec "$python" -m gunicorn \
  --config "$root/src/origin/web/gunicorn/conf.py" \
  --bind "$host:${PORT:-8085}" \
  --worker-class origin.web.gunicorn.worker.OriginWorker \
  --workers "${WORKERS:-3}" \
  --worker-connections "${WORKER_CONNECTIONS:-100}" \
  "origin.app:create_app()"
