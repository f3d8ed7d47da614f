"""Lanes: a subscription's deliveries, taken one after the other by one worker at a time.

Claiming a lane moves its `next_attempt_at` one lease ahead; who works on it renews that, and a dead
worker's lanes come due again. No statement here waits for a lock while it holds one of another lane:
whoever writes events never waits in a circle with us.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, text, update
from sqlalchemy.orm import Session
from sqlalchemy.types import Uuid

from origin.db.models import WebhookDelivery, WebhookSubscription
from origin.webhooks.rules.deliveries import Outcome

_LOOK_AT = 2000
"""Due lanes that one claim looks at, so that its cost has a bound."""
_BUSY_S = 0.2
"""A lane to which somebody is writing just now is looked at again after so long."""

_CLAIM = text(
    """
    WITH due AS (
      SELECT id, host, next_attempt_at FROM webhook_subscriptions
      WHERE next_attempt_at <= now() AND NOT host = ANY(CAST(:full AS text[]))
      ORDER BY next_attempt_at LIMIT :look_at
    ), placed AS (
      SELECT due.*, row_number() OVER (PARTITION BY host ORDER BY next_attempt_at, id) AS place
      FROM due
    ), taken AS (
      SELECT lane.id FROM webhook_subscriptions AS lane
      JOIN placed ON placed.id = lane.id
      LEFT JOIN unnest(CAST(:hosts AS text[]), CAST(:free AS int[])) AS busy (host, free)
        ON busy.host = placed.host
      WHERE placed.place <= coalesce(busy.free, :per_host) AND lane.next_attempt_at <= now()
      ORDER BY placed.next_attempt_at LIMIT :most
      FOR NO KEY UPDATE OF lane SKIP LOCKED
    )
    UPDATE webhook_subscriptions AS lane
    SET next_attempt_at = now() + make_interval(secs => :lease_s), claim = :claim
    FROM taken
    WHERE lane.id = taken.id
    RETURNING lane.id, lane.user_id, lane.event, lane.url, lane.host, lane.secret, lane.failures
    """
).bindparams(bindparam("claim", type_=Uuid()))

_WAITING = text(
    """
    SELECT waiting.* FROM unnest(CAST(:lanes AS bigint[])) AS lane (id)
    CROSS JOIN LATERAL (
      SELECT id, subscription_id, webhook_id, body, attempts, created_at FROM webhook_deliveries
      WHERE subscription_id = lane.id AND next_attempt_at <= now()
      ORDER BY next_attempt_at, id LIMIT :most
    ) AS waiting
    """
).columns(webhook_id=Uuid())

_RECORD = text(
    """
    WITH result AS (
      SELECT * FROM unnest(
        CAST(:ids AS bigint[]), CAST(:states AS text[]), CAST(:statuses AS int[]),
        CAST(:errors AS text[]), CAST(:delays AS float8[])
      ) AS result (id, state, status, error, delay_s)
    ), pending AS (
      SELECT id FROM webhook_deliveries
      WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'PENDING' ORDER BY id FOR UPDATE
    )
    UPDATE webhook_deliveries AS delivery
    SET state = result.state, attempts = attempts + 1, last_attempt_at = now(),
      last_status = result.status, last_error = result.error,
      next_attempt_at = now() + make_interval(secs => result.delay_s),
      ended_at = CASE WHEN result.state <> 'PENDING' THEN now() END
    FROM result, pending
    WHERE pending.id = delivery.id AND result.id = delivery.id
    """
)

_FINISH = text(
    """
    UPDATE webhook_subscriptions AS lane
    SET claim = NULL, failures = ended.failures, next_attempt_at = CASE
        WHEN ended.pause_s IS NOT NULL THEN now() + make_interval(secs => ended.pause_s)
        WHEN lane.id = ANY(CAST(:quiet AS bigint[])) THEN (
          SELECT greatest(min(next_attempt_at), now()) FROM webhook_deliveries
          WHERE subscription_id = lane.id AND next_attempt_at IS NOT NULL
          HAVING count(*) > 0
        )
        ELSE now() + make_interval(secs => :busy_s) END
    FROM unnest(
      CAST(:lanes AS bigint[]), CAST(:failures AS int[]), CAST(:pauses AS float8[])
    ) AS ended (id, failures, pause_s)
    WHERE lane.id = ended.id AND lane.id = ANY(CAST(:locked AS bigint[]))
    """
)


@dataclass(frozen=True)
class Result:
    """What becomes of a delivery; `delay_s` until the next attempt, None where it has ended."""

    outcome: Outcome
    status: int | None
    error: str | None
    delay_s: float | None


@dataclass(frozen=True)
class Standing:
    """How a lane is left: failures in a row, and for how long it pauses because of them, if so."""

    failures: int
    pause_s: float | None = None


def claim(
    session: Session,
    name: UUID,
    *,
    free: Mapping[str, int],
    per_host: int,
    most: int,
    lease_s: float,
) -> Sequence[Row[Any]]:
    """Take lanes that are due, longest due first; two claimers never get the same.

    :param name: Of the claim.
    :param free: How many more lanes each of these hosts may have now; any other: `per_host`.
    :returns: id, user_id, event, url, host, secret (sealed), failures. Commit before working on them.
    """
    return session.execute(
        _CLAIM,
        {
            "full": [host for host, count in free.items() if count <= 0],
            "hosts": list(free),
            "free": list(free.values()),
            "per_host": per_host,
            "most": most,
            "look_at": _LOOK_AT,
            "lease_s": lease_s,
            "claim": name,
        },
    ).all()


def waiting(session: Session, lane_ids: Sequence[int], most: int) -> Sequence[Row[Any]]:
    """The deliveries that are due on these lanes, up to `most` of each, each lane's in its order."""
    return session.execute(_WAITING, {"lanes": list(lane_ids), "most": most}).all()


def renew(session: Session, name: UUID, lane_ids: Sequence[int], lease_s: float) -> set[int]:
    """Hold these lanes for another lease.

    :returns: those that are still held under that name; the others have ended, or are another's.
    """
    lane = WebhookSubscription
    held = (lane.id.in_(lane_ids), lane.claim == name)
    free = (
        select(lane.id)
        .where(*held)
        .order_by(lane.id)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("free")
    )
    session.execute(
        update(lane)
        .where(lane.id == free.c.id)
        .values(next_attempt_at=func.now() + timedelta(seconds=lease_s))
    )
    return set(session.scalars(select(lane.id).where(*held)))


def record(session: Session, results: Mapping[int, Result]) -> None:
    """Note what became of deliveries, by id; what has ended meanwhile stays as it is."""
    ids = sorted(results)
    ordered = [results[each] for each in ids]
    session.execute(
        _RECORD,
        {
            "ids": ids,
            "states": [each.outcome.value for each in ordered],
            "statuses": [each.status for each in ordered],
            "errors": [each.error for each in ordered],
            "delays": [each.delay_s for each in ordered],
        },
    )


def finish(session: Session, name: UUID, lanes: Mapping[int, Standing]) -> set[int]:
    """Give lanes back: due again when the next delivery is, asleep where none waits.

    A lane is put to sleep only while no transaction that has not ended has written to it: a writer
    holds the lane's row by the foreign key, and who comes later sees it asleep, and wakes it.

    :returns: those given back, or lost; the others' rows are locked just now: try again.
    """
    lane = WebhookSubscription
    held = select(lane.id).where(lane.id.in_(lanes), lane.claim == name).order_by(lane.id)
    quiet = set(session.scalars(held.with_for_update(skip_locked=True)))
    locked = set(session.scalars(held.with_for_update(key_share=True, skip_locked=True)))
    ids = sorted(lanes)
    session.execute(
        _FINISH,
        {
            "lanes": ids,
            "failures": [lanes[each].failures for each in ids],
            "pauses": [lanes[each].pause_s for each in ids],
            "quiet": sorted(quiet),
            "locked": sorted(locked),
            "busy_s": _BUSY_S,
        },
    )
    kept = set(session.scalars(select(lane.id).where(lane.id.in_(lanes), lane.claim == name)))
    return lanes.keys() - kept


def end(session: Session, subscription_id: int, reason: str) -> bool:
    """End a subscription: nothing more is delivered, its secret is forgotten.

    :returns: False where it had ended before.
    """
    lane = WebhookSubscription
    # Waits for those who are writing to it.
    session.execute(select(lane.id).where(lane.id == subscription_id).with_for_update())
    ended = session.scalar(
        update(lane)
        .where(lane.id == subscription_id, lane.ended_at.is_(None))
        .values(
            ended_at=func.now(), end_reason=reason, secret=None, next_attempt_at=None, claim=None
        )
        .returning(lane.id)
    )
    if ended is None:
        return False
    _cancel_pending(session, subscription_id)
    return True


def end_all(session: Session, user_id: int, reason: str) -> None:
    """End all of a user's subscriptions, as `end` does."""
    lane = WebhookSubscription
    live = select(lane.id).where(lane.user_id == user_id, lane.ended_at.is_(None))
    for subscription_id in session.scalars(live.order_by(lane.id)).all():
        end(session, subscription_id, reason)


def _cancel_pending(session: Session, subscription_id: int) -> None:
    """Have what waits for this subscription wait no more."""
    delivery = WebhookDelivery
    pending = (
        select(delivery.id)
        .where(delivery.subscription_id == subscription_id, delivery.next_attempt_at.is_not(None))
        # The order in which `record` takes them.
        .order_by(delivery.id)
        .with_for_update()
        .cte("pending")
    )
    session.execute(
        update(delivery)
        .where(delivery.id == pending.c.id)
        .values(state="CANCELLED", next_attempt_at=None, ended_at=func.now())
    )


def give_up(session: Session, subscription_id: int, after: timedelta) -> int:
    """Give up what has waited on a failing lane for longer than this.

    :returns: how many.
    """
    delivery = WebhookDelivery
    old = (
        select(delivery.id)
        .where(
            delivery.subscription_id == subscription_id,
            delivery.next_attempt_at.is_not(None),
            delivery.created_at < func.now() - after,
        )
        .order_by(delivery.id)
        .limit(10_000)
        .with_for_update()
        .cte("old")
    )
    given_up = session.scalars(
        update(delivery)
        .where(delivery.id == old.c.id)
        .values(state="GIVEN_UP", next_attempt_at=None, ended_at=func.now())
        .returning(delivery.id)
    )
    return len(given_up.all())
