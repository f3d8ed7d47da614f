"""Settings for tests that need few of them."""

from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from devstack.processes import ROOT
from devstack.valkey import EmbeddedValkey
from origin.settings import Settings


def example_settings(**changes: Any) -> Settings:
    """Return the settings of .env.example with these changes."""
    example = dotenv_values(ROOT / ".env.example")
    paths = {name: str(each) for name, each in changes.items() if isinstance(each, Path)}
    texts = {name.lower(): each for name, each in example.items()}
    return Settings.of({**texts, **changes, **paths})


def redis_settings(server: EmbeddedValkey, **changes: Any) -> Settings:
    """Return settings for a server with these changes; all databases are number 0."""
    of_server = {
        "redis_host": server.host,
        "redis_port": server.port,
        "redis_username": server.username,
        "redis_password": server.password,
        "redis_cache_db": 0,
        "redis_broker_db": 0,
        "redis_backend_db": 0,
        "rate_limit_per_minute": 1,
    }
    return example_settings(**{**of_server, **changes})
