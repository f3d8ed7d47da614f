"""The embedded servers: access, data, and their end with the owner process."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.configured import ConfiguredPostgres
from devstack.postgres import EmbeddedPostgres
from devstack.privileges import unprivileged_account
from devstack.valkey import EmbeddedValkey

_OWNER = """
import signal
import sys
from contextlib import ExitStack
from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedValkey
# A process in a shell's background ignores SIGINT otherwise.
signal.signal(signal.SIGINT, signal.default_int_handler)
with ExitStack() as stack:
    for kind in sys.argv[1:]:
        server = stack.enter_context(globals()[kind]())
        print(server._process._guard.pid, server._process.pid, server._private, flush=True)
    sys.stdin.read()
"""


def _fetch(uri, statement):
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        connection.commit()
    return row


@pytest.fixture(scope="module")
def postgres():
    with EmbeddedPostgres(fsync=False) as server:
        yield server


@pytest.fixture(scope="module")
def valkey():
    with EmbeddedValkey() as server:
        yield server


def test_postgres_uses_utf8_and_utc(postgres):
    assert _fetch(postgres.uri, "SHOW server_encoding") == ("UTF8",)
    assert _fetch(postgres.uri, "SHOW timezone") == ("UTC",)
    assert _fetch(postgres.uri, "SELECT upper('æøå')") == ("ÆØÅ",)


def test_postgres_listens_on_loopback_only(postgres):
    assert _fetch(postgres.uri, "SHOW listen_addresses") == ("127.0.0.1",)
    assert _fetch(postgres.uri, "SHOW unix_socket_directories") == ("",)


def test_postgres_requires_the_password(postgres):
    for wrong in (
        postgres.uri.replace("origin:", "origin:not"),
        postgres.uri.replace("//origin:", "//other:"),
    ):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(wrong)
    assert _fetch(
        postgres.uri, "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'origin'"
    ) == ("SCRAM-SHA-256",)


def test_postgres_never_runs_as_root(postgres):
    owner = Path(f"/proc/{postgres._process.pid}").stat().st_uid
    assert owner != 0
    account = unprivileged_account()
    assert owner == (os.geteuid() if account is None else account.uid)


def test_the_private_folder_is_closed_to_others(postgres, valkey):
    for server in (postgres, valkey):
        assert stat.S_IMODE(server._private.stat().st_mode) == 0o700


def test_databases_are_created_copied_and_dropped(postgres):
    source = postgres.create_database("source")
    _fetch(source, "CREATE TABLE kept (wh bigint)")
    copy = postgres.create_database("copy", template="source")
    assert _fetch(copy, "SELECT count(*) FROM kept") == (0,)
    with closing(psycopg2.connect(copy)):
        postgres.drop_database("copy")
    postgres.drop_database("copy")
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(copy)


def test_a_missing_privilege_is_named(postgres):
    _fetch(postgres.uri, "CREATE ROLE modest LOGIN PASSWORD 'modest'")
    uri = f"postgresql+psycopg2://modest:modest@127.0.0.1:{postgres.port}/postgres"
    with pytest.raises(PermissionError, match="ALTER ROLE modest CREATEDB"):
        ConfiguredPostgres(uri).create_database("scratch")


def test_postgres_restarts_with_its_port_and_data(postgres):
    uri = postgres.create_database("lasting")
    _fetch(uri, "CREATE TABLE lasting AS SELECT 7 AS wh")
    for end in (postgres.stop, postgres.kill):
        end()
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(uri)
        postgres.start()
        assert _fetch(uri, "SELECT wh FROM lasting") == (7,)


def test_a_given_data_folder_is_kept_for_the_next_server():
    # Not in tmp_path, which others can't enter: as root, the server runs as the user nobody.
    folder = Path("/tmp") / f"devstack-test-{os.getpid()}"
    try:
        with EmbeddedPostgres(folder, fsync=False, password="p4ss") as first:
            _fetch(first.uri, "CREATE TABLE kept AS SELECT 5 AS wh")
        with EmbeddedPostgres(folder, fsync=False, password="p4ss") as second:
            assert _fetch(second.uri, "SELECT wh FROM kept") == (5,)
    finally:
        shutil.rmtree(folder)


def test_an_inaccessible_data_folder_is_replaced(tmp_path, monkeypatch, caplog):
    if unprivileged_account() is None:
        monkeypatch.setattr("devstack.postgres.can_enter", lambda *_: False)
    tmp_path.chmod(0o700)
    with EmbeddedPostgres(tmp_path / "data", fsync=False) as server:
        assert _fetch(server.uri, "SELECT 1") == (1,)
    assert not (tmp_path / "data").exists()
    assert "for this run only" in caplog.text
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_inaccessible_binaries_are_copied(monkeypatch):
    monkeypatch.setattr("devstack.postgres.can_run", lambda *_: False)
    with EmbeddedPostgres(fsync=False) as server:
        program = Path(f"/proc/{server._process.pid}/exe").readlink()
        assert program.is_relative_to(server._private)
        assert _fetch(server.uri, "SELECT 1") == (1,)
    assert not server._private.exists()


def test_valkey_requires_user_and_password(valkey):
    with valkey.client() as client:
        assert client.ping()
    for secrets in ({}, {"password": valkey.password}, {"username": "origin", "password": "x"}):
        no_retry = Retry(NoBackoff(), 0)
        with (
            redis.Redis(host=valkey.host, port=valkey.port, retry=no_retry, **secrets) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_no_command_line_contains_secrets(postgres, valkey):
    for server, secret in ((postgres, postgres.password), (valkey, valkey.password)):
        for pid in (server._process.pid, server._process._guard.pid):
            assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_valkey_restarts_empty_on_its_port(valkey):
    def restart(end):
        end()
        valkey.start()

    for forget in (valkey.flush, lambda: restart(valkey.kill), lambda: restart(valkey.stop)):
        with valkey.client() as client:
            client.set("held", 1)
        forget()
        with valkey.client() as client:
            assert client.get("held") is None


@pytest.mark.parametrize(
    ("end", "servers"),
    [
        (signal.SIGKILL, ["EmbeddedPostgres", "EmbeddedValkey"]),
        (signal.SIGTERM, ["EmbeddedValkey"]),
        (signal.SIGINT, ["EmbeddedValkey"]),
        (None, ["EmbeddedValkey"]),
    ],
)
def test_servers_end_with_their_owner(end, servers, wait_until_gone):
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, *servers],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as owner:
        told = [owner.stdout.readline().split() for _ in servers]
        if end is None:
            owner.stdin.close()
        else:
            owner.send_signal(end)
        owner.wait(15)
    for guard, server, folder in told:
        wait_until_gone(int(guard))
        wait_until_gone(int(server))
        assert not Path(folder).exists()


def test_a_server_ends_with_its_killed_guard(wait_until_gone):
    with EmbeddedValkey() as server:
        pid = server._process.pid
        os.kill(server._process._guard.pid, signal.SIGKILL)
        wait_until_gone(pid)
        assert server._process.wait(15) == -signal.SIGKILL
    assert not server._private.exists()
