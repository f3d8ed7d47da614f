"""One GGO with its status and its lineage (contract: v2, Operations)."""

from origin.db.engine import Database
from origin.ggos.queries.expiry import expired
from origin.ggos.queries.ggos import GGO_OBJECT

STATUS = f"""CASE
    WHEN spent_elsewhere THEN 'blocked'
    WHEN locked THEN 'locked'
    WHEN retired THEN 'retired'
    WHEN NOT stored THEN 'split'
    WHEN {expired("statement_timestamp()")} THEN 'expired'
    WHEN key_mismatch OR (never_sent AND %(ledger_enabled)s) THEN 'blocked'
    ELSE 'active'
END"""
"""A GGO's status, from its columns: this is the one place that has the rule."""

_IS_ON_ITS_WAY = """sender_id <> owner_id AND EXISTS (
    SELECT FROM batches WHERE batches.ggo_id = ggos.parent_id AND batches.ended_at IS NULL
)"""
"""Whether it is a part of another's GGO, and the ledger has not committed the split."""

_GGO = f"""
WITH RECURSIVE page AS MATERIALIZED (
    SELECT *, {STATUS} AS status FROM ggos
    WHERE address = %(address)s AND owner_id = %(owner_id)s AND NOT ({_IS_ON_ITS_WAY})
),
lineage AS (
    SELECT id, parent_id, address, 0 AS depth FROM page
    UNION ALL
    SELECT ggos.id, ggos.parent_id, ggos.address, depth + 1
    FROM lineage JOIN ggos ON ggos.id = lineage.parent_id
),
children AS (
    SELECT json_agg(
        CASE WHEN ggos.owner_id = page.owner_id
            THEN json_build_object('amount', ggos.amount, 'address', ggos.address)
            ELSE json_build_object('amount', ggos.amount)
        END ORDER BY ggos.split_position
    ) AS found
    FROM ggos JOIN page ON ggos.parent_id = page.id
)
SELECT row_to_json(shown)::text
FROM page
CROSS JOIN LATERAL ({GGO_OBJECT}) AS ggo
CROSS JOIN LATERAL (
    SELECT ggo.*, page.status, page.expire_time AS "expireTime", page.created_at AS "createdAt",
        json_build_object(
            'parent', (SELECT address FROM lineage WHERE depth = 1),
            'root', (SELECT address FROM lineage WHERE parent_id IS NULL),
            'children', coalesce((SELECT found FROM children), '[]')
        ) AS lineage,
        (
            SELECT batches.operation_id FROM transactions JOIN batches ON batches.id = batch_id
            WHERE transactions.ggo_id = page.id
        ) AS operation,
        json_build_object('self', '/v2/ggos/' || page.address) AS links
) AS shown
"""


def find(database: Database, owner_id: int, address: str, *, ledger_enabled: bool) -> str | None:
    """Return a GGO that is or was this account's, as JSON; None if there is none at this address.

    What is on its way to the account is not its GGO yet.

    :param ledger_enabled: LEDGER_ENABLED.
    """
    values = {"owner_id": owner_id, "address": address, "ledger_enabled": ledger_enabled}
    rows = database.prepared(_GGO, values)
    return rows[0][0] if rows else None
