"""Operators' commands for webhooks to subscribers: `flask webhooks …`."""

import click
from flask.cli import AppGroup

from origin.cli.output import print_table, reports_errors
from origin.web.provided import provided
from origin.webhooks.service import administration
from origin.webhooks.service.administration import SubscriptionAdministration

webhooks = AppGroup("webhooks", help="Webhooks to subscribers: list, show, replay, disable.")


@webhooks.command("list")
@click.option("--subject", help="Only this account's.")
@click.option("--ended", is_flag=True, help="Include subscriptions that have ended.")
@reports_errors
def list_webhooks(subject: str | None, *, ended: bool) -> None:
    """List subscriptions, and how many deliveries are pending for each."""
    print_table(
        ("ID", "SUBJECT", "EVENT", "WHERE", "STATE", "WAITING", "OLDEST"),
        [
            (
                each.id,
                each.subject,
                each.event,
                administration.without_query(each.url),
                each.state,
                each.waiting,
                each.oldest,
            )
            for each in provided(SubscriptionAdministration).list_subscriptions(
                subject=subject, include_ended=ended
            )
        ],
    )


@webhooks.command("show")
@click.argument("subscription", type=int)
@reports_errors
def show_webhook(subscription: int) -> None:
    """Show a subscription and its latest deliveries, newest first."""
    log = provided(SubscriptionAdministration).show(subscription)
    found = log.subscription
    click.echo(
        f"{found.event} of {found.subject} to {administration.without_query(found.url)}: {found.state}, "
        f"{found.waiting} waiting, {found.failures} failures in a row\n"
    )
    print_table(
        ("ID", "WEBHOOK-ID", "STATE", "ATTEMPTS", "STATUS", "LAST ERROR", "EVENT AT", "NEXT"),
        [
            (
                each.id,
                each.webhook_id,
                each.state,
                each.attempts,
                each.last_status,
                each.last_error,
                each.created_at,
                each.next_attempt_at,
            )
            for each in log.deliveries
        ],
    )


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
