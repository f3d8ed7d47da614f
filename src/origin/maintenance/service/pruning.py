"""Forgetting what has had its time."""

from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, and_, delete, exists, func

from origin.db.engine import Database
from origin.db.models import (
    BatchEvent,
    EarlySubscription,
    IdempotencyKey,
    KeptEvent,
    LedgerDifference,
    LedgerWalk,
    LoginState,
    User,
    WebhookDelivery,
    WebhookSubscription,
)
from origin.webhooks.rules.subscriptions import EARLY_KEPT_FOR


def prune(database: Database) -> dict[str, int]:
    """Delete what is past: idempotency keys after 24 hours, login states after their hour.

    After 30 days: kept events, subscriptions of subjects that never logged in, deliveries that have
    ended, and subscriptions that have ended and of which no delivery is left. After 90 days: batches'
    histories, walks, and differences that were resolved.

    :returns: How many rows went, by table.
    """
    past = {
        # Of subjects that never logged in; what waits for a known user's point is not forgotten.
        KeptEvent: and_(
            KeptEvent.received_at < func.now() - timedelta(days=30),
            ~exists().where(User.subject == KeptEvent.subject),
        ),
        EarlySubscription: EarlySubscription.subscribed_at < func.now() - EARLY_KEPT_FOR,
        IdempotencyKey: IdempotencyKey.created_at < func.now() - timedelta(hours=24),
        LoginState: LoginState.expires_at < func.now(),
        BatchEvent: BatchEvent.at < func.now() - timedelta(days=90),
        LedgerWalk: LedgerWalk.finished_at < func.now() - timedelta(days=90),
        LedgerDifference: LedgerDifference.resolved_at < func.now() - timedelta(days=90),
        WebhookDelivery: WebhookDelivery.ended_at < func.now() - timedelta(days=30),
        WebhookSubscription: and_(
            WebhookSubscription.ended_at < func.now() - timedelta(days=30),
            ~exists().where(WebhookDelivery.subscription_id == WebhookSubscription.id),
        ),
    }
    gone = {}
    for table, is_past in past.items():
        with database.transaction() as session:
            deleted = session.execute(delete(table).where(is_past))
            gone[table.__tablename__] = cast("CursorResult[Any]", deleted).rowcount
    return gone
