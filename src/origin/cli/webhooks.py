"""Operators' commands for webhooks to subscribers: `flask webhooks …`."""

from typing import Any

import click
from flask.cli import AppGroup

from origin.cli.output import (
    Entry,
    Page,
    entries_of,
    entry_of,
    paged,
    print_entries,
    print_json,
    reports_errors,
)
from origin.web.provided import provided
from origin.webhooks.service import administration
from origin.webhooks.service.administration import SubscriptionAdministration

webhooks = AppGroup("webhooks", help="Webhooks to subscribers: list, show, replay, disable.")


@webhooks.command("list")
@click.option("--subject", help="Only this account's.")
@click.option("--ended", is_flag=True, help="Include subscriptions that have ended.")
@paged(int)
@reports_errors
def list_webhooks(subject: str | None, *, ended: bool, page: Page[int]) -> None:
    """List subscriptions, oldest first, and how many deliveries are pending for each."""
    found = provided(SubscriptionAdministration).list_subscriptions(
        subject=subject, include_ended=ended, after=page.after, limit=page.asked
    )
    headings = {
        "ID": "id",
        "SUBJECT": "subject",
        "EVENT": "event",
        "WHERE": "url",
        "STATE": "state",
        "WAITING": "waiting",
        "OLDEST": "oldest",
    }
    page.print([_subscription(each) for each in found], headings, "id")


@webhooks.command("show")
@click.argument("subscription", type=int)
@paged(int, limit=50)
@reports_errors
def show_webhook(subscription: int, *, page: Page[int]) -> None:
    """Show a subscription and its latest deliveries, newest first."""
    log = provided(SubscriptionAdministration).show(
        subscription, after=page.after, limit=page.asked
    )
    found = _subscription(log.subscription)
    deliveries = page.cut(entries_of(log.deliveries), "id")
    if page.as_json:
        print_json({**found, "deliveries": deliveries})
        return
    click.echo(
        f"{found['event']} of {found['subject']} to {found['url']}: {found['state']}, "
        f"{found['waiting']} waiting, {found['failures']} failures in a row\n"
    )
    headings = {
        "ID": "id",
        "WEBHOOK-ID": "webhook_id",
        "STATE": "state",
        "ATTEMPTS": "attempts",
        "STATUS": "last_status",
        "LAST ERROR": "last_error",
        "EVENT AT": "created_at",
        "NEXT": "next_attempt_at",
    }
    print_entries(deliveries, headings)


def _subscription(row: Any) -> Entry:
    """Return a subscription as an entry, without its URL's query."""
    return {**entry_of(row), "url": administration.without_query(row.url)}


@webhooks.command("replay")
@click.argument("subscription", type=int)
@click.argument("deliveries", type=int, nargs=-1)
@reports_errors
def replay_webhooks(subscription: int, deliveries: tuple[int, ...]) -> None:
    """Deliver again now: DELIVERIES by id, or all that are pending or given up.

    Deliveries of events older than a day are attempted once.
    """
    count = provided(SubscriptionAdministration).replay(subscription, deliveries)
    click.echo(f"{count} deliveries are due now.")


@webhooks.command("disable")
@click.argument("subscription", type=int)
@click.confirmation_option(prompt="End this subscription for good?")
@reports_errors
def disable_webhook(subscription: int) -> None:
    """End a subscription, and cancel its pending deliveries."""
    provided(SubscriptionAdministration).disable(subscription)
    click.echo("Ended.")
