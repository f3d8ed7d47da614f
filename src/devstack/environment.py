"""Builds the service's environment variables (contract: operations) for a run on this machine."""

import os
import secrets
from collections.abc import Mapping

from devstack.configured import Redis, redis_databases
from devstack.ports import LOOPBACK

# Variables that any process needs. Others could change the service's behaviour.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")

# Short delays (contract: operations), so that demos and tests are quick.
QUICK_DELAYS = {
    "LEDGER_SUBMIT_RETRY_DELAY": "0.5",
    "LEDGER_POLL_DELAY": "0.3",
    "SWEEP_INTERVAL": "0.5",
    "WEBHOOK_RETRY_DELAY": "1",
    "DATAHUB_RETRY_DELAY": "0.5",
    "LEASE_SECONDS": "5",
}


def inherited() -> dict[str, str]:
    """Return the few variables of this process that any process on this machine needs."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def redis_environment(redis: Redis) -> dict[str, str]:
    """Return the REDIS_ variables for a server, with the database numbers of the environment."""
    return {
        "REDIS_HOST": redis.host,
        "REDIS_PORT": str(redis.port),
        "REDIS_USERNAME": redis.username,
        "REDIS_PASSWORD": redis.password,
        **redis.tls,
        **redis_databases(),
    }


def service_environment(
    *,
    database_uri: str,
    redis: Redis,
    peers: Mapping[str, str],
    port: int,
    changes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return all variables for web, worker and beat; the result contains secrets.

    The web listens on `port` of the loopback address. `peers`: the variables for Hydra, DataHub,
    EnergyType and the ledger, secrets included. `changes` override the others. Delays are short,
    and webhooks may go to private addresses.
    """
    url = f"http://{LOOPBACK}:{port}"
    return {
        **inherited(),
        **QUICK_DELAYS,
        "SERVICE_NAME": "AccountService",
        "DEBUG": "0",
        # A database that is kept can be read only with the secret that encrypted it.
        "SECRET": os.environ.get("SECRET") or secrets.token_urlsafe(32),
        "CORS_ORIGINS": url,
        "PROJECT_URL": url,
        "BIND_HOST": LOOPBACK,
        "PORT": str(port),
        "WORKERS": "2",
        "LOG_LEVEL": "INFO",
        "WEBHOOK_ALLOW_PRIVATE": "1",
        "DATABASE_URI": database_uri,
        **redis_environment(redis),
        **peers,
        **(changes or {}),
    }
