"""Operators' commands for users, metering points, tokens and keys; `flask --help` lists all commands."""

import sys
from collections.abc import Callable
from functools import wraps
from itertools import chain
from typing import Any

import click
from flask import Flask
from flask.cli import AppGroup

from origin.accounts.service.administration import UserAdministration
from origin.cli.output import (
    Entry,
    Page,
    as_json_option,
    entries_of,
    entry_of,
    paged,
    print_entries,
    print_json,
    print_table,
    reports_errors,
)
from origin.identity.service.tokens import UserTokens
from origin.maintenance.service.key_rotation import KeyRotation
from origin.maintenance.service.secret_changes import SecretChanges
from origin.web.provided import provided

users = AppGroup(
    "users", help="Accounts: list, show, disable, and renew their subscriptions at DataHub."
)
metering_points = AppGroup(
    "metering-points", help="Metering points: import them, and send their keys to DataHub."
)
token_commands = AppGroup("tokens", help="Users' tokens at Hydra: refresh them.")
keys = AppGroup("keys", help="The keys that encrypt secrets in the database.")


def register_commands(app: Flask) -> None:
    """Add all commands to the application."""
    import origin.cli.ledger_lists
    import origin.cli.recovery  # noqa: F401
    from origin.cli.adoption import adopt, adoption
    from origin.cli.doctor import doctor
    from origin.cli.ledger import ledger
    from origin.cli.operations import operations
    from origin.cli.version import version
    from origin.cli.webhooks import webhooks

    for command in (
        users,
        metering_points,
        token_commands,
        keys,
        ledger,
        operations,
        webhooks,
        adopt,
        adoption,
        doctor,
        version,
    ):
        app.cli.add_command(command)


class OnlyDoctor(AppGroup):
    """The commands if the settings are wrong: only `doctor` runs. All others end with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self._reason = reason

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Return the doctor.

        :raises SystemExit: another command is wanted.
        """
        from origin.cli.doctor import doctor

        if name != doctor.name:
            sys.exit(self._reason)
        return doctor

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Raise SystemExit: the other commands need settings."""
        sys.exit(self._reason)


def of_subject_or_all(command: Callable[[str | None], None]) -> Callable[..., None]:
    """Let a command take either a SUBJECT or `--all`; it gets None for `--all`."""

    @click.argument("subject", required=False)
    @click.option("--all", "everyone", is_flag=True, help="All active accounts.")
    @reports_errors
    @wraps(command)
    def chosen(subject: str | None, everyone: bool) -> None:  # noqa: FBT001 - click's way
        if (subject is None) != everyone:
            raise click.UsageError("Give a SUBJECT, or --all.")
        command(subject)

    return chosen


def _state(user: Any) -> str:
    if user.disabled_at is not None:
        return "disabled"
    return "must log in" if user.tokens_refused_at is not None else "active"


def _user(user: Any) -> Entry:
    """Return an account as an entry."""
    return {**entry_of(user), "state": _state(user)}


@users.command("list")
@paged(str)
@reports_errors
def list_users(page: Page[str]) -> None:
    """List all accounts, oldest first. `--after` takes a subject."""
    found = provided(UserAdministration).list_users(after=page.after, limit=page.asked)
    headings = {
        "SUBJECT": "subject",
        "STATE": "state",
        "CREATED": "created_at",
        "LAST LOGIN": "last_login_at",
        "TOKENS EXPIRE": "token_expires_at",
    }
    page.print([_user(each) for each in found], headings, "subject")


@users.command("show")
@click.argument("subject")
@as_json_option
@reports_errors
def show_user(subject: str, *, as_json: bool) -> None:
    """Show an account, its metering points, and its pending jobs at DataHub."""
    account = provided(UserAdministration).show_user(subject)
    points, jobs = entries_of(account.points), entries_of(account.jobs)
    if as_json:
        parts = {"stored_wh": account.stored_wh, "metering_points": points, "jobs": jobs}
        print_json({**_user(account.user), **parts})
        return
    click.echo(f"{subject}: {_state(account.user)}, {account.stored_wh} Wh stored\n")
    print_entries(
        points, {"GSRN": "gsrn", "TYPE": "type", "SECTOR": "sector", "KEY SENT": "key_sent_at"}
    )
    click.echo()
    headings = {
        "WORK AT DATAHUB": "kind",
        "NEXT ATTEMPT": "next_attempt_at",
        "ATTEMPTS": "attempts",
        "LAST ERROR": "last_error",
    }
    print_entries(jobs, headings)


@users.command("disable")
@click.argument("subject")
@click.confirmation_option(prompt="Disable this account for good?")
@reports_errors
def disable_user(subject: str) -> None:
    """Disable an account for good. Its GGOs and history stay."""
    was_active = provided(UserAdministration).disable_user(subject)
    click.echo("Disabled." if was_active else "It was disabled before.")


@users.command("resubscribe")
@of_subject_or_all
def resubscribe(subject: str | None) -> None:
    """Have a worker renew subscriptions at DataHub, and fetch missed events.

    Use it after PROJECT_URL or WEBHOOK_SECRET has changed, or the service was down for over a day.
    """
    click.echo(
        f"A worker will do so for {provided(UserAdministration).resubscribe(subject)} users."
    )


@metering_points.command("import")
@of_subject_or_all
def import_metering_points(subject: str | None) -> None:
    """Have a worker import metering points from DataHub."""
    count = provided(UserAdministration).import_metering_points(subject)
    click.echo(f"A worker will import those of {count} users.")


@metering_points.command("resend-keys")
@of_subject_or_all
def resend_keys(subject: str | None) -> None:
    """Have a worker send metering points' keys to DataHub again."""
    count = provided(UserAdministration).resend_keys(subject)
    click.echo(f"A worker will send {count} keys.")


@token_commands.command("refresh")
@click.argument("subject", required=False)
@click.option("--refused", is_flag=True, help="All users whose tokens Hydra refused.")
@reports_errors
def refresh_tokens(subject: str | None, refused: bool) -> None:  # noqa: FBT001 - click's way
    """Refresh a user's tokens now; without SUBJECT, all tokens that are due.

    SUBJECT and --refused also retry refreshes that Hydra refused: HYDRA_CLIENT_ID or
    HYDRA_CLIENT_SECRET may have been wrong.
    """
    if subject is not None and refused:
        raise click.UsageError("Give a SUBJECT, or --refused.")
    provided(SecretChanges).check_start()
    if subject is not None:
        provided(UserAdministration).refresh_tokens(subject)
        click.echo("Renewed.")
        return
    tokens = provided(UserTokens)
    count = tokens.refresh_refused() if refused else tokens.refresh_due()
    click.echo(f"{count} users have fresh tokens.")


@keys.command("status")
@as_json_option
@reports_errors
def key_status(*, as_json: bool) -> None:
    """Show where a key rotation stands: rows, running processes, and what to do next.

    Secrets are numbered as in this command's KEY_ENCRYPTION_SECRETS.
    """
    status = provided(SecretChanges).status()
    numbers = {prefix: str(number) for number, prefix in enumerate(status.own, 1)}
    processes: list[dict[str, Any]] = [
        {
            "process": each.process,
            "seen_at": each.seen_at,
            "encrypts_with": numbers.get(each.prefixes[0], "another"),
            "knows": [numbers.get(prefix, "another") for prefix in each.prefixes],
        }
        for each in status.processes
    ]
    if as_json:
        shown = {"rows_to_rotate": status.outdated, "next_step": status.next_step}
        print_json({**shown, "processes": processes})
        return
    click.echo(f"{status.outdated} rows to rotate.\n")
    print_table(
        ("PROCESS", "SEEN", "ENCRYPTS WITH", "KNOWS"),
        [
            (each["process"], each["seen_at"], each["encrypts_with"], ", ".join(each["knows"]))
            for each in processes
        ],
    )
    click.echo(f"\nNext: {status.next_step}")


@keys.command("rotate")
@reports_errors
def rotate_keys() -> None:
    """Encrypt all secrets anew with the first of KEY_ENCRYPTION_SECRETS.

    The service may run meanwhile. This is the third step of doc/operations/keys.md. The command
    refuses if a running process doesn't know the new secret, or still encrypts with another. You may
    stop it and start it again at any time.
    """
    failed = 0
    rotation = provided(KeyRotation).rotate()
    # Before the progress bar: if the database fails, only the error is printed.
    first = next(rotation)
    with click.progressbar(length=1, label="Rotating") as bar:
        for progress in chain([first], rotation):
            bar.length = max(progress.total, 1)
            bar.pos = progress.done + progress.failed
            bar.update(0)
            failed = progress.failed
    if failed:
        raise click.ClickException(f"{failed} rows open with none of KEY_ENCRYPTION_SECRETS.")
    click.echo(f"{provided(SecretChanges).status().outdated} rows left.")


@keys.command("forget-lost")
@click.confirmation_option(
    prompt="Let the service start although rows need secrets that this command doesn't have?"
)
@reports_errors
def forget_lost_secrets() -> None:
    """Declare lost all secrets that rows need and KEY_ENCRYPTION_SECRETS lacks.

    Without this, no process starts. The users whose keys such a secret encrypts can't move their
    GGOs any more, so look for it in every backup first.
    """
    click.echo(f"{provided(SecretChanges).declare_lost()} rows can't be read.")
