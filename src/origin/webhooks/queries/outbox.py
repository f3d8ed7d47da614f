"""Events for subscribers: written in the transaction that makes them true.

A delivery stores the exact bytes of its body. After the commit, `has_written` tells whether workers
must be woken (`origin.webhooks.service.outbox` does both).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from origin.db.models import WebhookDelivery, WebhookSubscription
from origin.db.raw_connections import RawConnection
from origin.ggos.queries.ggos import GGO_OBJECT
from origin.webhooks.rules.deliveries import PAUSE_AFTER

WAKE = f"""
WITH asleep AS (
    SELECT id FROM webhook_subscriptions
    WHERE {{queues}} AND ended_at IS NULL AND (
        next_attempt_at IS NULL
        OR next_attempt_at > now() AND claim IS NULL AND failures < {PAUSE_AFTER}
    )
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE webhook_subscriptions SET next_attempt_at = now() FROM asleep
WHERE webhook_subscriptions.id = asleep.id
"""
"""The statement of `wake`, in the driver's form. `queues`: the condition that selects subscriptions.

Run it after the statement that writes the deliveries, never within it. It must see the queues as they
are under the locks that writing the deliveries has taken.
"""
_WAKE_THESE = WAKE.format(queues="id = ANY(%(queues)s)")

_WRITTEN = "deliveries_written"

# ON_GGO_RECEIVED (contract: peers, Webhook receivers) for each live subscription of each GGO's owner.
TELL = f"""
INSERT INTO webhook_deliveries (subscription_id, body, webhook_id)
SELECT subscription.id, convert_to(
    '{{{{"sub":' || to_json(owner.subject) || ',"ggo":' || row_to_json(ggo) || '}}}}', 'UTF8'
), CAST(md5(subscription.id || ':' || page.address) AS uuid)
FROM {{ggos}} AS page
JOIN webhook_subscriptions AS subscription ON subscription.user_id = page.owner_id
JOIN users AS owner ON owner.id = page.owner_id
CROSS JOIN LATERAL ({GGO_OBJECT}) AS ggo
WHERE subscription.event = 'ON_GGO_RECEIVED' AND subscription.ended_at IS NULL
ORDER BY subscription.id, page.id FOR KEY SHARE OF subscription
RETURNING subscription_id
"""
"""`ggos`: a table or subquery of GGOs.

An owner receives a GGO once. So the event's id is derived from GGO and subscription: if a recovery
of the database writes the event a second time, receivers recognise it.
"""

# The GGOs that these batches made, except those that were retired.
_TELL_SETTLED = TELL.format(
    ggos="""(
    SELECT * FROM ggos WHERE stored AND NOT locked AND parent_id IN (
        SELECT ggo_id FROM batches WHERE id = ANY(%(batches)s::bigint[])
    ))"""
)
_TELL_OPERATION = TELL.format(
    ggos="""(
    SELECT * FROM ggos WHERE stored AND NOT locked AND parent_id IN (
        SELECT ggo_id FROM batches WHERE operation_id = %(operation_id)s
    ))"""
)
_TELL_ISSUED = TELL.format(ggos="(SELECT * FROM ggos WHERE address = ANY(%(addresses)s::text[]))")


def announce_issued(session: Session, addresses: Collection[str]) -> None:
    """Write ON_GGO_RECEIVED for the owners of the GGOs at these addresses."""
    if addresses:
        _announce_ggos(session, _TELL_ISSUED, {"addresses": list(addresses)})


def announce_settled(session: Session, batch_ids: Collection[int]) -> None:
    """Write ON_GGO_RECEIVED for the GGOs that these batches made, once the ledger has committed them.

    Those are the transfers' targets and the senders' remainders; retired GGOs are left out.
    """
    _announce_ggos(session, _TELL_SETTLED, {"batches": list(batch_ids)})


def announce_settled_on(connection: RawConnection, batch_id: int) -> bool:
    """Do what `announce_settled` does, over a raw connection in a transaction.

    :returns: Whether deliveries were written.
    """
    written = connection.rows(_TELL_SETTLED, {"batches": [batch_id]})
    if written:
        wake_over(connection, {row[0] for row in written})
    return bool(written)


def announce_operation_on(connection: RawConnection, operation_id: UUID) -> bool:
    """Do what `announce_settled_on` does, for all batches of an operation."""
    written = connection.rows(_TELL_OPERATION, {"operation_id": str(operation_id)})
    if written:
        wake_over(connection, {row[0] for row in written})
    return bool(written)


def announce_forecast(session: Session, recipient_id: int, forecast: Mapping[str, Any]) -> None:
    """Write ON_FORECAST_RECEIVED for the recipient's subscriptions.

    :param forecast: The forecast object of the contract.
    """
    subscription_ids = session.scalars(
        select(WebhookSubscription.id)
        .where(
            WebhookSubscription.user_id == recipient_id,
            WebhookSubscription.event == "ON_FORECAST_RECEIVED",
            WebhookSubscription.ended_at.is_(None),
        )
        .order_by(WebhookSubscription.id)
        # FOR KEY SHARE: a subscription cannot end before this is written.
        .with_for_update(read=True, key_share=True)
    ).all()
    if subscription_ids:
        body = orjson.dumps({"sub": forecast["recipient"], "forecast": forecast})
        rows = [{"subscription_id": each, "body": body} for each in subscription_ids]
        session.execute(insert(WebhookDelivery), rows)
        wake_written(session, subscription_ids)


def has_written(session: Session) -> bool:
    """Tell whether deliveries were written in this session."""
    return bool(session.info.get(_WRITTEN))


def wake(session: Session, subscription_ids: Iterable[int]) -> None:
    """Make queues due that sleep or wait for a retry; call it after their deliveries are written.

    Queues that are claimed, due or paused stay as they are, and are not locked. A worker puts a queue
    to sleep only if no open transaction has written deliveries to it
    (`origin.webhooks.queries.delivery_queue.release`).
    """
    values = {"queues": sorted(set(subscription_ids))}
    session.connection().exec_driver_sql(_WAKE_THESE, values)


def _announce_ggos(session: Session, sql: str, values: dict[str, Any]) -> None:
    written = session.connection().exec_driver_sql(sql, values)
    wake_written(session, written.scalars())


def wake_written(session: Session, subscription_ids: Iterable[int]) -> None:
    """Wake the queues to which deliveries were written, and make `has_written` return True."""
    queues = set(subscription_ids)
    if queues:
        wake(session, queues)
        session.info[_WRITTEN] = True


def wake_over(connection: RawConnection, subscription_ids: Iterable[int]) -> None:
    """Do what `wake` does, over a raw connection."""
    connection.rows(_WAKE_THESE, {"queues": sorted(set(subscription_ids))})
