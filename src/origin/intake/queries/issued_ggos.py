"""Insert issued GGOs, and the deliveries that tell subscribers of them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from origin.db.models import Ggo
from origin.db.raw_connections import RawConnection, Row, Values
from origin.intake.queries.owners import MeteringPointRef, Owner
from origin.shared.json_codec import encode_json
from origin.webhooks.queries.outbox import TELL, WAKE, wake_written

IssuedRow = dict[str, Any]
"""An issued GGO by the names of the table's columns; amount in Wh, emissions in g/Wh."""


def _insert_statement(limit: str) -> str:
    # One metering point per statement keeps the plan short: two index look-ups. The WHERE clause
    # compares owner and point, which may come from a cache, with what is stored now.
    return f"""
WITH issued AS (
    INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
        emissions, issue_time, expire_time, issue_gsrn, key_mismatch, stored, created_at)
    SELECT owner.id, ggo.address, ggo.amount, ggo.begin, ggo."end", ggo.sector,
        ggo.technology_code, ggo.fuel_code, ggo.emissions, ggo.issue_time, ggo.expire_time,
        point.gsrn, ggo.key_mismatch, true, entry_time()
    FROM users AS owner
    JOIN metering_points AS point ON point.user_id = owner.id
    CROSS JOIN (
        SELECT * FROM json_to_recordset(%(ggos)s::json) AS ggo (
            address text, amount bigint, begin timestamptz, "end" timestamptz, sector text,
            technology_code text, fuel_code text, emissions jsonb, issue_time timestamptz,
            expire_time timestamptz, key_mismatch boolean
        )
        LIMIT {limit}
    ) AS ggo
    WHERE owner.id = %(owner_id)s AND owner.subject = %(subject)s
        AND owner.master_key = %(master_key)s
        AND point.gsrn = %(gsrn)s AND point.key_index = %(key_index)s
    ORDER BY ggo.address
    ON CONFLICT (address) DO NOTHING
    RETURNING *
), queued AS (
    {TELL.format(ggos="issued")}
)
SELECT address, (SELECT array_agg(DISTINCT subscription_id) FROM queued) FROM issued
"""


_INSERT = _insert_statement(limit="ALL")
# Without this limit PostgreSQL expects 100 GGOs, and plans to read the table of users through.
_INSERT_ONE = _insert_statement(limit="1")

IDENTITY = (
    "owner_id",
    "issue_gsrn",
    "amount",
    "begin",
    "end",
    "sector",
    "technology_code",
    "fuel_code",
    "emissions",
    "issue_time",
    "expire_time",
)
"""Columns that must be equal for two issues at one address to be the same GGO."""


_WAKE_OWNER = WAKE.format(queues="user_id = %(owner_id)s AND event = 'ON_GGO_RECEIVED'")
_COLUMNS = ", ".join(f'"{name}"' for name in IDENTITY)
_STORED = f"""
SELECT EXISTS (
    SELECT FROM webhook_subscriptions
    WHERE user_id = %(owner_id)s AND event = 'ON_GGO_RECEIVED' AND ended_at IS NULL
), {_COLUMNS}
FROM ggos WHERE address = %(address)s
"""


def insert_alone(
    connection: RawConnection, owner: Owner, point: MeteringPointRef, row: IssuedRow
) -> tuple[IssuedRow | None, bool]:
    """Insert one GGO unless its address is taken, and queue its deliveries, in one round trip.

    The three statements are one transaction, prepared for speed.

    :returns: The columns of `IDENTITY` as they are stored at the address now, and whether the owner has
        subscribers. Nothing is stored if owner or point are stored otherwise than given.
    """
    of_owner = {"owner_id": owner.id}
    found = connection.execute_together(
        (_INSERT_ONE, _values(owner, point, [row])),
        (_WAKE_OWNER, of_owner),
        (_STORED, {**of_owner, "address": row["address"]}),
    )
    if not found:
        return None, False
    has_subscribers, *stored = found[0]
    return dict(zip(IDENTITY, stored, strict=True)), has_subscribers


def insert(
    session: Session,
    owner: Owner,
    issued: Iterable[tuple[MeteringPointRef, Sequence[IssuedRow]]],
) -> set[str]:
    """Insert GGOs by the owner's metering points, and queue deliveries.

    Subscriptions are woken last: their locks must not be held while another writer's GGO is waited
    for.

    :returns: The addresses that were inserted. The others were taken, or owner or point are stored
        otherwise than given.
    """

    def run(sql: str, values: Values) -> Sequence[Row]:
        return [tuple(row) for row in session.connection().exec_driver_sql(sql, dict(values))]

    added: set[str] = set()
    to_wake: set[int] = set()
    for point, rows in issued:
        inserted = run(_INSERT, _values(owner, point, rows))
        added |= {row[0] for row in inserted}
        to_wake |= set(inserted[0][1] or ()) if inserted else set()
    wake_written(session, to_wake)
    return added


def rows_at(session: Session, addresses: Collection[str]) -> dict[str, IssuedRow]:
    """Return the stored columns of `IDENTITY` by address."""
    if not addresses:
        return {}
    columns = [getattr(Ggo, name) for name in ("address", *IDENTITY)]
    found = session.execute(select(*columns).where(Ggo.address.in_(addresses)))
    return {row["address"]: dict(row) for row in found.mappings()}


def _values(owner: Owner, point: MeteringPointRef, rows: Sequence[IssuedRow]) -> Values:
    """Return the values of `_insert_statement`."""
    return {
        "ggos": encode_json(rows).decode(),
        "owner_id": owner.id,
        "subject": owner.subject,
        "master_key": owner.sealed_master_key,
        "gsrn": point.gsrn,
        "key_index": point.key_index,
    }
