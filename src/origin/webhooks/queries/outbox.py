"""Events on their way out: written in the transaction that makes them true.

A delivery holds the very bytes that are sent. Ask `has_written` after the commit whether the workers
are to be woken.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import orjson
from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.orm import Session

from origin.db.models import User, WebhookDelivery, WebhookSubscription
from origin.db.raw_connections import RawConnection
from origin.ggos.queries.ggos import GGO_OBJECT

Event = Literal["ON_GGO_RECEIVED", "ON_FORECAST_RECEIVED"]

PAUSE_AFTER = 100
"""After so many failures in a row a lane waits for its retry, whatever else happens meanwhile.

Each that fails is tried again every WEBHOOK_RETRY_DELAY where no more than these fail.
"""

WAKE = f"""
WITH asleep AS (
    SELECT id FROM webhook_subscriptions
    WHERE {{lanes}} AND ended_at IS NULL AND (
        next_attempt_at IS NULL
        OR next_attempt_at > now() AND claim IS NULL AND failures < {PAUSE_AFTER}
    )
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE webhook_subscriptions SET next_attempt_at = now() FROM asleep
WHERE webhook_subscriptions.id = asleep.id
"""
"""What `wake` does, in the driver's form; a statement by itself, after the deliveries are written.

It must see the lanes as they are under the locks that the writing has taken.
"""
_WAKE_THESE = WAKE.format(lanes="id = ANY(%(lanes)s)")

_WRITTEN = "deliveries_written"

_WHILE_LIVE: Any = {"read": True, "key_share": True, "of": WebhookSubscription}
"""A subscription can't end between being found and being written to (FOR KEY SHARE)."""

# ON_GGO_RECEIVED (contract: peers, Webhook receivers) for each live subscription of each one's owner.
TELL = f"""
INSERT INTO webhook_deliveries (subscription_id, body, webhook_id)
SELECT lane.id, convert_to(
    '{{{{"sub":' || to_json(owner.subject) || ',"ggo":' || row_to_json(ggo) || '}}}}', 'UTF8'
), CAST(md5(lane.id || ':' || page.address) AS uuid)
FROM {{ggos}} AS page
JOIN webhook_subscriptions AS lane ON lane.user_id = page.owner_id
JOIN users AS owner ON owner.id = page.owner_id
CROSS JOIN LATERAL ({GGO_OBJECT}) AS ggo
WHERE lane.event = 'ON_GGO_RECEIVED' AND lane.ended_at IS NULL
ORDER BY lane.id, page.id FOR KEY SHARE OF lane
RETURNING subscription_id
"""
"""`ggos`: a table or subquery of GGOs.

A GGO is received once. So the event's id is told by the GGO and the subscription: should a recovery of
the database write it a second time, receivers know it for the same.
"""

# What the batches have made, but for what was retired.
_TELL_SETTLED = TELL.format(
    ggos="""(
    SELECT * FROM ggos WHERE stored AND NOT locked AND parent_id IN (
        SELECT ggo_id FROM batches WHERE id = ANY(%(batches)s::bigint[])
    ))"""
)
_TELL_ISSUED = TELL.format(ggos="(SELECT * FROM ggos WHERE address = ANY(%(addresses)s::text[]))")


def announce_issued(session: Session, addresses: Collection[str]) -> None:
    """Tell the owners of the GGOs at these addresses that they have received them."""
    if addresses:
        _tell(session, _TELL_ISSUED, {"addresses": list(addresses)})


def announce_settled(session: Session, batch_ids: Collection[int]) -> None:
    """Tell who holds what these batches have made, now that the ledger has committed it.

    Transfers' targets and the sender's own remainder; not what was retired.
    """
    _tell(session, _TELL_SETTLED, {"batches": list(batch_ids)})


def tell_settled(link: RawConnection, batch_id: int) -> bool:
    """Do what `announce_settled` does, in a transaction of the driver's.

    :returns: Whether deliveries were written.
    """
    told = link.rows(_TELL_SETTLED, {"batches": [batch_id]})
    if told:
        link.rows(_WAKE_THESE, {"lanes": sorted({row[0] for row in told})})
    return bool(told)


def _tell(session: Session, sql: str, values: dict[str, Any]) -> None:
    told = session.connection().exec_driver_sql(sql, values)
    _wake_for(session, told.scalars())


def announce_forecast(session: Session, recipient_id: int, forecast: Mapping[str, Any]) -> None:
    """Tell a recipient of a forecast.

    :param forecast: The forecast object of the contract.
    """
    rows = session.execute(
        select(WebhookSubscription.id, User.subject)
        .join(User, User.id == WebhookSubscription.user_id)
        .where(*_live("ON_FORECAST_RECEIVED"), WebhookSubscription.user_id == recipient_id)
        .order_by(WebhookSubscription.id)
        .with_for_update(**_WHILE_LIVE)
    ).all()
    body = {"sub": forecast["recipient"], "forecast": forecast}
    _write(session, [(row.id, body) for row in rows])


def has_written(session: Session) -> bool:
    """Whether deliveries were written in this session."""
    return bool(session.info.get(_WRITTEN))


def _live(event: Event) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (WebhookSubscription.event == event, WebhookSubscription.ended_at.is_(None))


def _write(session: Session, deliveries: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Write deliveries, in this order, and wake the lanes that they wait on."""
    if not deliveries:
        return
    session.execute(
        insert(WebhookDelivery),
        [
            {"subscription_id": subscription_id, "body": orjson.dumps(body)}
            for subscription_id, body in deliveries
        ],
    )
    _wake_for(session, (subscription_id for subscription_id, _ in deliveries))


def _wake_for(session: Session, subscription_ids: Iterable[int]) -> None:
    """Wake the lanes to which deliveries were written."""
    lanes = set(subscription_ids)
    if lanes:
        wake(session, lanes)
        session.info[_WRITTEN] = True


def wake(session: Session, subscription_ids: Iterable[int]) -> None:
    """Make lanes due that sleep, or wait for a retry; call it after their deliveries were written.

    One that somebody works on, that is due, or that pauses is left alone: then this takes no lock.
    Whoever puts a lane to sleep has made sure that nobody is about to call this (`origin.webhooks.queries.delivery_queue`).
    """
    lanes = {"lanes": sorted(set(subscription_ids))}
    session.connection().exec_driver_sql(_WAKE_THESE, lanes)
