"""Subscriptions to webhooks (contract: http-api, Webhook subscriptions)."""

import hmac
from dataclasses import dataclass

from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.locks import lock_subject
from origin.keys.sealing import Sealer, webhook_secret_context
from origin.webhooks.client.receivers import ReceiverClient
from origin.webhooks.client.targets import target_of
from origin.webhooks.queries import subscriptions as queries
from origin.webhooks.queries.subscriptions import SubscribingAccount
from origin.webhooks.rules.deliveries import Event
from origin.webhooks.rules.signatures import check_secret
from origin.webhooks.rules.subscriptions import check_count
from origin.webhooks.service import early_subscriptions


@dataclass(frozen=True)
class Subscriptions:
    """Subscribes users to webhooks."""

    receivers: ReceiverClient
    database: Database
    sealer: Sealer

    def subscribe(self, subject: str, event: Event, url: str, secret: str) -> None:
        """Subscribe the subject's URL to this event; a repeat replaces the secret.

        The subscription of a subject without an account is kept for its first login. That of
        a disabled account is dropped silently.

        :raises Rejected: the secret is not base64 after `whsec_`; the URL is not http or https or
            leads to a forbidden address; or the subject has too many subscriptions.
        """
        check_secret(secret)
        target = target_of(url)
        host = target.authority
        self.receivers.check(target)
        with self.database.transaction() as session:
            account = _account(session, subject)
            if account is None:
                early_subscriptions.keep(session, self.sealer, subject, event, url, host, secret)
            elif account.is_active:
                sealed = self.sealer.seal(secret, webhook_secret_context(account.id, event, url))
                check_count(queries.count_others(session, account.id, event, url))
                queries.store(session, account.id, event, url, host=host, sealed_secret=sealed)

    def unsubscribe(self, subject: str, event: Event, url: str, secret: str) -> bool:
        """End the subscription of this event to this URL, if it has this secret.

        :returns: False if there is none.
        """
        with self.database.transaction() as session:
            account = _account(session, subject)
            if account is None:
                return early_subscriptions.drop(session, self.sealer, subject, event, url, secret)
            return account.is_active and self._end(session, account.id, event, url, secret)

    def _end(self, session: Session, user_id: int, event: Event, url: str, secret: str) -> bool:
        found = queries.find_live(session, user_id, event, url)
        if found is None:
            return False
        known = self.sealer.open(found.secret, webhook_secret_context(user_id, event, url))
        if not hmac.compare_digest(known.encode(), secret.encode()):
            return False
        return queries.end(session, found.id, "unsubscribed")


def _account(session: Session, subject: str) -> SubscribingAccount | None:
    """Return the subject's account; None if it has none until the transaction ends."""
    found = queries.find_account(session, subject)
    if found is None:
        lock_subject(session, subject)
        # A first login may have committed before this had the lock.
        found = queries.find_account(session, subject)
    return found
