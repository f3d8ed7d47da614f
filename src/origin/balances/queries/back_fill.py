"""SQL that fills in the times of GGOs, and the rollbacks, that versions before migration 0016 left out.

Such versions may still write during a rolling update.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from origin.balances.queries.facts import retired_at, settled_at, spent_at

WITHOUT_TIMES = (
    "NOT locked AND ((parent_id IS NOT NULL AND settled_at IS NULL) "
    "OR (NOT stored AND spent_at IS NULL) OR (retired AND retired_at IS NULL))"
)
"""The condition of the index `ix_ggos_without_times`."""

_LOCK = text(
    f"SELECT id FROM ggos WHERE {WITHOUT_TIMES} AND id > :beyond "
    "ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
# Their sources are locked, so that the index doesn't have them.
_LOCK_IN_FLIGHT = text("""
SELECT ggos.id FROM batches JOIN ggos ON ggos.id = ggo_id
WHERE ended_at IS NULL AND (
    (parent_id IS NOT NULL AND settled_at IS NULL) OR (NOT stored AND spent_at IS NULL)
)
ORDER BY ggos.id FOR UPDATE OF ggos SKIP LOCKED
""")
_FILL = text(f"""
UPDATE ggos AS ggo SET settled_at = {settled_at("ggo")}, spent_at = {spent_at("ggo")},
    retired_at = {retired_at("ggo")}
WHERE id = ANY(:ids)
""")

_LACKS_ROLLBACK = (
    "NOT EXISTS (SELECT FROM rollbacks WHERE batch_id = batch.id AND redone_at IS NULL)"
)
_LOCK_DECLINED = text(f"""
SELECT id, ggo_id FROM batches AS batch WHERE state = 'DECLINED' AND undone IS NOT NULL
    AND {_LACKS_ROLLBACK}
ORDER BY ended_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")
# Asks again, after the locks: another worker may have added the rollback since.
_ADD_ROLLBACKS = text(f"""
INSERT INTO rollbacks (batch_id, user_id, ggo_id, accepted_at, declined_at, undone, blocked)
SELECT batch.id, batch.user_id, batch.ggo_id,
    coalesce((SELECT max(redone_at) FROM rollbacks WHERE batch_id = batch.id), batch.created_at),
    batch.ended_at, batch.undone, ggos.spent_elsewhere AND batch.id = (
        SELECT max(other.id) FROM batches AS other
        WHERE other.ggo_id = batch.ggo_id AND other.state = 'DECLINED'
    )
FROM batches AS batch JOIN ggos ON ggos.id = batch.ggo_id
WHERE batch.id = ANY(:ids) AND {_LACKS_ROLLBACK}
""")
# A version that knows no times has left the time of the order that it rolled back.
_SPEND_ANEW = text(f"""
UPDATE ggos AS ggo SET spent_at = NULL WHERE id = ANY(:ids) AND (
    {spent_at("ggo")} IS NULL OR spent_at <= (
        SELECT max(ended_at) FROM batches WHERE ggo_id = ggo.id AND state = 'DECLINED'
    )
)
""")

# Its parts, if it has some, were made when it was done again.
_END_ROLLBACKS = text("""
WITH redone AS (
    SELECT rollbacks.id, rollbacks.ggo_id, coalesce(
        (SELECT min(part.created_at) FROM ggos AS part WHERE part.parent_id = rollbacks.ggo_id),
        batch.ended_at, now()
    ) AS at
    FROM rollbacks JOIN batches AS batch ON batch.id = batch_id
    WHERE redone_at IS NULL AND batch.state <> 'DECLINED'
    FOR UPDATE OF rollbacks, batch SKIP LOCKED
),
ended AS (
    UPDATE rollbacks SET redone_at = at, unblocked_at = CASE WHEN blocked THEN at END
    FROM redone WHERE rollbacks.id = redone.id
)
UPDATE ggos SET spent_at = at FROM redone WHERE ggos.id = redone.ggo_id
""")


def fill_in_flight(session: Session) -> int:
    """Fill in the times of GGOs that orders in flight spend; return of how many."""
    return _fill(session, list(session.scalars(_LOCK_IN_FLIGHT)))


def fill_times(session: Session, beyond: int, limit: int) -> list[int]:
    """Fill in the times of the next GGOs above an id; return their ids.

    GGOs that another transaction works on are left for later.
    """
    ids = list(session.scalars(_LOCK, {"beyond": beyond, "limit": limit}))
    _fill(session, ids)
    return ids


def _fill(session: Session, ids: list[int]) -> int:
    if ids:
        # A statement of its own, after the locks: so it sees the batches that fit the GGOs.
        session.execute(_FILL, {"ids": ids})
    return len(ids)


def end_rollbacks(session: Session) -> None:
    """Note which declined batches were done again since."""
    session.execute(_END_ROLLBACKS)


def add_rollbacks(session: Session, limit: int) -> int:
    """Add the rollbacks of some declined batches that have none, and return of how many."""
    found = session.execute(_LOCK_DECLINED, {"limit": limit}).all()
    if found:
        session.execute(_ADD_ROLLBACKS, {"ids": [row.id for row in found]})
        session.execute(_SPEND_ANEW, {"ids": [row.ggo_id for row in found]})
    return len(found)
