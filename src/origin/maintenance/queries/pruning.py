"""Outdated rows: a condition for each table."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, and_, delete, exists, func
from sqlalchemy.orm import Session

from origin.db.models import (
    Base,
    BatchEvent,
    EarlyEvent,
    EarlySubscription,
    IdempotencyKey,
    LedgerDifference,
    LoginState,
    ProcessSecrets,
    ReconciliationRun,
    User,
    WebhookDelivery,
    WebhookSubscription,
)
from origin.maintenance.rules import retention
from origin.operations.queries import idempotency
from origin.webhooks.queries import early_subscriptions


def outdated_rows() -> Mapping[type[Base], ColumnElement[bool]]:
    """Return the condition for outdated rows of each table to prune.

    The order matters: deliveries are deleted before their subscriptions.
    """
    now = func.now()
    return {
        # Events of known users stay: they wait for a metering point.
        EarlyEvent: and_(
            EarlyEvent.received_at < now - retention.EARLY_EVENTS,
            ~exists().where(User.subject == EarlyEvent.subject),
        ),
        EarlySubscription: early_subscriptions.is_outdated(),
        IdempotencyKey: idempotency.is_outdated(),
        LoginState: LoginState.expires_at < now,
        ProcessSecrets: ProcessSecrets.seen_at < now - retention.SILENT_PROCESSES,
        BatchEvent: BatchEvent.at < now - retention.BATCH_EVENTS,
        ReconciliationRun: ReconciliationRun.finished_at < now - retention.RECONCILIATION_RUNS,
        LedgerDifference: LedgerDifference.resolved_at < now - retention.RESOLVED_DIFFERENCES,
        WebhookDelivery: WebhookDelivery.ended_at < now - retention.ENDED_DELIVERIES,
        WebhookSubscription: and_(
            WebhookSubscription.ended_at < now - retention.ENDED_SUBSCRIPTIONS,
            ~exists().where(WebhookDelivery.subscription_id == WebhookSubscription.id),
        ),
    }


def delete_rows(session: Session, table: type[Base], condition: ColumnElement[bool]) -> int:
    """Delete the rows of a table that meet a condition; return how many."""
    deleted = session.execute(delete(table).where(condition))
    return cast("CursorResult[Any]", deleted).rowcount
