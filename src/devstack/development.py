"""`pipenv run services`: starts PostgreSQL, Redis and the peers at the addresses in `.env`.

For development: web, worker and beat run separately, with the same `.env`. The database is kept in
`.run/postgres`; the other servers start empty each time. Runs until Ctrl-C.
"""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from psycopg2 import errors
from sqlalchemy.engine import make_url

from devstack.console import Console
from devstack.guarded import ProcessFailedError
from devstack.ports import is_free, is_loopback
from devstack.postgres import USER, EmbeddedPostgres
from devstack.processes import ROOT
from devstack.stack import redirect_uris, running_sandbox
from devstack.valkey import EmbeddedValkey

_RUN = ROOT / ".run"
_PEERS = {
    "hydra": "HYDRA_URL",
    "datahub": "DATAHUB_SERVICE_URL",
    "energytype": "ENERGY_TYPE_SERVICE_URL",
    "ledger": "LEDGER_URL",
}


def _start_postgres(environ: Mapping[str, str], stack: ExitStack) -> str:
    url = make_url(environ["DATABASE_URI"])
    if not is_loopback(url.host) or not is_free(url.port or 5432):
        return "is running already"
    if url.username != USER or not url.password or not url.database:
        raise ProcessFailedError(f"DATABASE_URI: postgresql://{USER}:PASSWORD@… is expected")
    server = EmbeddedPostgres(_RUN / "postgres", port=url.port or 5432, password=url.password)
    stack.enter_context(server)
    with suppress(errors.DuplicateDatabase):  # It is kept from the last run.
        server.create_database(url.database)
    return "started"


def _start_redis(environ: Mapping[str, str], stack: ExitStack) -> str:
    host, port = environ.get("REDIS_HOST", ""), int(environ.get("REDIS_PORT") or 6379)
    if not is_loopback(host) or not is_free(port):
        return "is running already"
    server = EmbeddedValkey(port=port, password=environ.get("REDIS_PASSWORD"))
    if environ.get("REDIS_USERNAME") != server.username or not environ.get("REDIS_PASSWORD"):
        server.close()
        raise ProcessFailedError(
            f"REDIS_USERNAME: {server.username} is expected, with a REDIS_PASSWORD"
        )
    stack.enter_context(server)
    return "started"


def _start_peers(environ: Mapping[str, str], stack: ExitStack) -> str:
    ports = {name: urlsplit(environ[variable]).port or 80 for name, variable in _PEERS.items()}
    stack.enter_context(
        running_sandbox(
            redirect_uris=redirect_uris(environ["PROJECT_URL"].rstrip("/")),
            logs=_RUN,
            client_id=environ["HYDRA_CLIENT_ID"],
            client_secret=environ["HYDRA_CLIENT_SECRET"],
            webhook_retry_s=5,
            ports=ports,
        )
    )
    return "started"


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Start the servers that aren't running yet, and run until interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    console = Console()
    try:
        with ExitStack() as stack:
            console.say(f"  PostgreSQL {_start_postgres(os.environ, stack)}")
            console.say(f"  Redis {_start_redis(os.environ, stack)}")
            console.say(f"  Hydra, DataHub, EnergyType, ledger {_start_peers(os.environ, stack)}")
            console.say("  Ctrl-C stops them all.")
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except KeyError as missing:
        console.say(f"{missing.args[0]} is not set: cp .env.example .env")
    except ProcessFailedError as error:
        console.say(str(error))
    return 1


if __name__ == "__main__":
    sys.exit(main())
