"""Runs `flask adopt` on a service of a test, with no peers."""

import json
from typing import Any

from tests.support.original_database import OriginalDatabase
from tests.support.world import Peer, World

_NOBODY = "http://127.0.0.1:9"


def service(database_uri: str, **settings: Any) -> World:
    """Return a service without peers on this database."""
    return World(database_uri, Peer(_NOBODY), Peer(_NOBODY), **settings)


def uri_of(world: World) -> str:
    """Return the URI of the service's database, for psycopg2."""
    url = world.runtime.database.engine.url.set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def write(world: World, original: OriginalDatabase, **how: Any) -> None:
    """Write an original database into the schema `original` of the service's own database."""
    original.write(uri_of(world), "original", **how)


def adopt(world: World, *arguments: str, schema: str = "original", status: int = 0) -> Any:
    """Run `flask adopt --json` on a schema of the service's own database; return its report."""
    output = run(world, "--schema", schema, "--json", *arguments, status=status)
    return json.loads(output)


def run(world: World, *arguments: str, status: int = 0) -> str:
    """Run `flask adopt`; return its standard output, or the error's line if there is no output."""
    result = world.app.test_cli_runner().invoke(args=["adopt", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout or result.stderr


def rejections(report: Any) -> dict[tuple[str, int], str]:
    """Return the reasons by kind and id."""
    return {(each["kind"], each["id"]): each["reason"] for each in report["rejections"]}
