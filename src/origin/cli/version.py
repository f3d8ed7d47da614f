"""The operators' command that tells which version runs."""

import json
import platform
from pathlib import Path

import click

import origin
from origin.cli.output import print_table
from origin.shared.release import VERSION, revision

_MIGRATIONS = Path(origin.__file__).resolve().parent.parent / "migrations/versions"


def newest_schema() -> str:
    """Return the revision of the newest migration, from its file's name (`<date>_<revision>_<title>.py`).

    Alembic could tell, but takes a third of a second to load.
    """
    return max(path.name.split("_")[1] for path in _MIGRATIONS.glob("*_*_*.py"))


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version(as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Show the version of the service, and the schema that it migrates the database to.

    It needs neither the database nor any other server. The revision is known only in an image that
    was built with the build argument REVISION.
    """
    shown = {
        "version": VERSION,
        "revision": revision(),
        "python": platform.python_version(),
        "schema": newest_schema(),
    }
    if as_json:
        click.echo(json.dumps(shown))
    else:
        print_table(("ACCOUNTSERVICE", VERSION), list(shown.items())[1:])
