"""Make the operations of batches that have none: a version before migration 0016 wrote them."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from origin.db.ids import uuid7_of
from origin.operations.queries.parts import PARTS

_LOCK = text(
    "SELECT id FROM batches WHERE operation_id IS NULL ORDER BY id LIMIT :limit "
    "FOR UPDATE SKIP LOCKED"
)

# A statement of its own, after the locks: so it sees the parts that fit the batches' states. A compose
# has its remainder after its transfers. A part that stays with the sender may also be a transfer to
# oneself: it is one if it has a reference, or is all that the compose made.
_MAKE = text(f"""
WITH batch AS MATERIALIZED (
    SELECT batches.*, {uuid7_of("created_at")} AS new_id FROM batches WHERE id = ANY(:ids)
),
described AS (
    SELECT batch.id, batch.new_id, batch.user_id, batch.created_at, effects.moved,
        CASE WHEN effects.moved IS NOT NULL THEN json_strip_nulls(json_build_object(
            'address', source.address, 'transfers', coalesce(transfers, '[]'),
            'retires', coalesce(retires, '[]')
        )) END AS request
    FROM batch JOIN ggos AS source ON source.id = batch.ggo_id
    CROSS JOIN LATERAL (
        SELECT sum(amount) FILTER (WHERE NOT is_remainder) AS moved,
            json_agg(
                json_build_object('amount', amount, 'account', subject, 'reference', reference)
                ORDER BY split_position
            ) FILTER (WHERE retire_gsrn IS NULL AND NOT is_remainder) AS transfers,
            json_agg(json_build_object('amount', amount, 'gsrn', retire_gsrn) ORDER BY split_position)
                FILTER (WHERE retire_gsrn IS NOT NULL) AS retires
        FROM (
            SELECT *, retire_gsrn IS NULL AND owner_id = batch.user_id AND reference IS NULL
                AND count(*) OVER () > 1
                AND split_position = max(split_position) FILTER (
                    WHERE retire_gsrn IS NULL AND owner_id = batch.user_id
                ) OVER () AS is_remainder
            FROM ({PARTS}) AS made
        ) AS part JOIN users ON users.id = part.owner_id
    ) AS effects
),
operation AS (
    INSERT INTO operations (id, user_id, kind, origin, created_at, accepted_at, request, requested)
    SELECT new_id, user_id, 'compose', 'legacy', created_at, created_at, request, moved
    FROM described
)
UPDATE batches SET operation_id = new_id, sequence = 0, moved = described.moved
FROM described WHERE batches.id = described.id
""")


def make_operations(session: Session, limit: int) -> int:
    """Make the operations of some batches that have none, and return of how many.

    Batches that another transaction works on are left for later.
    """
    ids = session.scalars(_LOCK, {"limit": limit}).all()
    if ids:
        session.execute(_MAKE, {"ids": list(ids)})
    return len(ids)
