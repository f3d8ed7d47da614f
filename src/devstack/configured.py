"""Provides PostgreSQL and Redis: the servers named in the environment, else embedded ones."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import redis
from sqlalchemy.engine import make_url

from devstack.databases import create_database, drop_database, with_database
from devstack.postgres import EmbeddedPostgres
from devstack.valkey import EmbeddedValkey

# Redis database numbers that apply where the environment sets none.
REDIS_DATABASES = {"REDIS_CACHE_DB": "0", "REDIS_BROKER_DB": "1", "REDIS_BACKEND_DB": "2"}


class Postgres(Protocol):
    """A PostgreSQL server on which databases can be created."""

    @property
    def uri(self) -> str:
        """The URI of an existing database, password included."""

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of `template` if given, and return its URI."""

    def drop_database(self, name: str) -> None:
        """Drop a database and close its connections; a missing one is no error."""


class Redis(Protocol):
    """A Redis or Valkey server. An empty user name or password means none."""

    @property
    def host(self) -> str:
        """The host name or address."""

    @property
    def port(self) -> int:
        """The TCP port."""

    @property
    def username(self) -> str:
        """The ACL user."""

    @property
    def password(self) -> str:
        """The user's password."""

    @property
    def tls(self) -> Mapping[str, str]:
        """The REDIS_TLS variables by name; none if it speaks no TLS."""

    def flush(self) -> None:
        """Delete everything in our databases."""


@dataclass(frozen=True, slots=True)
class ConfiguredPostgres:
    """The server of DATABASE_URI. Its user needs the CREATEDB privilege for scratch databases."""

    uri: str = field(repr=False)

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database and return its URI; PermissionError if the privilege is missing."""
        create_database(self.uri, name, template=template)
        return with_database(self.uri, name)

    def drop_database(self, name: str) -> None:
        """Drop a database and close its connections; a missing one is no error."""
        drop_database(self.uri, name)


@dataclass(frozen=True, slots=True)
class ConfiguredRedis:
    """The server of REDIS_HOST.

    `databases` are the numbers of our databases, `tls` are the REDIS_TLS variables by name.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    databases: tuple[int, ...]
    tls: Mapping[str, str] = field(default_factory=dict)

    def flush(self) -> None:
        """Delete everything in our databases; other databases of the server stay."""
        for database in self.databases:
            with redis.Redis(
                host=self.host,
                port=self.port,
                username=self.username or None,
                password=self.password or None,
                db=database,
                ssl=self.tls.get("REDIS_TLS") == "1",
                ssl_ca_certs=self.tls.get("REDIS_TLS_CA_FILE"),
                ssl_certfile=self.tls.get("REDIS_TLS_CERT_FILE"),
                ssl_keyfile=self.tls.get("REDIS_TLS_KEY_FILE"),
            ) as client:
                client.flushdb()


def redis_databases(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return REDIS_CACHE_DB, REDIS_BROKER_DB and REDIS_BACKEND_DB; defaults 0, 1 and 2."""
    return {name: environ.get(name) or default for name, default in REDIS_DATABASES.items()}


@contextmanager
def postgres_server(
    environ: Mapping[str, str] = os.environ, *, fsync: bool = True
) -> Iterator[Postgres]:
    """Yield the server of DATABASE_URI if that is set, else run an embedded one in the context."""
    if uri := environ.get("DATABASE_URI"):
        yield ConfiguredPostgres(make_url(uri).render_as_string(hide_password=False))
        return
    with EmbeddedPostgres(fsync=fsync) as embedded:
        yield embedded


@contextmanager
def redis_server(environ: Mapping[str, str] = os.environ) -> Iterator[Redis]:
    """Yield the server of REDIS_HOST if that is set, else run an embedded one in the context."""
    if host := environ.get("REDIS_HOST"):
        yield ConfiguredRedis(
            host=host,
            port=int(environ.get("REDIS_PORT") or 6379),
            username=environ.get("REDIS_USERNAME", ""),
            password=environ.get("REDIS_PASSWORD", ""),
            databases=tuple(map(int, redis_databases(environ).values())),
            tls={
                name: text
                for name, text in environ.items()
                if name.startswith("REDIS_TLS") and text
            },
        )
        return
    with EmbeddedValkey() as embedded:
        yield embedded
