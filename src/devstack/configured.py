"""The servers to work with: those that the environment names, else embedded ones."""

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

# Which of Redis' databases serves what, where the environment doesn't say.
REDIS_DATABASES = {"REDIS_CACHE_DB": "0", "REDIS_BROKER_DB": "1", "REDIS_BACKEND_DB": "2"}


class Postgres(Protocol):
    """A PostgreSQL server on which databases can be made."""

    @property
    def uri(self) -> str:
        """The address of a database that is there, password included."""

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, a copy of `template` where given, and return its URI."""

    def drop_database(self, name: str) -> None:
        """Drop a database and cut the connections to it; none there is no error."""


class Redis(Protocol):
    """A Redis or Valkey server. Empty user name and password: none."""

    @property
    def host(self) -> str:
        """Where it is."""

    @property
    def port(self) -> int:
        """Its TCP port."""

    @property
    def username(self) -> str:
        """The ACL user."""

    @property
    def password(self) -> str:
        """That user's password."""

    def flush(self) -> None:
        """Forget everything in the databases that are ours."""


@dataclass(frozen=True, slots=True)
class ConfiguredPostgres:
    """The server of DATABASE_URI. Its user needs the CREATEDB right for scratch databases."""

    uri: str = field(repr=False)

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database; PermissionError with a plain message where the right is missing."""
        create_database(self.uri, name, template=template)
        return with_database(self.uri, name)

    def drop_database(self, name: str) -> None:
        """Drop a database and cut the connections to it."""
        drop_database(self.uri, name)


@dataclass(frozen=True, slots=True)
class ConfiguredRedis:
    """The server of REDIS_HOST; `databases` are the numbers of those that are ours."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    databases: tuple[int, ...]

    def flush(self) -> None:
        """Forget everything in our databases; others' on the same server stay."""
        for database in self.databases:
            with redis.Redis(
                host=self.host,
                port=self.port,
                username=self.username or None,
                password=self.password or None,
                db=database,
            ) as client:
                client.flushdb()


def redis_databases(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """REDIS_CACHE_DB, REDIS_BROKER_DB and REDIS_BACKEND_DB as set, else 0, 1 and 2."""
    return {name: environ.get(name) or default for name, default in REDIS_DATABASES.items()}


@contextmanager
def postgres_server(
    environ: Mapping[str, str] = os.environ, *, fsync: bool = True
) -> Iterator[Postgres]:
    """The server of DATABASE_URI where that is set, else an embedded one for as long as needed."""
    if uri := environ.get("DATABASE_URI"):
        yield ConfiguredPostgres(make_url(uri).render_as_string(hide_password=False))
        return
    with EmbeddedPostgres(fsync=fsync) as embedded:
        yield embedded


@contextmanager
def redis_server(environ: Mapping[str, str] = os.environ) -> Iterator[Redis]:
    """The server of REDIS_HOST where that is set, else an embedded one for as long as needed."""
    if host := environ.get("REDIS_HOST"):
        yield ConfiguredRedis(
            host=host,
            port=int(environ.get("REDIS_PORT") or 6379),
            username=environ.get("REDIS_USERNAME", ""),
            password=environ.get("REDIS_PASSWORD", ""),
            databases=tuple(map(int, redis_databases(environ).values())),
        )
        return
    with EmbeddedValkey() as embedded:
        yield embedded
