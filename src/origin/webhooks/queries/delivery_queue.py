"""Delivery queues: a subscription's deliveries, sent in order by one worker at a time.

Claiming a queue moves the subscription's `next_attempt_at` one lease ahead. Its holder renews the
lease; the queues of a dead worker come due again. A queue without deliveries sleeps
(`next_attempt_at` is NULL) until a writer wakes it (`origin.webhooks.queries.outbox`).

No statement here waits for a lock while it holds the lock of another subscription. So workers and
writers of events never deadlock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, text, update
from sqlalchemy.orm import Session
from sqlalchemy.types import Uuid

from origin.db.leases import lease_end
from origin.db.models import WebhookDelivery, WebhookSubscription
from origin.webhooks.rules.deliveries import Outcome

_EXAMINED = 2000
"""Due queues that one claim examines at most: this bounds its cost."""
_RETRY_RELEASE_S = 0.2
"""A queue that a writer holds when it is released comes due again after this time."""
_MAX_GIVEN_UP = 10_000

_CLAIM = text(
    """
    WITH due AS (
      SELECT id, host, next_attempt_at FROM webhook_subscriptions
      WHERE next_attempt_at <= now() AND NOT host = ANY(CAST(:full AS text[]))
      ORDER BY next_attempt_at LIMIT :examined
    ), placed AS (
      SELECT due.*, row_number() OVER (PARTITION BY host ORDER BY next_attempt_at, id) AS place
      FROM due
    ), taken AS (
      SELECT queue.id FROM webhook_subscriptions AS queue
      JOIN placed ON placed.id = queue.id
      LEFT JOIN unnest(CAST(:hosts AS text[]), CAST(:free AS int[])) AS busy (host, free)
        ON busy.host = placed.host
      WHERE placed.place <= coalesce(busy.free, :per_host) AND queue.next_attempt_at <= now()
      ORDER BY placed.next_attempt_at LIMIT :limit
      FOR NO KEY UPDATE OF queue SKIP LOCKED
    )
    UPDATE webhook_subscriptions AS queue
    SET next_attempt_at = now() + make_interval(secs => :lease_s), claim = :claim
    FROM taken
    WHERE queue.id = taken.id
    RETURNING queue.id, queue.user_id, queue.event, queue.url, queue.host, queue.secret,
      queue.failures
    """
).bindparams(bindparam("claim", type_=Uuid()))

_DUE_DELIVERIES = text(
    """
    SELECT delivery.* FROM unnest(CAST(:queues AS bigint[])) AS queue (id)
    CROSS JOIN LATERAL (
      SELECT id, subscription_id, webhook_id, body, attempts, created_at FROM webhook_deliveries
      WHERE subscription_id = queue.id AND next_attempt_at <= now()
      ORDER BY next_attempt_at, id LIMIT :limit
    ) AS delivery
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

_RELEASE = text(
    """
    UPDATE webhook_subscriptions AS queue
    SET claim = NULL, failures = released.failures, next_attempt_at = CASE
        WHEN released.pause_s IS NOT NULL THEN now() + make_interval(secs => released.pause_s)
        WHEN queue.id = ANY(CAST(:unwritten AS bigint[])) THEN (
          SELECT greatest(min(next_attempt_at), now()) FROM webhook_deliveries
          WHERE subscription_id = queue.id AND next_attempt_at IS NOT NULL
          HAVING count(*) > 0
        )
        ELSE now() + make_interval(secs => :retry_s) END
    FROM unnest(
      CAST(:queues AS bigint[]), CAST(:failures AS int[]), CAST(:pauses AS float8[])
    ) AS released (id, failures, pause_s)
    WHERE queue.id = released.id AND queue.id = ANY(CAST(:locked AS bigint[]))
    """
)


@dataclass(frozen=True)
class AttemptResult:
    """The result of an attempt to deliver.

    :ivar delay_s: Seconds until the next attempt; None if there is none.
    """

    outcome: Outcome
    status: int | None
    error: str | None
    delay_s: float | None


@dataclass(frozen=True)
class Release:
    """How a queue is released: its failures in a row, and how long it pauses because of them."""

    failures: int
    pause_s: float | None = None


def claim(
    session: Session,
    claim_id: UUID,
    *,
    free: Mapping[str, int],
    per_host: int,
    limit: int,
    lease_s: float,
) -> Sequence[Row[Any]]:
    """Claim due queues, longest due first; two claimers never get the same one.

    :param free: How many more queues each of these hosts may have in flight now. `per_host` holds
        for all other hosts.
    :returns: id, user_id, event, url, host, secret (sealed), failures. Commit before using them.
    """
    return session.execute(
        _CLAIM,
        {
            "full": [host for host, count in free.items() if count <= 0],
            "hosts": list(free),
            "free": list(free.values()),
            "per_host": per_host,
            "limit": limit,
            "examined": _EXAMINED,
            "lease_s": lease_s,
            "claim": claim_id,
        },
    ).all()


def due_deliveries(
    session: Session, subscription_ids: Sequence[int], limit: int
) -> Sequence[Row[Any]]:
    """Return the due deliveries of these queues, at most `limit` of each, in each queue's order."""
    values = {"queues": list(subscription_ids), "limit": limit}
    return session.execute(_DUE_DELIVERIES, values).all()


def renew(
    session: Session, claim_id: UUID, subscription_ids: Sequence[int], lease_s: float
) -> set[int]:
    """Renew the leases on these queues.

    :returns: The queues that this claim still holds. The others' subscriptions have ended, or
        another claim holds them.
    """
    queue = WebhookSubscription
    held = (queue.id.in_(subscription_ids), queue.claim == claim_id)
    unlocked = (
        select(queue.id)
        .where(*held)
        .order_by(queue.id)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("unlocked")
    )
    session.execute(
        update(queue).where(queue.id == unlocked.c.id).values(next_attempt_at=lease_end(lease_s))
    )
    return set(session.scalars(select(queue.id).where(*held)))


def record(session: Session, results: Mapping[int, AttemptResult]) -> None:
    """Store the results of attempts by delivery id; deliveries that ended meanwhile stay as they are."""
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


def release(session: Session, claim_id: UUID, queues: Mapping[int, Release]) -> set[int]:
    """Release queues by subscription id: due when their next delivery is, asleep without any.

    A queue falls asleep only while no open transaction has written to it. Every writer holds the
    subscription's row by the foreign key (FOR KEY SHARE); a later writer sees the queue asleep, and
    wakes it.

    :returns: The queues that are released or lost. The others' rows are locked now: try again.
    """
    queue = WebhookSubscription
    held = select(queue.id).where(queue.id.in_(queues), queue.claim == claim_id).order_by(queue.id)
    # FOR UPDATE skips rows that a writer holds; FOR NO KEY UPDATE takes them.
    unwritten = set(session.scalars(held.with_for_update(skip_locked=True)))
    locked = set(session.scalars(held.with_for_update(key_share=True, skip_locked=True)))
    ids = sorted(queues)
    session.execute(
        _RELEASE,
        {
            "queues": ids,
            "failures": [queues[each].failures for each in ids],
            "pauses": [queues[each].pause_s for each in ids],
            "unwritten": sorted(unwritten),
            "locked": sorted(locked),
            "retry_s": _RETRY_RELEASE_S,
        },
    )
    kept = set(
        session.scalars(select(queue.id).where(queue.id.in_(queues), queue.claim == claim_id))
    )
    return queues.keys() - kept


def give_up(session: Session, subscription_id: int, created_before: datetime) -> int:
    """Give up pending deliveries of events before this time.

    :returns: How many: at most 10,000, the rest follows with the next call.
    """
    delivery = WebhookDelivery
    old = (
        select(delivery.id)
        .where(
            delivery.subscription_id == subscription_id,
            delivery.next_attempt_at.is_not(None),
            delivery.created_at < created_before,
        )
        .order_by(delivery.id)
        .limit(_MAX_GIVEN_UP)
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
