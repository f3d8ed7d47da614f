"""SQL of signing: what unsigned batches consist of, the sealed keys, and the signed bytes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.models import MeteringPoint, User

# By batch the source, then the parts in the contract's order.
_UNSIGNED = """
WITH unsigned AS MATERIALIZED (
    SELECT id, user_id, ggo_id FROM batches
    WHERE id = ANY(%(ids)s) AND signed_batch IS NULL AND ended_at IS NULL
        AND (adopted_at IS NOT NULL) = %(adopted)s
), sources AS (
    SELECT unsigned.id AS batch_id, user_id, -1 AS place, ggos.*
    FROM unsigned JOIN ggos ON ggos.id = ggo_id
), parts AS (
    SELECT unsigned.id AS batch_id, user_id, split_position AS place, ggos.*
    FROM unsigned JOIN ggos ON ggos.parent_id = ggo_id
)
SELECT batch_id, user_id, owner_id, address, amount, begin, issue_gsrn, key_index, retire_gsrn
FROM (SELECT * FROM sources UNION ALL SELECT * FROM parts) AS ggos
ORDER BY batch_id, place
"""

_STORE = text(
    "WITH signed AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:ledger_ids AS text[]), "
    "CAST(:payloads AS bytea[])) AS t (id, ledger_id, payload)), "
    "missing AS (SELECT signed.* FROM batches JOIN signed ON signed.id = batches.id "
    "WHERE signed_batch IS NULL AND ended_at IS NULL ORDER BY batches.id FOR UPDATE OF batches) "
    "UPDATE batches SET signed_batch = missing.payload, ledger_batch_id = missing.ledger_id "
    "FROM missing WHERE missing.id = batches.id"
)


class UnsignedGgo(NamedTuple):
    """The source or a part of an unsigned batch, in the order of the query's columns.

    :ivar user_id: The user who composed the batch.
    :ivar amount: Wh.
    """

    batch_id: int
    user_id: int
    owner_id: int
    address: str
    amount: int
    begin: datetime
    issue_gsrn: str | None
    key_index: int | None
    retire_gsrn: str | None


def unsigned_ggos(
    database: Database, batch_ids: Sequence[int], *, adopted: bool
) -> list[UnsignedGgo]:
    """Return sources and parts of those of these batches that are under way and not signed.

    By batch id; of each batch the source first, then its parts in their order.

    :param adopted: Only batches that were adopted; else only those that were composed here.
    """
    rows = database.prepared(_UNSIGNED, {"ids": list(batch_ids), "adopted": adopted})
    return [UnsignedGgo(*row) for row in rows]


def store_signed(session: Session, signed: Mapping[int, tuple[str, bytes]]) -> None:
    """Store signed batches: ledger batch id and bytes by batch id. The first to store wins.

    A batch that has ended meanwhile is left as it is.
    """
    ids = sorted(signed)
    session.execute(
        _STORE,
        {
            "ids": ids,
            "ledger_ids": [signed[each][0] for each in ids],
            "payloads": [signed[each][1] for each in ids],
        },
    )


def sealed_master_keys(session: Session, user_ids: Collection[int]) -> Sequence[Row[Any]]:
    """Return id, subject and master_key (sealed) of these users."""
    columns: tuple[Any, ...] = (User.id, User.subject, User.master_key)
    return session.execute(select(*columns).where(User.id.in_(user_ids))).all()


def metering_points_of(
    session: Session, user_ids: Collection[int], gsrns: Collection[str]
) -> Sequence[Row[Any]]:
    """Return gsrn, user_id and key_index of those of these metering points that are the users'."""
    columns: tuple[Any, ...] = (MeteringPoint.gsrn, MeteringPoint.user_id, MeteringPoint.key_index)
    query = select(*columns).where(
        MeteringPoint.gsrn.in_(gsrns), MeteringPoint.user_id.in_(user_ids)
    )
    return session.execute(query).all()
