"""The environment variables of the service (contract: operations) for a run on this machine."""

import os
import secrets
from collections.abc import Mapping

from devstack.configured import Redis, redis_databases
from devstack.ports import LOOPBACK

# What a process needs of the machine; all else of ours would only confuse the service.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")

# Contract: operations, with every wait cut short: nobody shall wait for a demo or a test.
QUICK_DELAYS = {
    "LEDGER_SUBMIT_RETRY_DELAY": "0.5",
    "LEDGER_POLL_DELAY": "0.3",
    "SWEEP_INTERVAL": "0.5",
    "WEBHOOK_RETRY_DELAY": "1",
    "DATAHUB_RETRY_DELAY": "0.5",
    "LEASE_SECONDS": "5",
}


def inherited() -> dict[str, str]:
    """The few variables of ours that any process on this machine needs."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def redis_environment(redis: Redis) -> dict[str, str]:
    """The REDIS_ variables for a server, with the databases that the environment names, if any."""
    return {
        "REDIS_HOST": redis.host,
        "REDIS_PORT": str(redis.port),
        "REDIS_USERNAME": redis.username,
        "REDIS_PASSWORD": redis.password,
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
    """All variables for web, worker and beat, the web on this port of loopback; holds secrets.

    `peers`: the variables that lead to Hydra, DataHub, EnergyType and the ledger, secrets included.
    `changes` are laid over all. Delays are short; webhooks may lead to this machine.
    """
    url = f"http://{LOOPBACK}:{port}"
    return {
        **inherited(),
        **QUICK_DELAYS,
        "SERVICE_NAME": "AccountService",
        "DEBUG": "0",
        # What a database that is kept was encrypted with must come back.
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
