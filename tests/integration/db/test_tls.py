"""TLS to PostgreSQL by the URI's parameters, as doc/operations/tls.md tells."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from devstack.configured import Postgres
from origin.db.engine import Database
from tests.support.certificates import Authority, loopback_certificate
from tests.support.tls_front import tls_front


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loopback_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def strict(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Authority]]:
    """Return the URI of a server that asks for client certificates, and their authority."""
    authority = Authority(tmp_path_factory.mktemp("strict"))
    url = make_url(postgres.uri)
    assert url.port is not None
    with tls_front(url.port, authority.issue_together("server"), clients=authority.path) as port:
        verified = {"sslmode": "verify-full", "sslrootcert": str(authority.path)}
        own = url.set(host="127.0.0.1", port=port, query=verified)
        yield own.render_as_string(hide_password=False), authority


@pytest.fixture(scope="module")
def tls_uri(postgres: Postgres, certificate: Path) -> Iterator[str]:
    """A server that speaks TLS only, with a certificate for 127.0.0.1."""
    url = make_url(postgres.uri)
    assert url.port is not None
    with tls_front(url.port, certificate) as port:
        yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


def _answers(uri: str) -> bool:
    url = make_url(uri).set(drivername="postgresql+psycopg2")
    database = Database(url, pool_size=1)
    try:
        with database.reading() as session:
            return session.scalar(text("SELECT true")) is True
    finally:
        database.dispose()


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
def test_the_servers_certificate_is_verified_by_the_authoritys(
    tls_uri: str, certificate: Path, mode: str
):
    assert _answers(f"{tls_uri}?sslmode={mode}&sslrootcert={certificate}")


def test_system_means_the_authorities_that_a_variable_names(
    tls_uri: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    uri = f"{tls_uri}?sslmode=verify-full&sslrootcert=system"
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(OperationalError, match="certificate verify failed"):
        _answers(uri)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert _answers(uri)


def test_verify_full_compares_the_name_in_the_uri(tls_uri: str, certificate: Path):
    """The name counts, not the address that this service has resolved it to."""
    other = tls_uri.replace("127.0.0.1", "localhost")
    with pytest.raises(OperationalError, match="does not match host name"):
        _answers(f"{other}?sslmode=verify-full&sslrootcert={certificate}")


def test_a_certificate_of_a_stranger_is_not_accepted(tls_uri: str, tmp_path: Path):
    stranger = loopback_certificate(tmp_path)
    with pytest.raises(OperationalError, match="certificate verify failed"):
        _answers(f"{tls_uri}?sslmode=verify-full&sslrootcert={stranger}")


def test_require_encrypts_but_verifies_nothing(tls_uri: str):
    assert _answers(f"{tls_uri}?sslmode=require")


def test_without_tls_this_server_is_out_of_reach(tls_uri: str):
    with pytest.raises(OperationalError):
        _answers(f"{tls_uri}?sslmode=disable")


def test_a_server_may_ask_for_a_client_certificate(strict: tuple[str, Authority], tmp_path: Path):
    uri, authority = strict
    certificate, key = authority.issue("client")
    assert _answers(f"{uri}&sslcert={certificate}&sslkey={key}")
    certificate, key = Authority(tmp_path, "stranger").issue("client")
    for wrong in (uri, f"{uri}&sslcert={certificate}&sslkey={key}"):
        with pytest.raises(OperationalError):
            _answers(wrong)


def test_a_process_names_a_file_that_is_not_there(tls_uri: str, tmp_path: Path):
    """Libpq itself ignores a missing certificate, and the server's message then misleads."""
    uri = f"{tls_uri}?sslmode=verify-full&sslcert={tmp_path}/gone"
    done = subprocess.run(
        [sys.executable, "-m", "origin.migrate"],
        env={"PYTHONPATH": "src", "DATABASE_URI": uri},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert (
        "DATABASE_URI: sslcert: the file can't be read (No such file or directory)\n" in done.stderr
    )
