"""Events on their way out: written in the transaction that makes them true.

A delivery holds the very bytes that are sent. Ask `has_written` after the commit whether the workers
are to be woken.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import orjson
from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from origin.db.models import Batch, Ggo, Technology, User, WebhookDelivery, WebhookSubscription

Event = Literal["ON_GGO_RECEIVED", "ON_FORECAST_RECEIVED"]

PAUSE_AFTER = 100
"""After so many failures in a row a lane waits for its retry, whatever else happens meanwhile.

Each that fails is tried again every WEBHOOK_RETRY_DELAY where no more than these fail.
"""

_WRITTEN = "deliveries_written"

_WHILE_LIVE: Any = {"read": True, "key_share": True, "of": WebhookSubscription}
"""A subscription can't end between being found and being written to (FOR KEY SHARE)."""

_GGO_COLUMNS = (
    Ggo.address,
    Ggo.sector,
    Ggo.begin,
    Ggo.end,
    Ggo.amount,
    Technology.technology,
    Ggo.technology_code.label("technologyCode"),
    Ggo.fuel_code.label("fuelCode"),
    Ggo.emissions,
    Ggo.issue_gsrn.label("issueGsrn"),
)
"""The GGO object of the contract, in its order."""


def announce_issued(session: Session, addresses: Collection[str]) -> None:
    """Tell the owners of the GGOs at these addresses that they have received them."""
    if addresses:
        _announce_ggos(session, Ggo.address.in_(addresses))


def announce_settled(session: Session, batch_ids: Collection[int]) -> None:
    """Tell who holds what these batches have made, now that the ledger has committed it.

    Transfers' targets and the sender's own remainder; not what was retired.
    """
    sources = select(Batch.ggo_id).where(Batch.id.in_(batch_ids))
    _announce_ggos(session, and_(Ggo.parent_id.in_(sources), Ggo.stored, ~Ggo.locked))


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


def _announce_ggos(session: Session, which: ColumnElement[bool]) -> None:
    rows = session.execute(
        select(WebhookSubscription.id.label("subscription_id"), User.subject, *_GGO_COLUMNS)
        .select_from(Ggo)
        .join(WebhookSubscription, WebhookSubscription.user_id == Ggo.owner_id)
        .join(User, User.id == Ggo.owner_id)
        .outerjoin(
            Technology,
            and_(
                Technology.technology_code == Ggo.technology_code,
                Technology.fuel_code == Ggo.fuel_code,
            ),
        )
        .where(*_live("ON_GGO_RECEIVED"), which)
        .order_by(WebhookSubscription.id, Ggo.id)
        .with_for_update(**_WHILE_LIVE)
    ).all()
    _write(session, [(row.subscription_id, _ggo_body(row)) for row in rows])


def _ggo_body(row: Row[Any]) -> dict[str, Any]:
    ggo = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public API
    del ggo["subscription_id"]
    return {"sub": ggo.pop("subject"), "ggo": ggo}


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
    wake(session, {subscription_id for subscription_id, _ in deliveries})
    session.info[_WRITTEN] = True


def wake(session: Session, subscription_ids: Iterable[int]) -> None:
    """Make lanes due that sleep, or wait for a retry; call it after their deliveries were written.

    One that somebody works on, that is due, or that pauses is left alone: then this takes no lock.
    Whoever puts a lane to sleep has made sure that nobody is about to call this (`origin.db.lanes`).
    """
    lane = WebhookSubscription
    asleep = (
        select(lane.id)
        .where(
            lane.id.in_(set(subscription_ids)),
            lane.ended_at.is_(None),
            or_(
                lane.next_attempt_at.is_(None),
                and_(
                    lane.next_attempt_at > func.now(),
                    lane.claim.is_(None),
                    lane.failures < PAUSE_AFTER,
                ),
            ),
        )
        .order_by(lane.id)
        .with_for_update(key_share=True)
        .cte("asleep")
    )
    session.execute(
        update(lane)
        .where(lane.id == asleep.c.id)
        .values(next_attempt_at=func.now())
        .execution_options(synchronize_session=False)
    )
