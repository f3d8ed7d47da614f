"""TLS to Redis, as doc/operations/tls.md tells: all that connects, and what is not accepted."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devstack.valkey import EmbeddedValkey
from origin.identity.service.rate_limits import RateLimits
from origin.monitoring.service.probes import Probes
from origin.settings import Settings
from origin.tasks.celery import BATCHES, create_celery
from origin.tasks.sending import WakeupSender
from tests.support.certificates import Authority
from tests.support.example_settings import redis_settings
from tests.support.tls_front import tls_front


@dataclass(frozen=True)
class Servers:
    """A Redis, and fronts that speak TLS only: one asks for client certificates."""

    redis: EmbeddedValkey
    authority: Path
    client: tuple[Path, Path]
    port: int
    strict_port: int


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    both = authority.issue_together("redis")
    with (
        EmbeddedValkey() as redis,
        tls_front(redis.port, both, is_postgres=False) as port,
        tls_front(redis.port, both, clients=authority.path, is_postgres=False) as strict_port,
    ):
        yield Servers(redis, authority.path, authority.issue("client"), port, strict_port)


def _settings(servers: Servers, **changes: Any) -> Settings:
    given = {"redis_port": servers.port, "redis_tls": 1, "redis_tls_ca_file": servers.authority}
    settings = redis_settings(servers.redis, **{**given, **changes})
    servers.redis.flush()
    return settings


def _strict(servers: Servers) -> dict[str, Any]:
    certificate, key = servers.client
    return {
        "redis_port": servers.strict_port,
        "redis_tls_cert_file": certificate,
        "redis_tls_key_file": key,
    }


def _redis_is_up(settings: Settings) -> bool:
    database: Any = SimpleNamespace(probe=lambda: None)
    return Probes(database, settings).are_up()["redis"]


@contextmanager
def _log_of(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, logger="origin"):
        yield


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("is_strict", [False, True], ids=["server", "server and client"])
def test_everything_that_connects_speaks_tls(servers: Servers, is_strict: bool):
    settings = _settings(servers, **(_strict(servers) if is_strict else {}))
    assert WakeupSender(settings).send(BATCHES)
    app = create_celery(settings)
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        assert queue.get(timeout=10).headers["task"] == BATCHES
    app.backend.store_result("id", "done", "SUCCESS")
    assert app.backend.get_result("id") == "done"
    limits = RateLimits(settings)
    assert [limits.wait_s(1) > 0 for _ in range(2)] == [False, True]
    assert _redis_is_up(settings)


@pytest.mark.usefixtures("patience")
def test_a_url_means_tls(servers: Servers):
    url = f"rediss://127.0.0.1:{servers.port}"
    settings = _settings(servers, redis_host=url, redis_port="", redis_tls="")
    assert settings.redis_tls
    assert _redis_is_up(settings)
    assert WakeupSender(settings).send(BATCHES)


def _is_refused_everywhere(
    settings: Settings, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Check that nothing connects, and that each log line says why, without the password."""
    with _log_of(caplog):
        assert not _redis_is_up(settings), reason
        assert not WakeupSender(settings).send(BATCHES), reason
        assert RateLimits(settings).wait_s(1) == 0
    lines = [record.getMessage() for record in caplog.records]
    assert sum(reason in line for line in lines) == 3, (reason, lines)
    assert settings.redis_password.get_secret_value() not in caplog.text
    caplog.clear()


@pytest.mark.usefixtures("patience")
def test_what_is_not_accepted(servers: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """`TLS_VERIFY=0` changes nothing."""
    stranger = Authority(tmp_path, "stranger").path
    cases: list[tuple[str, dict[str, Any]]] = [
        ("certificate verify failed", {"redis_tls_ca_file": stranger}),
        ("unable to get local issuer", {"redis_tls_ca_file": ""}),
        ("certificate is not valid for 'localhost'", {"redis_host": "localhost"}),
        # The server's alert may be lost when it closes the connection.
        ("ConnectionError", {"redis_port": servers.strict_port}),
        ("ConnectionError", {"redis_tls": 0, "redis_tls_ca_file": ""}),
    ]
    for reason, changes in cases:
        settings = _settings(servers, tls_verify=False, **changes)
        _is_refused_everywhere(settings, reason, caplog)


def test_a_server_without_tls(servers: Servers, caplog: pytest.LogCaptureFixture):
    """It waits for the rest of a command."""
    settings = _settings(servers, redis_port=servers.redis.port)
    _is_refused_everywhere(settings, "TimeoutError", caplog)
