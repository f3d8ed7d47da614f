"""How long rows are kept that only pruning deletes.

Idempotency keys: `origin.compose.rules`. Early subscriptions: `origin.webhooks.rules.subscriptions`.
Login states carry their own end.
"""

from datetime import timedelta

EARLY_EVENTS = timedelta(days=30)
"""Events of subjects that never logged in, after they were received."""
ENDED_DELIVERIES = timedelta(days=30)
"""Webhook deliveries, after they ended."""
ENDED_SUBSCRIPTIONS = timedelta(days=30)
"""Subscriptions without deliveries, after they ended."""
SILENT_PROCESSES = timedelta(days=1)
"""Which secrets processes know, after they have told it last."""
BATCH_EVENTS = timedelta(days=90)
"""Entries of batches' histories."""
RECONCILIATION_RUNS = timedelta(days=90)
"""Reconciliation runs, after they finished."""
RESOLVED_DIFFERENCES = timedelta(days=90)
"""Differences from the ledger, after they were resolved."""
