"""The operators' commands: `flask users list` and so on; `flask --help` shows them all."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import wraps
from itertools import chain
from typing import Any, ParamSpec

import click
from flask import Flask
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from origin.accounts.service.administration import DisabledUser, UnknownUser, UserAdministration
from origin.batches.service.reports import UnknownBatch
from origin.db.sqlstates import READ_ONLY, Fault, fault_in, state_of
from origin.errors import OriginError
from origin.identity.service.tokens import UserTokens
from origin.maintenance.service.key_rotation import KeyRotation
from origin.web.provided import provided
from origin.webhooks.service.administration import UnknownWebhook

P = ParamSpec("P")

users = AppGroup("users", help="Accounts: list, show, disable, subscribe anew at DataHub.")
metering_points = AppGroup("metering-points", help="Metering points: import them, send their keys.")
token_commands = AppGroup("tokens", help="The users' tokens at Hydra: refresh them.")
keys = AppGroup("keys", help="The keys that encrypt what is secret in the database.")


def register_commands(app: Flask) -> None:
    """Add the commands to the application's."""
    # They print with what stands below.
    import origin.cli.recovery  # noqa: F401 - adds its command to `ledger`
    from origin.cli.ledger import ledger
    from origin.cli.webhooks import webhooks

    for group in (users, metering_points, token_commands, keys, ledger, webhooks):
        app.cli.add_command(group)


def _message(error: OriginError) -> str:
    """Return an error's message for operators."""
    match error:
        case UnknownUser():
            return f"No account has the subject {error.subject}"
        case DisabledUser():
            return f"The account of {error.subject} is disabled"
        case UnknownBatch():
            return f"There is no batch {error.batch_id}"
        case UnknownWebhook():
            live = "live " if error.must_be_live else ""
            return f"There is no {live}subscription {error.subscription_id}"
        case _:
            return str(error)


def _told(command: Callable[P, None]) -> Callable[P, None]:
    """Print the service's errors, and those of an unavailable database, in a line; exit with 1."""

    @wraps(command)
    def telling(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except OriginError as error:
            raise click.ClickException(_message(error)) from error
        except (DBAPIError, PoolTimeoutError) as error:
            if state_of(error) == READ_ONLY:
                raise click.ClickException("The database can't be written now.") from error
            if fault_in(error) is Fault.TRANSIENT:
                raise click.ClickException("The database is out of reach.") from error
            if not isinstance(error, ProgrammingError):
                raise
            raise click.ClickException(
                f"The database isn't as it should be ({type(error.orig).__name__}): is it migrated?"
            ) from error

    return telling


def _of_whom(command: Callable[[str | None], None]) -> Callable[..., None]:
    """Give the command one SUBJECT, or None for `--all`."""

    @click.argument("subject", required=False)
    @click.option("--all", "everyone", is_flag=True, help="All active accounts.")
    @_told
    @wraps(command)
    def chosen(subject: str | None, everyone: bool) -> None:  # noqa: FBT001 - click's way
        if (subject is None) != everyone:
            raise click.UsageError("Give a SUBJECT, or --all.")
        command(subject)

    return chosen


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for line in (headings, *texts):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _text(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M:%SZ")
    return "-" if cell is None else str(cell)


def _state(user: Any) -> str:
    if user.disabled_at is not None:
        return "disabled"
    return "must log in" if user.tokens_refused_at is not None else "active"


@users.command("list")
@_told
def list_users() -> None:
    """List all accounts, oldest first."""
    _table(
        ("SUBJECT", "STATE", "CREATED", "LAST LOGIN", "TOKENS EXPIRE"),
        [
            (user.subject, _state(user), user.created_at, user.last_login_at, user.token_expires_at)
            for user in provided(UserAdministration).list_users()
        ],
    )


@users.command("show")
@click.argument("subject")
@_told
def show_user(subject: str) -> None:
    """Show an account, its metering points, and what DataHub must still be told."""
    account = provided(UserAdministration).show_user(subject)
    click.echo(f"{subject}: {_state(account.user)}, {account.stored_wh} Wh stored\n")
    points = [(each.gsrn, each.type, each.sector, each.key_sent_at) for each in account.points]
    _table(("GSRN", "TYPE", "SECTOR", "KEY SENT"), points)
    click.echo()
    _table(
        ("WORK AT DATAHUB", "NEXT ATTEMPT", "ATTEMPTS", "LAST ERROR"),
        [
            (each.kind, each.next_attempt_at, each.attempts, each.last_error)
            for each in account.jobs
        ],
    )


@users.command("disable")
@click.argument("subject")
@click.confirmation_option(prompt="Disable this account for good?")
@_told
def disable_user(subject: str) -> None:
    """Disable an account for good. Its GGOs and history stay."""
    was_active = provided(UserAdministration).disable_user(subject)
    click.echo("Disabled." if was_active else "It was disabled before.")


@users.command("resubscribe")
@_of_whom
def resubscribe(subject: str | None) -> None:
    """Have a worker subscribe anew to DataHub's webhooks, and fetch what was missed.

    For when PROJECT_URL or WEBHOOK_SECRET has changed, or the service was away for over a day.
    """
    click.echo(
        f"A worker will do so for {provided(UserAdministration).resubscribe(subject)} users."
    )


@metering_points.command("import")
@_of_whom
def import_metering_points(subject: str | None) -> None:
    """Have a worker import metering points from DataHub."""
    count = provided(UserAdministration).import_metering_points(subject)
    click.echo(f"A worker will import those of {count} users.")


@metering_points.command("resend-keys")
@_of_whom
def resend_keys(subject: str | None) -> None:
    """Have a worker send metering points' keys to DataHub again."""
    count = provided(UserAdministration).resend_keys(subject)
    click.echo(f"A worker will send {count} keys.")


@token_commands.command("refresh")
@click.argument("subject", required=False)
@click.option("--refused", is_flag=True, help="Of all users whose tokens Hydra refused.")
@_told
def refresh_tokens(subject: str | None, refused: bool) -> None:  # noqa: FBT001 - click's way
    """Renew a user's tokens, due or not; without SUBJECT, all that are due.

    What Hydra refused is asked for again, too: it may have been HYDRA_CLIENT_ID or
    HYDRA_CLIENT_SECRET that was wrong.
    """
    if subject is not None and refused:
        raise click.UsageError("Give a SUBJECT, or --refused.")
    if subject is not None:
        provided(UserAdministration).refresh_tokens(subject)
        click.echo("Renewed.")
        return
    tokens = provided(UserTokens)
    count = tokens.refresh_refused() if refused else tokens.refresh_due()
    click.echo(f"{count} users have fresh tokens.")


@keys.command("status")
@_told
def key_status() -> None:
    """Tell how many users and webhooks have something not sealed with the first secret."""
    click.echo(f"{provided(KeyRotation).outdated()} rows to rotate.")


@keys.command("rotate")
@_told
def rotate_keys() -> None:
    """Seal everything anew with the first of KEY_ENCRYPTION_SECRETS, while the service runs.

    Put the new secret first and keep the old one; restart web, worker and beat, so that all of
    them know it; rotate; when `flask keys status` says 0, take the old one away. It may be stopped
    and begun again at any time.
    """
    failed = 0
    rotation = provided(KeyRotation).rotate()
    # Where the database can't be used, that alone is told.
    first = next(rotation)
    with click.progressbar(length=1, label="Rotating") as bar:
        for progress in chain([first], rotation):
            bar.length = max(progress.total, 1)
            bar.pos = progress.done + progress.failed
            bar.update(0)
            failed = progress.failed
    if failed:
        raise click.ClickException(f"{failed} rows open with none of KEY_ENCRYPTION_SECRETS.")
    click.echo(f"{provided(KeyRotation).outdated()} rows left.")
