"""The whole service on servers that speak TLS only: it works, and stops working for good reasons."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import make_url

from devstack.processes import ROOT
from origin.monitoring.service.probes import Probes
from tests.support.certificates import Authority
from tests.support.example_settings import redis_settings
from tests.support.live_system import LiveSystem, running_system
from tests.support.original_database import OriginalDatabase
from tests.support.redis_failover import (
    check_failover,
    check_logs,
    secrets_in_files,
    secrets_of_a_system,
    sentinel_environment,
)
from tests.tls_check.servers import TlsPostgres, TlsRedis, TlsSentinel

_STRANGE = "certificate verify failed"


def _is_up(server: TlsRedis, **changes: Any) -> bool:
    tls = {name.lower(): each for name, each in server.tls.items()}
    database: Any = SimpleNamespace(probe=lambda: None)
    return Probes(database, redis_settings(server, **{**tls, **changes})).are_up()["redis"]


def test_redis_is_verified_and_verifies(
    primary: TlsRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Runs first: the last check kills this primary."""
    assert _is_up(primary)
    assert _is_up(primary, redis_host=f"rediss://127.0.0.1:{primary.port}")
    assert not _is_up(primary, redis_tls_ca_file=Authority(tmp_path, "stranger").path)
    assert _STRANGE in caplog.text
    assert not _is_up(primary, redis_host="localhost")
    assert "certificate is not valid for 'localhost'" in caplog.text
    assert not _is_up(primary, redis_tls_cert_file="", redis_tls_key_file="")
    none = dict.fromkeys(name.lower() for name in primary.tls)
    assert not _is_up(primary, **none)
    assert primary.password not in caplog.text


def _migrate(uri: str, variables: dict[str, str] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "origin.migrate"],
        env={"PYTHONPATH": str(ROOT / "src"), "DATABASE_URI": uri, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_postgres_is_verified_and_verifies(tls_postgres: TlsPostgres, tmp_path: Path):
    """Each failure is one line, with the reason and without the password."""
    uri = tls_postgres.create_database("verified")
    url = make_url(uri)

    def changed(**parameters: str) -> str:
        return url.update_query_dict(parameters).render_as_string(hide_password=False)

    plain = url.difference_update_query(["sslcert", "sslkey"])
    authority = str(tls_postgres.certificates.authority)
    stranger = str(Authority(tmp_path, "stranger").path)
    assert _migrate(uri)[0] == 0
    cases = [
        (changed(sslrootcert=stranger), 1, _STRANGE),
        (uri.replace("@127.0.0.1", "@localhost"), 1, "does not match host name"),
        (plain.render_as_string(hide_password=False), 1, "requires a valid client certificate"),
        (changed(sslmode="disable"), 1, "no encryption"),
        (changed(sslrootcert="/nowhere/ca.crt"), 2, "sslrootcert: the file can't be read"),
        (changed(sslcert="/nowhere/client.crt"), 2, "sslcert: the file can't be read"),
    ]
    for wrong, status, reason in cases:
        found, message = _migrate(wrong)
        assert (found, reason in message) == (status, True), message
        assert message.count("\n") == 1
        assert tls_postgres.password not in message
    # libpq's own variables count for what the URI leaves out.
    certificate, key = tls_postgres.certificates.client
    variables = {
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": authority,
        "PGSSLCERT": str(certificate),
        "PGSSLKEY": str(key),
    }
    bare = uri.partition("?")[0]
    assert _migrate(bare, variables) == (0, "")
    assert _migrate(bare, {**variables, "PGSSLROOTCERT": stranger})[0] == 1


def _adopt(system: LiveSystem, tls_postgres: TlsPostgres, tmp_path: Path) -> str:
    """Run `flask adopt` from a database that is reached by TLS; its URI comes from a file."""
    source = tls_postgres.create_database("original")
    original = OriginalDatabase()
    original.trade(20, users=2)
    original.write(source, "public")
    command = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()"]
    done = subprocess.run(
        [*command, "adopt", "--dry-run"],
        env={**system.stack.environment, **secrets_in_files(tmp_path, {"ADOPT_FROM": source})},
        cwd=ROOT / "src",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


def test_all_processes_and_commands_speak_tls(
    tls_postgres: TlsPostgres,
    primary: TlsRedis,
    sentinel: TlsSentinel,
    tmp_path: Path,
):
    """All secrets come from files. The primary of Redis dies while users trade."""
    uri = tls_postgres.create_database("accounts")
    given = secrets_of_a_system(uri, primary, sentinel)
    variables = {
        **sentinel_environment([sentinel]),
        **secrets_in_files(tmp_path, given),
    }
    with running_system(uri, primary, tmp_path, variables) as system:
        assert "WH OF GGOS" in _adopt(system, tls_postgres, tmp_path)
        check_failover(system, primary.kill)
        check_logs(system, [primary.password, sentinel.password, tls_postgres.password])
