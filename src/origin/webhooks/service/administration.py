"""Operators list, show, replay and end webhook subscriptions (`flask webhooks`)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from origin.db.engine import Database
from origin.errors import OriginError
from origin.shared.wakeups import Wakeups
from origin.webhooks.queries import administration as queries
from origin.webhooks.queries import subscriptions
from origin.webhooks.queries.outbox import wake


@dataclass(eq=False)
class UnknownSubscription(OriginError):
    """No subscription has this id; if `must_be_live`: no live one has it."""

    subscription_id: int
    must_be_live: bool


@dataclass(frozen=True)
class SubscriptionLog:
    """A subscription and its latest deliveries, newest first."""

    subscription: Any
    deliveries: Sequence[Any]


def without_query(url: str) -> str:
    """Return a URL without its query, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


@dataclass(frozen=True)
class SubscriptionAdministration:
    """Shows subscriptions to operators, replays deliveries and ends subscriptions."""

    database: Database
    wakeups: Wakeups

    def list_subscriptions(
        self, *, subject: str | None, include_ended: bool, after: int | None, limit: int | None
    ) -> Sequence[Any]:
        """Return subscriptions with a summary of their delivery queues, oldest first.

        :param subject: Only this account's; None: all accounts'.
        :param after: Only those after the one with this id; None: all.
        :param limit: At most so many; None: all.
        """
        with self.database.reading() as session:
            return queries.list_subscriptions(
                session,
                subject=subject,
                include_ended=include_ended,
                beyond=after or 0,
                limit=limit,
            )

    def show(
        self, subscription_id: int, *, after: int | None, limit: int | None
    ) -> SubscriptionLog:
        """Return a subscription and its latest deliveries.

        :param after: Only deliveries that are older than the one with this id; None: the latest.
        :param limit: At most so many; None: all.
        :raises UnknownSubscription: there is none with this id.
        """
        with self.database.reading() as session:
            found = queries.find_subscription(session, subscription_id)
            if found is None:
                raise UnknownSubscription(subscription_id, must_be_live=False)
            latest = queries.latest_deliveries(session, subscription_id, below=after, limit=limit)
            return SubscriptionLog(found, latest)

    def replay(self, subscription_id: int, delivery_ids: Collection[int]) -> int:
        """Make deliveries due now: these, or all that are pending or given up.

        Deliveries of events older than a day are attempted once.

        :returns: How many.
        :raises UnknownSubscription: the subscription is not live.
        """
        with self.database.transaction() as session:
            if not queries.lock_live(session, subscription_id):
                raise UnknownSubscription(subscription_id, must_be_live=True)
            count = queries.make_due(session, subscription_id, delivery_ids)
            if count:
                # The operator expects the receiver to work again: a pause ends.
                queries.forget_failures(session, subscription_id)
                wake(session, [subscription_id])
        if count:
            self.wakeups.deliveries_due()
        return count

    def disable(self, subscription_id: int) -> None:
        """End a subscription and cancel its pending deliveries.

        :raises UnknownSubscription: the subscription is not live.
        """
        with self.database.transaction() as session:
            if not subscriptions.end(session, subscription_id, "disabled by an operator"):
                raise UnknownSubscription(subscription_id, must_be_live=True)
