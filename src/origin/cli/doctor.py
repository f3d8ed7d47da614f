"""The operators' command that examines everything: `flask doctor`."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import with_appcontext

from origin.cli.output import as_json_option, one_line, print_json
from origin.doctor.rules import Level
from origin.doctor.service.doctor import Doctor
from origin.web.provided import provided

_FAILED = 1


@click.command("doctor")
@as_json_option
@with_appcontext
def doctor(*, as_json: bool) -> None:
    """Check all that the service needs, in one line for each: ok, warn or fail.

    It checks the settings, PostgreSQL, Redis, the peers, the ledger, the secrets, and whether workers and
    Beat work. It takes 15 s at most. It writes only a key in Redis, which expires after two seconds. Ends
    with status 0 if nothing failed, 1 otherwise; warnings don't count.
    """
    has_failed = False
    with _quiet():
        for finding in provided(Doctor).examine():
            has_failed |= finding.level is Level.FAIL
            if as_json:
                print_json(vars(finding))
            else:
                click.echo(f"{finding.level:<4}  {finding.check:<32}  {one_line(finding.text)}")
    if has_failed:
        sys.exit(_FAILED)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let only errors be logged: the findings tell the rest."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
