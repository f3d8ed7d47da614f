"""Fixtures of `make tls-check`: the servers, and what is missing to start them."""

from collections.abc import Iterator

import pytest

from tests.tls_check.servers import (
    Certificates,
    TlsPostgres,
    TlsRedis,
    TlsSentinel,
    missing_programs,
)


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """End with one line before anything starts if a program is missing."""
    if missing := missing_programs():
        packages = " ".join(missing)
        pytest.exit(f"Install Debian's packages first: apt-get install {packages}", returncode=2)


@pytest.fixture(scope="session")
def certificates(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The authority and its certificates."""
    del programs
    return Certificates.made_in(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls_postgres(certificates: Certificates) -> Iterator[TlsPostgres]:
    """A PostgreSQL."""
    with TlsPostgres(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def primary(certificates: Certificates) -> Iterator[TlsRedis]:
    """A Redis."""
    with TlsRedis(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def replica(certificates: Certificates, primary: TlsRedis) -> Iterator[TlsRedis]:
    """Its replica."""
    with TlsRedis(certificates, primary) as server:
        yield server


@pytest.fixture(scope="session")
def sentinel(
    certificates: Certificates, primary: TlsRedis, replica: TlsRedis
) -> Iterator[TlsSentinel]:
    """A Sentinel of both."""
    del replica
    with TlsSentinel(certificates, "accounts", primary) as server:
        yield server
