"""The operators' command that tells which version runs."""

import json
import platform

import click

from origin.cli.output import print_table
from origin.db.compatibility import known_revisions
from origin.shared.release import VERSION, revision


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
        "schema": known_revisions()[-1],
    }
    if as_json:
        click.echo(json.dumps(shown))
    else:
        print_table(("ACCOUNTSERVICE", VERSION), list(shown.items())[1:])
