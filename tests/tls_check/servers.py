"""Debian's PostgreSQL, Redis and Sentinel. They speak TLS only, and ask for client certificates."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import redis

from devstack.postgres import EmbeddedPostgres
from devstack.privileges import give_to
from devstack.valkey import EmbeddedSentinel, EmbeddedValkey
from tests.support.certificates import Authority

_POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")
_WHEEL_ONLY = ("--locale-provider", "--builtin-locale")
"""Options of initdb that PostgreSQL 15 doesn't know."""


@dataclass(frozen=True)
class Certificates:
    """The authority's file, and the servers' and the service's certificates with their keys."""

    authority: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]

    @classmethod
    def made_in(cls, folder: Path) -> "Certificates":
        """Issue certificates; servers' are for 127.0.0.1."""
        authority = Authority(folder)
        return cls(authority.path, authority.issue("server"), authority.issue("client"))

    @property
    def redis_environment(self) -> dict[str, str]:
        """The variables of the service."""
        certificate, key = self.client
        return {
            "REDIS_TLS": "1",
            "REDIS_TLS_CA_FILE": str(self.authority),
            "REDIS_TLS_CERT_FILE": str(certificate),
            "REDIS_TLS_KEY_FILE": str(key),
        }

    def redis_configuration(self, port: int) -> list[str]:
        """Return the lines that make a Redis or a Sentinel speak TLS only, at this port."""
        certificate, key = self.server
        return [
            "port 0",
            f"tls-port {port}",
            f"tls-cert-file {certificate}",
            f"tls-key-file {key}",
            f"tls-ca-cert-file {self.authority}",
            "tls-auth-clients yes",
            "tls-replication yes",
        ]

    def redis_client(self, server: EmbeddedValkey) -> redis.Redis:
        """Return a client of the server."""
        certificate, key = self.client
        return redis.Redis(
            host=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            ssl=True,
            ssl_ca_certs=str(self.authority),
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
        )


def missing_programs() -> list[str]:
    """Return the Debian packages that must be installed."""
    packages = {
        "redis-server": shutil.which("redis-server"),
        "postgresql": postgres_programs(),
    }
    return [package for package, found in packages.items() if not found]


def postgres_programs() -> Path | None:
    """Return the folder with `initdb` and `postgres` of the newest version; None: there is none."""
    versions = sorted(int(each.name) for each in _POSTGRES_PROGRAMS.glob("[0-9]*"))
    return _POSTGRES_PROGRAMS / str(versions[-1]) / "bin" if versions else None


class _TlsServer(EmbeddedValkey):
    """A server of Debian's Redis that speaks TLS only."""

    _certificates: Certificates

    def _program(self) -> Path:
        return Path(shutil.which("redis-server") or "")

    def _configuration(self) -> list[str]:
        return super()._configuration() + self._certificates.redis_configuration(self.port)

    def client(self, db: int = 0) -> redis.Redis:
        """Return a new client of database 0; the caller closes it."""
        assert db == 0
        return self._certificates.redis_client(self)


class TlsRedis(_TlsServer):
    """Debian's Redis by TLS."""

    def __init__(self, certificates: Certificates, primary: "TlsRedis | None" = None) -> None:
        super().__init__(primary=primary)
        self._certificates = certificates
        self.tls = certificates.redis_environment


class TlsSentinel(_TlsServer, EmbeddedSentinel):
    """Debian's Sentinel by TLS."""

    def __init__(self, certificates: Certificates, name: str, primary: TlsRedis) -> None:
        super().__init__(name, primary)
        self._certificates = certificates


class TlsPostgres(EmbeddedPostgres):
    """Debian's PostgreSQL by TLS. `uri` verifies it, and has a client certificate."""

    def __init__(self, certificates: Certificates) -> None:
        super().__init__()
        self.certificates = certificates

    @property
    def uri(self) -> str:
        """The URI of the database `postgres`; contains the password."""
        certificate, key = self.certificates.client
        return (
            f"{super().uri}?sslmode=verify-full&sslrootcert={self.certificates.authority}"
            f"&sslcert={certificate}&sslkey={key}"
        )

    def _usable_binaries(self) -> Path:
        return postgres_programs() or Path()

    def _initdb_options(self, data: Path, password_file: Path) -> list[str]:
        options = super()._initdb_options(data, password_file)
        return [each for each in options if not each.startswith(_WHEEL_ONLY)]

    def _initialise(self, binaries: Path) -> None:
        super()._initialise(binaries)
        names = {
            "ssl_cert_file": self.certificates.server[0],
            "ssl_key_file": self.certificates.server[1],
            "ssl_ca_file": self.certificates.authority,
        }
        lines = ["ssl = on"]
        for name, source in names.items():
            copied = self.data / source.name
            shutil.copy(source, copied)
            give_to(copied, self._account)
            lines.append(f"{name} = '{copied.name}'")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(["", *lines, ""]))
        rule = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"
        (self.data / "pg_hba.conf").write_text(rule)
