"""Batches as queue entries: claimed fairly among users, and given back by their holder alone.

A claim moves `next_attempt_at` one lease ahead; that very time is the holder's token. Whoever
comes back after the lease, when another has claimed the row, changes its schedule no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, text
from sqlalchemy.orm import Session

from origin.db.models import Batch

Leases = Mapping[int, datetime]
"""The end of the lease by batch id: what the row's `next_attempt_at` is while it is held."""

_SPARE = 8
"""So many times the limit are candidates, for those that other claimers hold at this moment."""

_CLAIM = text(
    """
    WITH ranked AS (
        SELECT id, next_attempt_at,
            row_number() OVER (PARTITION BY user_id ORDER BY next_attempt_at, id) AS turn
        FROM batches WHERE next_attempt_at <= now()
    ), candidates AS (
        SELECT id, turn FROM ranked ORDER BY turn, next_attempt_at LIMIT :candidates
    ), due AS (
        SELECT batches.id FROM candidates JOIN batches ON batches.id = candidates.id
        WHERE batches.next_attempt_at <= now()
        ORDER BY candidates.turn, batches.next_attempt_at
        LIMIT :limit
        FOR UPDATE OF batches SKIP LOCKED
    )
    UPDATE batches
    SET next_attempt_at = now() + :lease, attempts = batches.attempts + 1
    FROM due WHERE batches.id = due.id
    RETURNING batches.id, batches.next_attempt_at
    """
)


def claim_due(session: Session, *, limit: int, lease_s: float) -> dict[int, datetime]:
    """Take up to `limit` due batches: every user's longest due first, then everyone's next.

    A user with one batch is not behind another's ten thousand. Two claimers never get the same.

    :returns: the leases, by ascending id. Commit before working on them.
    """
    claimed = session.execute(
        _CLAIM,
        {"limit": limit, "candidates": limit * _SPARE, "lease": timedelta(seconds=lease_s)},
    )
    return dict(sorted((row.id, row.next_attempt_at) for row in claimed))


def give_back(session: Session, leases: Leases, delays_s: Mapping[int, float]) -> None:
    """Make each batch due again after so many seconds, where the lease is still ours."""
    if not delays_s:
        return
    ids = sorted(delays_s)
    session.execute(
        text(
            "WITH later AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), "
            "CAST(:leases AS timestamptz[]), CAST(:delays AS float8[])) AS t (id, lease, delay_s)"
            "), held AS (SELECT batches.id, delay_s FROM batches JOIN later "
            "ON later.id = batches.id AND later.lease = batches.next_attempt_at "
            "ORDER BY batches.id FOR UPDATE OF batches) "
            "UPDATE batches SET next_attempt_at = now() + make_interval(secs => held.delay_s) "
            "FROM held WHERE batches.id = held.id"
        ),
        {
            "ids": ids,
            "leases": [leases[each] for each in ids],
            "delays": [delays_s[each] for each in ids],
        },
    )


def count_posts(session: Session, known: Mapping[int, int]) -> set[int]:
    """Count one more POST of each batch, before it is sent: a crash in between can't hide it.

    :param known: How many POSTs there were, by batch id, when it was looked at.
    :returns: those that nobody has posted or ended meanwhile; the others aren't to be posted.
    """
    ids = sorted(known)
    counted = session.scalars(
        text(
            "WITH known AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:posts AS int[])) "
            "AS t (id, posts)), live AS (SELECT batches.id FROM batches JOIN known "
            "ON known.id = batches.id AND known.posts = batches.posts "
            "WHERE ended_at IS NULL ORDER BY batches.id FOR UPDATE OF batches) "
            "UPDATE batches SET posts = batches.posts + 1, last_post_at = clock_timestamp() "
            "FROM live WHERE batches.id = live.id "
            "RETURNING batches.id"
        ),
        {"ids": ids, "posts": [known[each] for each in ids]},
    )
    return set(counted)


@dataclass(frozen=True)
class PostResult:
    """What a counted POST came to.

    :param accepted: The ledger took it.
    :param refused: The ledger refused it for good; `reason` has its words.
    :param unarrived: It surely never reached the ledger's queue.
    :param answered: It is surely not on its way any more.
    :param delay_s: Seconds until the batch is due again.
    """

    batch_id: int
    outcome: str
    reason: str
    accepted: bool
    refused: bool
    unarrived: bool
    answered: bool
    delay_s: float


def none_on_its_way(held_up_s: float) -> ColumnElement[bool]:
    """Whether no POST of a batch may reach the ledger any more.

    :param held_up_s: How long a POST without an answer may be on its way.
    """
    held_up = timedelta(seconds=held_up_s)
    return or_(Batch.answered_posts >= Batch.posts, Batch.last_post_at < func.now() - held_up)


_STORE_RESULTS = text(
    """
    WITH told AS (
        SELECT * FROM unnest(
            CAST(:ids AS bigint[]), CAST(:leases AS timestamptz[]), CAST(:accepted AS boolean[]),
            CAST(:refused AS boolean[]), CAST(:unarrived AS boolean[]),
            CAST(:answered AS boolean[]), CAST(:reasons AS text[]), CAST(:delays AS float8[])
        ) AS t (id, lease, accepted, refused, unarrived, answered, reason, delay_s)
    ), live AS (
        SELECT told.* FROM batches JOIN told ON told.id = batches.id
        WHERE batches.ended_at IS NULL ORDER BY batches.id FOR UPDATE OF batches
    )
    UPDATE batches SET
        state = CASE WHEN live.accepted THEN 'SUBMITTED' ELSE batches.state END,
        submitted_at = CASE WHEN live.accepted THEN coalesce(batches.submitted_at, now())
            ELSE batches.submitted_at END,
        attempts = CASE WHEN live.accepted THEN 0 ELSE batches.attempts END,
        refused_posts = batches.refused_posts + CAST(live.refused AS int),
        unarrived_posts = batches.unarrived_posts + CAST(live.unarrived AS int),
        answered_posts = batches.answered_posts + CAST(live.answered AS int),
        last_error = CASE WHEN live.refused THEN live.reason ELSE batches.last_error END,
        next_attempt_at = CASE WHEN batches.next_attempt_at = live.lease
            THEN now() + make_interval(secs => live.delay_s) ELSE batches.next_attempt_at END
    FROM live WHERE batches.id = live.id
    """
)

_STORE_EVENTS = text(
    "INSERT INTO batch_events (batch_id, event, detail) SELECT * FROM unnest("
    "CAST(:ids AS bigint[]), CAST(:events AS text[]), CAST(:details AS text[]))"
)


def store_results(session: Session, leases: Leases, results: Sequence[PostResult]) -> None:
    """Write down what POSTs came to; a schedule changes only where the lease is still ours."""
    session.execute(
        _STORE_RESULTS,
        {
            "ids": [each.batch_id for each in results],
            "leases": [leases[each.batch_id] for each in results],
            "accepted": [each.accepted for each in results],
            "refused": [each.refused for each in results],
            "unarrived": [each.unarrived for each in results],
            "answered": [each.answered for each in results],
            "reasons": [each.reason for each in results],
            "delays": [each.delay_s for each in results],
        },
    )
    note(session, [(each.batch_id, f"posted: {each.outcome}", each.reason) for each in results])


def note(session: Session, events: Sequence[tuple[int, str, str]]) -> None:
    """Add to the batches' histories: (batch id, event, detail)."""
    if not events:
        return
    ids, names, details = zip(*events, strict=True)
    session.execute(
        _STORE_EVENTS, {"ids": list(ids), "events": list(names), "details": list(details)}
    )
