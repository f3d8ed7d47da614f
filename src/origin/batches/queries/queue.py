"""The queue of batches: its rows are claimed with a lease, fairly among users.

A claim moves `next_attempt_at` one lease ahead. That time is also the holder's token: a worker that
returns after its lease has ended, when another has claimed the row, does not change the schedule.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, func, or_, select, text
from sqlalchemy.orm import Session

from origin.batches.queries.stuck import is_stuck
from origin.db.models import Batch

Leases = Mapping[int, datetime]
"""Ends of leases by batch id: each is the row's `next_attempt_at` while the lease is held."""

_CANDIDATES_PER_BATCH = 8
"""More candidates than the limit are ranked, as other claimers may hold some of them."""

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
    """Claim up to `limit` due batches: first each user's longest due, then each user's second.

    So a user with one batch does not wait for another's ten thousand. Two claimers never get the
    same batch.

    :returns: the leases by ascending batch id. Commit before working on the batches.
    """
    claimed = session.execute(
        _CLAIM,
        {
            "limit": limit,
            "candidates": limit * _CANDIDATES_PER_BATCH,
            "lease": timedelta(seconds=lease_s),
        },
    )
    return dict(sorted((row.id, row.next_attempt_at) for row in claimed))


def give_back(session: Session, leases: Leases, delays_s: Mapping[int, float]) -> None:
    """Make each batch due again after so many seconds, if its lease is still ours."""
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
    """Count one more POST of each batch. Commit before sending, so that a crash cannot hide a POST.

    :param known: The POSTs by batch id, as they were when the batch was loaded.
    :returns: the batches that nobody has posted or ended since. Do not post the others.
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
    """The result of a counted POST.

    :ivar outcome: For the batch's history, as `reason`.
    :ivar accepted: The ledger took it.
    :ivar refused: The ledger refused it for good; `reason` has the ledger's words.
    :ivar unarrived: It certainly did not reach the ledger's queue.
    :ivar answered: It is certainly not on its way any more.
    :ivar delay_s: Seconds until the batch is due again.
    """

    batch_id: int
    outcome: str
    reason: str
    accepted: bool
    refused: bool
    unarrived: bool
    answered: bool
    delay_s: float


@dataclass(frozen=True)
class LiveBatch:
    """A batch under way.

    :ivar ggo_id: The source.
    :ivar posts: How many POSTs were begun here.
    :ivar attempts: Claims since the batch last made progress.
    :ivar is_stuck: See `origin.batches.queries.stuck`.
    """

    id: int
    ggo_id: int
    posts: int
    attempts: int
    is_stuck: bool


@dataclass(frozen=True)
class AdoptedBatch(LiveBatch):
    """A batch under way that was adopted from the original service, and is not signed here.

    :ivar original_batch_id: The ledger's id of the batch that the original posted; None: the
        original knew of no POST, but one may have arrived.
    """

    original_batch_id: str | None


@dataclass(frozen=True)
class ClaimedBatch(LiveBatch):
    """A signed batch under way, as a worker needs it.

    :ivar refused_posts: Of the POSTs, those that were refused for good.
    :ivar unarrived_posts: Of the POSTs, those that certainly did not reach the ledger's queue.
    :ivar none_on_its_way: No POST may reach the ledger any more.
    :ivar original_batch_id: As of `AdoptedBatch`, if the batch was adopted and signed anew.
    """

    ledger_batch_id: str
    signed_batch: bytes
    refused_posts: int
    unarrived_posts: int
    none_on_its_way: bool
    original_batch_id: str | None

    @property
    def is_refused_throughout(self) -> bool:
        """Whether each POST that may have arrived was refused for good, and there was one."""
        arrived = self.posts - self.unarrived_posts
        return arrived > 0 and arrived == self.refused_posts


def load_claimed(
    session: Session, batch_ids: Collection[int], *, held_up_s: float, resubmit_after_s: float
) -> tuple[list[ClaimedBatch], list[AdoptedBatch]]:
    """Return those of these batches that are under way, by id: the signed, and the adopted unsigned.

    :param held_up_s: How long a POST without an answer may be on its way.
    :param resubmit_after_s: BATCH_RESUBMIT_AFTER.
    """
    held_up = func.now() - timedelta(seconds=held_up_s)
    live: tuple[Any, ...] = (
        Batch.id,
        Batch.ggo_id,
        Batch.posts,
        Batch.attempts,
        is_stuck(resubmit_after_s).label("is_stuck"),
    )
    signed: tuple[Any, ...] = (
        Batch.ledger_batch_id,
        Batch.signed_batch,
        Batch.refused_posts,
        Batch.unarrived_posts,
        and_(
            or_(Batch.answered_posts >= Batch.posts, Batch.last_post_at < held_up),
            # The original service may have posted its own batch until then.
            or_(Batch.adopted_at.is_(None), Batch.adopted_at < held_up),
        ),
    )
    rows = session.execute(
        select(*live, *signed, Batch.original_batch_id)
        .where(
            Batch.id.in_(batch_ids),
            Batch.ended_at.is_(None),
            or_(Batch.signed_batch.is_not(None), Batch.adopted_at.is_not(None)),
        )
        .order_by(Batch.id)
    ).all()
    claimed = [ClaimedBatch(*row) for row in rows if row.signed_batch is not None]
    adopted = [(*row[: len(live)], row[-1]) for row in rows if row.signed_batch is None]
    return claimed, [AdoptedBatch(*row) for row in adopted]


def find_unsigned_adopted(
    session: Session, batch_id: int, *, lock: bool = False
) -> Row[Any] | None:
    """Return ggo_id and original_batch_id of a batch that is adopted, under way and not signed here.

    :returns: None: it is not such a batch.
    """
    columns: tuple[Any, ...] = (Batch.ggo_id, Batch.original_batch_id)
    query = select(*columns).where(
        Batch.id == batch_id,
        Batch.ended_at.is_(None),
        Batch.adopted_at.is_not(None),
        Batch.signed_batch.is_(None),
    )
    return session.execute(query.with_for_update() if lock else query).one_or_none()


def lock_unless_posted(session: Session, batch: LiveBatch, also: int | None = None) -> bool:
    """Lock a batch; return whether nobody has posted it since it was loaded.

    If another POST has begun, the ledger may take it: a refusal of the earlier ones says nothing.

    :param also: Another batch to lock, in the order of ids.
    """
    ids = [batch.id] if also is None else [also, batch.id]
    rows = session.execute(
        select(Batch.id, Batch.posts).where(Batch.id.in_(ids)).order_by(Batch.id).with_for_update()
    )
    return (batch.id, batch.posts) in [tuple(row) for row in rows]


_STORE_RESULTS = text(
    """
    WITH results AS (
        SELECT * FROM unnest(
            CAST(:ids AS bigint[]), CAST(:leases AS timestamptz[]), CAST(:accepted AS boolean[]),
            CAST(:refused AS boolean[]), CAST(:unarrived AS boolean[]),
            CAST(:answered AS boolean[]), CAST(:reasons AS text[]), CAST(:delays AS float8[])
        ) AS t (id, lease, accepted, refused, unarrived, answered, reason, delay_s)
    ), live AS (
        SELECT results.* FROM batches JOIN results ON results.id = batches.id
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
    """Store the results of POSTs; a schedule changes only if the lease is still ours."""
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
    add_events(
        session, [(each.batch_id, f"posted: {each.outcome}", each.reason) for each in results]
    )


def add_events(session: Session, events: Sequence[tuple[int, str, str]]) -> None:
    """Add to the batches' histories: (batch id, event, detail)."""
    if not events:
        return
    ids, names, details = zip(*events, strict=True)
    session.execute(
        _STORE_EVENTS, {"ids": list(ids), "events": list(names), "details": list(details)}
    )
