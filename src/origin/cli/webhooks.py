"""The operators' commands about webhooks to subscribers: `flask webhooks …`."""

import click
from flask.cli import AppGroup

from origin.cli.commands import _table, _told
from origin.web.provided import provided
from origin.webhooks.service import administration
from origin.webhooks.service.administration import SubscriptionAdministration

webhooks = AppGroup("webhooks", help="Webhooks to subscribers: list, show, replay, disable.")


@webhooks.command("list")
@click.option("--subject", help="Of this account alone.")
@click.option("--ended", is_flag=True, help="Those that have ended, too.")
@_told
def list_webhooks(subject: str | None, *, ended: bool) -> None:
    """List subscriptions, and how many deliveries wait on each."""
    _table(
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
@_told
def show_webhook(subscription: int) -> None:
    """Show a subscription and its latest deliveries, newest first."""
    log = provided(SubscriptionAdministration).show(subscription)
    found = log.subscription
    click.echo(
        f"{found.event} of {found.subject} to {administration.without_query(found.url)}: {found.state}, "
        f"{found.waiting} waiting, {found.failures} failures in a row\n"
    )
    _table(
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
@_told
def replay_webhooks(subscription: int, deliveries: tuple[int, ...]) -> None:
    """Deliver again, now: DELIVERIES by their ids, or all that wait or were given up.

    What is older than a day is tried once.
    """
    count = provided(SubscriptionAdministration).replay(subscription, deliveries)
    click.echo(f"{count} deliveries are due now.")


@webhooks.command("disable")
@click.argument("subscription", type=int)
@click.confirmation_option(prompt="End this subscription for good?")
@_told
def disable_webhook(subscription: int) -> None:
    """End a subscription; what waits for it is cancelled."""
    provided(SubscriptionAdministration).disable(subscription)
    click.echo("Ended.")
