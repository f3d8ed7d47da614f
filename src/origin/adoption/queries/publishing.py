"""Publishes the adoptable rows: inserts them into the service's tables, in the caller's transaction.

Rows keep the source's ids.
"""

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from origin.adoption.queries.rejections import adoptable, stable_uuid
from origin.adoption.queries.tables import (
    BATCHES,
    FORECASTS,
    GGO_INDEXES,
    GGOS,
    MISMATCHES,
    POINT_INDEXES,
    POINTS,
    SUBSCRIPTIONS,
    TARGETS,
    TECHNOLOGIES,
    TRANSACTIONS,
    USERS,
    SourceTable,
)
from origin.adoption.rules import CannotAdopt, Kind
from origin.keys.derivation import HARDENED
from origin.webhooks.rules.subscriptions import EARLY_KEPT_FOR

_EARLY_KEPT = f"interval '{EARLY_KEPT_FOR.days} days'"
_NUMBERED = (
    "users",
    "metering_points",
    "ggos",
    "batches",
    "transactions",
    "forecasts",
    "webhook_subscriptions",
)
_DECLINED = "It was declined before it was adopted from the original service"


def check_empty(cursor: Cursor) -> None:
    """Check that this service's database holds no users and no GGOs.

    :raises CannotAdopt: it does.
    """
    cursor.execute("SELECT EXISTS (SELECT FROM users), EXISTS (SELECT FROM ggos)")
    if cursor.fetchone() != (False, False):
        raise CannotAdopt(
            "This service's database holds users or GGOs already: adopt into an empty one"
        )


def lock_target(cursor: Cursor) -> None:
    """Keep others from adding accounts, early events and subscriptions until the transaction ends."""
    cursor.execute("LOCK TABLE users, kept_events, early_subscriptions IN SHARE ROW EXCLUSIVE MODE")


def never_sent_batches() -> str:
    """Return the SQL of the staged batches that were completed without the ledger.

    Rejected batches count as well: their GGOs were not sent, either.
    """
    return f"SELECT id FROM {BATCHES.staged} WHERE state = 'COMPLETED' AND coalesce(btrim(handle), '') = ''"


_MARK_NEVER_SENT = f"""
CREATE TEMPORARY TABLE adoption_never_sent ON COMMIT DROP AS
WITH spent AS (
    SELECT DISTINCT parent_ggo_id AS id FROM {TRANSACTIONS.staged}
    WHERE batch_id IN ({never_sent_batches()})
)
SELECT id FROM spent
UNION SELECT ggo.id FROM {adoptable(GGOS)} AS ggo JOIN spent ON ggo.parent_id = spent.id
"""


def _next_index(sequence: SourceTable, used: SourceTable) -> str:
    """Return the SQL of a user's next key index: above all that was given out or is used.

    Rejected rows count as well: an index is never used again.
    """
    return f"""least({HARDENED}, 1 + greatest(
        -1,
        (SELECT max("index") FROM {sequence.staged} AS s WHERE s.user_id = staged.id),
        (SELECT max(key_index) FROM {used.staged} AS u WHERE u.user_id = staged.id)
    ))"""


# Entries and balances begin at the adoption, with what the accounts have then.
_USERS = f"""
INSERT INTO users (id, subject, master_key, access_token, refresh_token, token_expires_at,
    created_at, last_login_at, disabled_at, history_from, next_metering_point_index,
    next_trade_index)
OVERRIDING SYSTEM VALUE
SELECT id, subject, master_key, access_token, refresh_token,
    CASE WHEN NOT disabled THEN token_expire END, coalesce(created, last_login, now()), last_login,
    CASE WHEN disabled THEN now() END, entry_time(),
    {_next_index(POINT_INDEXES, POINTS)}, {_next_index(GGO_INDEXES, GGOS)}
FROM {adoptable(USERS)} AS staged
"""

_TECHNOLOGIES = f"""
INSERT INTO technologies (technology_code, fuel_code, technology)
SELECT technology_code, fuel_code, technology FROM {adoptable(TECHNOLOGIES)}
ON CONFLICT DO NOTHING
"""

# A type that is missing shows from the GGOs. Where it doesn't, DataHub corrects it.
_POINT_TYPES = f"""
CREATE TEMPORARY TABLE adoption_point_types ON COMMIT DROP AS
SELECT id, lower(point.type) AS type FROM {adoptable(POINTS)} AS point WHERE point.type IS NOT NULL
UNION ALL
SELECT id, CASE
    WHEN EXISTS (SELECT FROM {GGOS.staged} AS ggo WHERE ggo.issue_gsrn = point.gsrn)
        THEN 'production'
    WHEN EXISTS (SELECT FROM {GGOS.staged} AS ggo WHERE ggo.retire_gsrn = point.gsrn)
        THEN 'consumption'
END FROM {adoptable(POINTS)} AS point WHERE point.type IS NULL
"""
_POINTS = f"""
INSERT INTO metering_points (id, user_id, gsrn, type, sector, key_index, key_sent_at)
OVERRIDING SYSTEM VALUE
SELECT id, user_id, gsrn, coalesce(types.type, 'consumption'), sector, key_index, now()
FROM {adoptable(POINTS)} AS point JOIN adoption_point_types AS types USING (id)
"""
_IMPORT_JOBS = """
INSERT INTO datahub_jobs (user_id, kind)
SELECT DISTINCT users.id, 'import_metering_points' FROM adoption_point_types AS types
JOIN metering_points AS point USING (id) JOIN users ON users.id = point.user_id
WHERE types.type IS NULL AND users.disabled_at IS NULL
"""

_GGOS = f"""
INSERT INTO ggos (id, owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
    emissions, issue_time, expire_time, issue_gsrn, key_mismatch, parent_id, split_position,
    sender_id, reference, key_index, stored, retired, locked, never_sent, retire_gsrn,
    retire_address)
OVERRIDING SYSTEM VALUE
SELECT ggo.id, ggo.user_id, ggo.address, ggo.amount, ggo.begin, ggo."end", ggo.sector,
    ggo.technology_code, ggo.fuel_code, jsonb_strip_nulls(nullif(ggo.emissions, 'null')),
    ggo.issue_time, ggo.expire_time, CASE WHEN ggo.issued THEN ggo.issue_gsrn END, mismatch.ggo_id IS NOT NULL, ggo.parent_id,
    CASE WHEN ggo.parent_id IS NOT NULL THEN
        row_number() OVER (PARTITION BY ggo.parent_id ORDER BY target.id NULLS LAST, ggo.id) - 1
    END,
    parent.user_id, target.reference, ggo.key_index, ggo.stored, ggo.retired, ggo.locked,
    unsent.id IS NOT NULL, ggo.retire_gsrn, ggo.retire_address
FROM {adoptable(GGOS)} AS ggo
LEFT JOIN {adoptable(GGOS)} AS parent ON parent.id = ggo.parent_id
LEFT JOIN {adoptable(TARGETS)} AS target ON target.ggo_id = ggo.id
LEFT JOIN {MISMATCHES} AS mismatch ON mismatch.ggo_id = ggo.id
LEFT JOIN adoption_never_sent AS unsent ON unsent.id = ggo.id
ORDER BY ggo.id
"""

# `adoption_batch_facts` names each batch's source: see `origin.adoption.queries.rejections`.
_BATCHES = f"""
INSERT INTO batches (id, user_id, ggo_id, state, next_attempt_at, last_error, never_sent,
    original_batch_id, adopted_at, created_at, submitted_at, ended_at)
OVERRIDING SYSTEM VALUE
SELECT id, user_id, facts.source_id, state, CASE WHEN NOT has_ended THEN now() END,
    CASE WHEN state = 'DECLINED' THEN '{_DECLINED}' END,
    state = 'COMPLETED' AND coalesce(btrim(handle), '') = '',
    substring(handle FROM '(?:[?&]id=|^)([0-9A-Za-z]+)(?:[&#]|$)'), now(),
    coalesce(created, submitted, now()), submitted,
    CASE WHEN has_ended THEN coalesce(submitted, created, now()) END
FROM {adoptable(BATCHES)} AS batch
JOIN adoption_batch_facts AS facts ON facts.batch_id = batch.id
CROSS JOIN LATERAL (SELECT state IN ('DECLINED', 'COMPLETED') AS has_ended) AS _
"""

_TRANSACTIONS = f"""
INSERT INTO transactions (id, batch_id, position, type, ggo_id)
OVERRIDING SYSTEM VALUE
SELECT t.id, batch_id, row_number() OVER (PARTITION BY batch_id ORDER BY "order", t.id) - 1,
    t.type, parent_ggo_id
FROM {adoptable(TRANSACTIONS)} AS t JOIN {adoptable(BATCHES)} AS batch ON batch.id = batch_id
WHERE batch.state <> 'DECLINED'
"""

_FORECASTS = f"""
INSERT INTO forecasts (id, public_id, sender_id, recipient_id, sector, reference, begin, "end",
    resolution, amounts, created_at)
OVERRIDING SYSTEM VALUE
SELECT id, {stable_uuid("public_id")}, user_id, recipient_id, sector, reference, begin, "end",
    CASE
        WHEN resolution % 86400 = 0 THEN format('P%sD', resolution / 86400)
        WHEN resolution % 3600 = 0 THEN format('PT%sH', resolution / 3600)
        WHEN resolution % 60 = 0 THEN format('PT%sM', resolution / 60)
        ELSE format('PT%sS', resolution)
    END,
    forecast::bigint[], coalesce(created, now())
FROM {adoptable(FORECASTS)}
"""

# A subscription that was made here meanwhile is newer: it stays, and the first login or the end of
# the adoption makes it live.
_NEWER = f"""EXISTS (
    SELECT FROM early_subscriptions AS early
    WHERE early.subject = staged.subject AND early.event = staged.event AND early.url = staged.url
        AND early.subscribed_at >= now() - {_EARLY_KEPT}
)"""
_LIVE_SUBSCRIPTIONS = f"""
INSERT INTO webhook_subscriptions (id, user_id, event, url, host, secret, ended_at, end_reason)
OVERRIDING SYSTEM VALUE
SELECT staged.id, users.id, event, url, host, staged.secret,
    CASE WHEN disabled_at IS NOT NULL THEN now() END,
    CASE WHEN disabled_at IS NOT NULL THEN 'the account is disabled' END
FROM {adoptable(SUBSCRIPTIONS)} AS staged JOIN users USING (subject)
WHERE disabled_at IS NOT NULL OR NOT {_NEWER}
"""
_EARLY_SUBSCRIPTIONS = f"""
WITH outdated AS (
    DELETE FROM early_subscriptions WHERE subscribed_at < now() - {_EARLY_KEPT}
)
INSERT INTO early_subscriptions (subject, event, url, host, secret)
SELECT subject, event, url, host, secret FROM {adoptable(SUBSCRIPTIONS)} AS staged
WHERE NOT EXISTS (SELECT FROM users WHERE users.subject = staged.subject) AND NOT {_NEWER}
"""


def publish(cursor: Cursor) -> None:
    """Insert all adoptable rows. The transaction holds `lock_target`."""
    for statement in (
        _MARK_NEVER_SENT,
        _USERS,
        _TECHNOLOGIES,
        _POINT_TYPES,
        _POINTS,
        _IMPORT_JOBS,
        _GGOS,
        _BATCHES,
        _TRANSACTIONS,
        _FORECASTS,
        _LIVE_SUBSCRIPTIONS,
        _EARLY_SUBSCRIPTIONS,
    ):
        cursor.execute(statement)


def advance_identities(cursor: Cursor) -> None:
    """Let new rows get ids above the adopted ones. This is not undone by a rollback."""
    for table in _NUMBERED:
        cursor.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), greatest(max(id), 1)) "
            f"FROM {table} HAVING max(id) IS NOT NULL"
        )


def analyze(cursor: Cursor) -> None:
    """Let the planner know the new rows, so that the first requests are as fast as later ones."""
    for table in _NUMBERED:
        cursor.execute(f"ANALYZE {table}")


def _given_out(sequence: SourceTable, column: str) -> str:
    """Return the SQL that counts the key indexes of a sequence which users will not get again."""
    return (
        f"SELECT count(*) FROM {adoptable(sequence)} AS s JOIN users ON users.id = s.user_id "
        f'AND {column} > least("index", {HARDENED - 1})'
    )


PUBLISHED = {
    Kind.TECHNOLOGY: (
        f"SELECT count(*) FROM {adoptable(TECHNOLOGIES)} "
        "JOIN technologies USING (technology_code, fuel_code)"
    ),
    Kind.USER: "SELECT count(*) FROM users",
    Kind.METERING_POINT: "SELECT count(*) FROM metering_points",
    Kind.METERING_POINT_INDEX: _given_out(POINT_INDEXES, "next_metering_point_index"),
    Kind.GGO_INDEX: _given_out(GGO_INDEXES, "next_trade_index"),
    Kind.GGO: "SELECT count(*) FROM ggos",
    Kind.BATCH: "SELECT count(*) FROM batches",
    Kind.TRANSACTION: (
        f"SELECT count(*) FROM {adoptable(TRANSACTIONS)} AS t JOIN batches ON batches.id = batch_id "
        "WHERE batches.state = 'DECLINED' OR EXISTS (SELECT FROM transactions AS made "
        "WHERE made.id = t.id AND made.batch_id = t.batch_id AND made.ggo_id = t.parent_ggo_id)"
    ),
    Kind.SPLIT_TARGET: (
        f"SELECT count(*) FROM {adoptable(TARGETS)} AS target "
        f"JOIN {adoptable(TRANSACTIONS)} AS t ON t.id = transaction_id "
        "JOIN batches ON batches.id = batch_id LEFT JOIN ggos ON ggos.id = target.ggo_id "
        "AND ggos.parent_id = t.parent_ggo_id "
        "AND ggos.reference IS NOT DISTINCT FROM target.reference "
        "WHERE batches.state = 'DECLINED' OR ggos.id IS NOT NULL"
    ),
    Kind.FORECAST: "SELECT count(*) FROM forecasts",
    Kind.SUBSCRIPTION: (
        f"SELECT count(*) FROM {adoptable(SUBSCRIPTIONS)} AS s WHERE EXISTS (SELECT "
        "FROM webhook_subscriptions AS made JOIN users ON users.id = made.user_id "
        "WHERE users.subject = s.subject AND made.event = s.event AND made.url = s.url) "
        "OR EXISTS (SELECT FROM early_subscriptions AS early WHERE early.subject = s.subject "
        "AND early.event = s.event AND early.url = s.url)"
    ),
}
"""How many rows of a kind are in the service's tables, in whatever form, as it is counted there."""
