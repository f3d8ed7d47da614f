"""Decides which staged rows can't be adopted, and why: set by set, in SQL.

Each rejected row gets one reason. The view `adoptable_…` of a staging table holds its other rows. The
sets come in an order in which each only depends on those before it.
"""

from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from origin.adoption.queries.tables import (
    BATCHES,
    FORECASTS,
    GGO_INDEXES,
    GGOS,
    POINT_INDEXES,
    POINTS,
    PREFIX,
    REJECTIONS,
    SUBSCRIPTIONS,
    TABLES,
    TARGETS,
    TECHNOLOGIES,
    TRANSACTIONS,
    USERS,
    SourceTable,
)
from origin.forecasts.rules import MAX_VALUES
from origin.keys.derivation import HARDENED
from origin.shared.limits import MAX_TEXT_BYTES, MAX_WH

MAX_REFERENCE_BYTES = 2000
"""Bytes of a forecast's reference, in UTF-8: it is part of an index."""

_FACTS = "adoption_batch_facts"
_REACHED = "adoption_reached"
_FAULTS = "adoption_faults"


def adoptable(table: SourceTable) -> str:
    """Return the name of the view of the rows that are not rejected."""
    return table.staged.replace(PREFIX, "adoptable_")


def create_views(cursor: Cursor) -> None:
    """Create the views of adoptable rows, for this session alone."""
    for table in TABLES:
        cursor.execute(
            f"CREATE OR REPLACE TEMPORARY VIEW {adoptable(table)} AS "
            f"SELECT * FROM {table.staged} AS staged WHERE NOT EXISTS (SELECT FROM {REJECTIONS} AS r "
            f"WHERE r.kind = '{table.kind}' AND r.row_no = staged.row_no)"
        )


def reject_users(cursor: Cursor) -> None:
    """Forget all rejections, and reject users. A user depends on nothing else."""
    cursor.execute(f"DELETE FROM {REJECTIONS}")
    _reject(
        cursor,
        USERS,
        [
            *_text_cases("subject", "subject"),
            ("master_key IS NULL", "'Its master key is not an extended private key (Base58 xprv)'"),
            ("disabled IS NULL", "'It does not say whether it is disabled'"),
            *_time_cases("created", "token_expire", "last_login", optional=True),
        ],
    )
    _reject_repeats(cursor, USERS, ("subject",), "User %s has the same subject")


def reject_others(cursor: Cursor) -> None:
    """Reject rows of all other kinds. Users have been rejected, and all rows are staged."""
    _reject_technologies(cursor)
    _reject_points(cursor)
    _reject_ggos(cursor)
    _reject_transactions(cursor)
    _reject_batches(cursor)
    _reject_stranded(cursor)
    _reject_lineages(cursor)
    _reject_batches_of_rejected(cursor)
    _reject_targets(cursor)
    _reject_forecasts(cursor)
    _reject_subscriptions(cursor)
    for table in (POINT_INDEXES, GGO_INDEXES):
        _reject(
            cursor,
            table,
            [_user_case("user_id"), ('"index" IS NULL OR "index" < -1', "'It has no index'")],
        )


Case = tuple[str, str]
"""A condition, and the SQL expression of the reason if it holds."""


def _reject(cursor: Cursor, table: SourceTable, cases: Sequence[Case], joins: str = "") -> None:
    """Reject the rows of a table for which a case holds; the first case counts."""
    ids = [
        ("staged.id IS NULL", "'It has no id'"),
        (
            "row_number() OVER (PARTITION BY staged.id ORDER BY staged.row_no) > 1",
            "'Its id occurs more than once; the first row counts'",
        ),
    ]
    _insert(cursor, table, table.staged, [*ids, *cases], joins)


def _reject_more(
    cursor: Cursor, table: SourceTable, cases: Sequence[Case], joins: str = ""
) -> None:
    """Reject those adoptable rows of a table for which a case holds."""
    _insert(cursor, table, adoptable(table), cases, joins)


def _insert(
    cursor: Cursor, table: SourceTable, rows: str, cases: Sequence[Case], joins: str
) -> None:
    whens = " ".join(f"WHEN {condition} THEN {reason}" for condition, reason in cases)
    cursor.execute(
        f"INSERT INTO {REJECTIONS} SELECT '{table.kind}', row_no, id, reason FROM ("
        f"SELECT staged.row_no, staged.id, CASE {whens} END AS reason FROM (SELECT * FROM {rows}) AS staged {joins}"
        ") AS judged WHERE reason IS NOT NULL"
    )


def _reject_repeats(cursor: Cursor, table: SourceTable, columns: Sequence[str], words: str) -> None:
    """Reject adoptable rows that repeat another's values in these columns: the lowest id counts.

    :param words: The reason; `%s` stands for the id that counts.
    """
    key = ", ".join(f'"{column}"' for column in columns)
    known = " AND ".join(f'"{column}" IS NOT NULL' for column in columns)
    first = f"first_value(id) OVER (PARTITION BY {key} ORDER BY id)"
    _reject_more(cursor, table, [(f"{known} AND {first} <> id", f"format('{words}', {first})")])


def _text_cases(column: str, words: str, limit: int = MAX_TEXT_BYTES) -> list[Case]:
    return [
        (f"coalesce(\"{column}\", '') = ''", f"'It has no {words}'"),
        (f'octet_length("{column}") > {limit}', f"'Its {words} is longer than {limit} bytes'"),
    ]


def _time_cases(*columns: str, optional: bool = False) -> list[Case]:
    """Cases for times that are missing, infinite, or outside of the years 1 to 9999."""
    between = "BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00'"
    missing = "" if optional else ' OR "{0}" IS NULL'
    return [
        (
            f'"{column}" NOT {between}{missing.format(column)}',
            f"'Its {column} is not a usable time'",
        )
        for column in columns
    ]


def _reference_case(column: str, words: str, table: SourceTable, key: str = "id") -> Case:
    """A case for a reference to a row that doesn't exist, or that was rejected."""
    column, key = f'staged."{column}"', f'"{key}"'
    exists = f"EXISTS (SELECT FROM {table.staged} AS other WHERE other.{key} = {column})"
    return (
        f"NOT EXISTS (SELECT FROM {adoptable(table)} AS other WHERE other.{key} = {column})",
        (
            f"CASE WHEN {column} IS NULL THEN 'It has no {words}' WHEN {exists} "
            f"THEN 'Its {words} was rejected' ELSE format('Its {words} %s does not exist', {column}) END"
        ),
    )


def _user_case(column: str, words: str = "user") -> Case:
    return _reference_case(column, words, USERS)


def _reject_technologies(cursor: Cursor) -> None:
    names = {
        "technology": "label",
        "technology_code": "technology code",
        "fuel_code": "fuel code",
    }
    cases = [case for column, words in names.items() for case in _text_cases(column, words)]
    _reject(cursor, TECHNOLOGIES, cases)
    _reject_repeats(
        cursor, TECHNOLOGIES, ("technology_code", "fuel_code"), "Technology %s has the same codes"
    )


def _reject_points(cursor: Cursor) -> None:
    _reject(
        cursor,
        POINTS,
        [
            _user_case("user_id"),
            *_text_cases("gsrn", "GSRN"),
            *_text_cases("sector", "sector"),
            *_key_index_cases(),
            (
                "lower(type) NOT IN ('production', 'consumption')",
                "'Its type is neither production nor consumption'",
            ),
        ],
    )
    _reject_repeats(cursor, POINTS, ("gsrn",), "Metering point %s has the same GSRN")
    _reject_repeats(
        cursor,
        POINTS,
        ("user_id", "key_index"),
        "Metering point %s of the same user has the same key index",
    )


def _key_index_cases() -> list[Case]:
    return [
        ("key_index IS NULL", "'It has no key index'"),
        (f"key_index NOT BETWEEN 0 AND {HARDENED - 1}", "'Its key index is out of range'"),
    ]


def _reject_ggos(cursor: Cursor) -> None:
    _reject(cursor, GGOS, [*_ggo_facts(), *_ggo_flags(), *_ggo_origin()])
    _reject_repeats(cursor, GGOS, ("address",), "GGO %s has the same address")
    _reject_repeats(
        cursor, GGOS, ("user_id", "key_index"), "GGO %s of the same user has the same key index"
    )


def _ggo_facts() -> list[Case]:
    return [
        _user_case("user_id"),
        *_text_cases("address", "address"),
        ("amount IS NULL", "'It has no amount'"),
        ("amount <= 0", "'Its amount is not above 0 Wh'"),
        (f"amount > {MAX_WH}", "'Its amount is above 2^63 - 1 Wh'"),
        ("amount <> trunc(amount)", "'Its amount is not a whole number of Wh'"),
        *_time_cases("begin", "end", "issue_time", "expire_time"),
        ('"end" <= "begin"', "'Its end is not after its begin'"),
        *_text_cases("sector", "sector"),
        *_text_cases("technology_code", "technology code"),
        *_text_cases("fuel_code", "fuel code"),
        (
            "emissions IS NOT NULL AND jsonb_typeof(emissions) NOT IN ('object', 'null')",
            "'Its emissions are not an object'",
        ),
        (
            (
                "jsonb_typeof(emissions) = 'object' AND EXISTS (SELECT FROM jsonb_each(emissions) AS each "
                "WHERE jsonb_typeof(each.value) NOT IN ('number', 'null'))"
            ),
            "'One of its emissions is not a number'",
        ),
    ]


def _ggo_flags() -> list[Case]:
    flags = ("issued", "stored", "retired", "synchronized", "locked")
    return [
        (" OR ".join(f"{flag} IS NULL" for flag in flags), "'One of its flags is missing'"),
        ("stored AND retired", "'It is both stored and retired'"),
        ("synchronized = locked", "'It is not either synchronized or locked'"),
        (
            "retired <> (retire_gsrn IS NOT NULL) OR retired <> (retire_address IS NOT NULL)",
            "'Its flag retired contradicts its retire GSRN and address'",
        ),
        ("retired AND octet_length(retire_address) > 500", "'Its retire address is too long'"),
    ]


def _ggo_origin() -> list[Case]:
    issue_gsrn = _reference_case("issue_gsrn", "metering point", POINTS, "gsrn")
    retire_gsrn = _reference_case("retire_gsrn", "metering point of the retirement", POINTS, "gsrn")
    # The GSRN of a part is left out: its root has it.
    is_part = "parent_id IS NOT NULL AND key_index IS NOT NULL"
    is_issued = "parent_id IS NULL AND key_index IS NULL AND issue_gsrn IS NOT NULL"
    return [
        (
            f"NOT CASE WHEN issued THEN {is_issued} ELSE {is_part} END",
            "'It is neither clearly issued nor clearly a part of a split'",
        ),
        (
            f"NOT issued AND key_index NOT BETWEEN 0 AND {HARDENED - 1}",
            "'Its key index is out of range'",
        ),
        (f"issued AND {issue_gsrn[0]}", issue_gsrn[1]),
        (f"retired AND {retire_gsrn[0]}", retire_gsrn[1]),
        (
            (
                f"NOT issued AND NOT EXISTS (SELECT FROM {GGOS.staged} AS other "
                "WHERE other.id = staged.parent_id)"
            ),
            "format('Its parent %s does not exist', parent_id)",
        ),
    ]


def _reject_transactions(cursor: Cursor) -> None:
    batch = f"EXISTS (SELECT FROM {BATCHES.staged} AS b WHERE b.id = staged.batch_id)"
    _reject(
        cursor,
        TRANSACTIONS,
        [
            (f"NOT {batch}", "'Its batch does not exist'"),
            ("type IS NULL OR type NOT IN ('split', 'retire')", "'It is neither split nor retire'"),
            ('"order" IS NULL', "'It has no order'"),
            _reference_case("parent_ggo_id", "GGO", GGOS),
        ],
    )
    _reject_repeats(
        cursor,
        TRANSACTIONS,
        ("batch_id", "type", "parent_ggo_id"),
        "Transaction %s is the same operation",
    )


def _reject_batches(cursor: Cursor) -> None:
    """Reject batches that are no compose, or that contradict their GGOs' flags."""
    _collect_batch_facts(cursor)
    states = "('PENDING', 'SUBMITTED', 'DECLINED', 'COMPLETED')"
    live = "state IN ('PENDING', 'SUBMITTED')"
    splits = "NOT source.stored AND NOT source.retired"
    _reject(
        cursor,
        BATCHES,
        [
            _user_case("user_id"),
            (f"state IS NULL OR state NOT IN {states}", "'Its state is unknown'"),
            *_time_cases("created", "submitted", optional=True),
            ("coalesce(total, 0) = 0", "'No transaction tells its GGO'"),
            ("lost > 0", "'One of its transactions was rejected'"),
            ("source.user_id <> staged.user_id", "'Its GGO is not of its user'"),
            ("state = 'DECLINED'", "NULL"),
            (
                "splits > 1 OR (splits = 0 AND total > 1) OR (splits = 1 AND strangers > 0)",
                "'Its transactions are not those of one compose'",
            ),
            (
                f"NOT CASE splits WHEN 1 THEN {splits} ELSE source.retired END",
                "'It contradicts the flags of its GGO'",
            ),
            (f"{live} AND NOT source.locked", "'It is in flight, but its GGO is not locked'"),
            (f"NOT {live} AND source.locked", "'It is completed, but its GGO is locked'"),
            (
                f"{live} AND splits = 1 AND (unlocked_parts > 0 OR retired_parts <> total - 1)",
                "'It contradicts the flags of its parts'",
            ),
        ],
        f"LEFT JOIN {_FACTS} AS facts ON facts.batch_id = staged.id "
        f"LEFT JOIN {GGOS.staged} AS source ON source.row_no = facts.source_row",
    )
    _reject_second_batches(cursor)


def _collect_batch_facts(cursor: Cursor) -> None:
    """Collect, by batch: its source, and counts of its transactions and of the source's parts.

    A repeated transaction counts once. `lost` counts those of which no row is adoptable, `strangers`
    those that retire something else than a retired part; without a split that is the source.
    """
    cursor.execute(f"DROP TABLE IF EXISTS {_FACTS}")
    cursor.execute(f"""
        CREATE TEMPORARY TABLE {_FACTS} AS
        WITH operations AS (
            SELECT t.batch_id, t.type, t.parent_ggo_id, min(t."order") AS place, min(t.id) AS id,
                bool_and(ok.row_no IS NULL) AS is_lost
            FROM {TRANSACTIONS.staged} AS t
            LEFT JOIN {adoptable(TRANSACTIONS)} AS ok USING (row_no)
            GROUP BY t.batch_id, t.type, t.parent_ggo_id
        ), judged AS (
            SELECT *, first_value(parent_ggo_id) OVER (
                PARTITION BY batch_id ORDER BY operations.type = 'split' DESC, place, id
            ) AS source_id FROM operations
        ), facts AS (
            SELECT batch_id, min(source_id) AS source_id, count(*) AS total,
                count(*) FILTER (WHERE judged.type = 'split') AS splits,
                count(*) FILTER (WHERE is_lost) AS lost,
                count(*) FILTER (
                    WHERE judged.type = 'retire'
                    AND (part.parent_id IS DISTINCT FROM source_id OR NOT part.retired)
                ) AS strangers
            FROM judged LEFT JOIN {adoptable(GGOS)} AS part ON part.id = parent_ggo_id
            GROUP BY batch_id
        ), parts AS (
            SELECT parent_id, count(*) FILTER (WHERE NOT locked) AS unlocked_parts,
                count(*) FILTER (WHERE retired) AS retired_parts
            FROM {adoptable(GGOS)} WHERE parent_id IS NOT NULL GROUP BY parent_id
        )
        SELECT facts.*, source.row_no AS source_row, unlocked_parts, retired_parts
        FROM facts
        LEFT JOIN {adoptable(GGOS)} AS source ON source.id = source_id
        LEFT JOIN parts ON parts.parent_id = source_id
    """)
    cursor.execute(f"ANALYZE {_FACTS}")


def _reject_second_batches(cursor: Cursor) -> None:
    """Reject batches that spend a GGO which another one spends, too: the lowest id counts."""
    _reject_more(
        cursor,
        BATCHES,
        [("first IS NOT NULL", "format('Batch %s spends the same GGO', first)")],
        f"""LEFT JOIN (
            SELECT batch_id, min(first) AS first FROM (
                SELECT batch_id, min(batch_id) OVER (PARTITION BY parent_ggo_id) AS first
                FROM {adoptable(TRANSACTIONS)} JOIN {adoptable(BATCHES)} AS b ON b.id = batch_id
                WHERE state <> 'DECLINED'
            ) AS spending WHERE first <> batch_id GROUP BY batch_id
        ) AS other ON other.batch_id = staged.id""",
    )


def _reject_stranded(cursor: Cursor) -> None:
    """Reject GGOs that are locked although no adoptable batch in flight concerns them."""
    live = (
        f"SELECT source_id FROM {_FACTS} JOIN {adoptable(BATCHES)} AS batch ON batch.id = batch_id "
        "WHERE state IN ('PENDING', 'SUBMITTED')"
    )
    _reject_more(
        cursor,
        GGOS,
        [
            (
                f"locked AND id NOT IN ({live}) AND coalesce(parent_id, 0) NOT IN ({live})",
                "'It is locked, but no adoptable batch in flight concerns it'",
            )
        ],
    )


def _reject_lineages(cursor: Cursor) -> None:
    """Reject the parts of rejected GGOs, and then each lineage with a split that doesn't add up."""
    cursor.execute(f"""
        INSERT INTO {REJECTIONS}
        WITH RECURSIVE gone AS (
            SELECT DISTINCT staged.id FROM {GGOS.staged} AS staged
            JOIN {REJECTIONS} AS r ON r.kind = '{GGOS.kind}' AND r.row_no = staged.row_no
            WHERE NOT EXISTS (SELECT FROM {adoptable(GGOS)} AS ok WHERE ok.id = staged.id)
            UNION
            SELECT part.id FROM {GGOS.staged} AS part JOIN gone ON part.parent_id = gone.id
        )
        SELECT '{GGOS.kind}', row_no, ok.id, 'Its parent was rejected'
        FROM {adoptable(GGOS)} AS ok JOIN gone ON gone.id = ok.parent_id
    """)
    _collect_lineages(cursor)
    _collect_faults(cursor)
    _reject_more(
        cursor,
        GGOS,
        [
            ("reached.root_id IS NULL", "'Its lineage is a circle: no GGO in it was issued'"),
            ("own.id IS NOT NULL", "upper(left(own.reason, 1)) || substr(own.reason, 2)"),
            (
                "other.id IS NOT NULL",
                "format('In its lineage, of GGO %s, %s', other.id, other.reason)",
            ),
        ],
        f"LEFT JOIN {_REACHED} AS reached ON reached.id = staged.id "
        f"LEFT JOIN {_FAULTS} AS own ON own.id = staged.id "
        f"LEFT JOIN (SELECT DISTINCT ON (root_id) * FROM {_FAULTS} ORDER BY root_id, id) AS other "
        "ON other.root_id = reached.root_id",
    )


def _collect_lineages(cursor: Cursor) -> None:
    """Collect the root of each adoptable GGO: the issued GGO that it comes from."""
    cursor.execute(f"DROP TABLE IF EXISTS {_REACHED}")
    cursor.execute(f"""
        CREATE TEMPORARY TABLE {_REACHED} AS
        WITH RECURSIVE reached AS (
            SELECT id, id AS root_id FROM {adoptable(GGOS)} WHERE parent_id IS NULL
            UNION ALL
            SELECT part.id, root_id FROM {adoptable(GGOS)} AS part
            JOIN reached ON part.parent_id = reached.id
        )
        SELECT * FROM reached
    """)
    cursor.execute(f"ANALYZE {_REACHED}")


def _collect_faults(cursor: Cursor) -> None:
    """Collect the adoptable GGOs whose amount is not the sum of their adoptable parts."""
    cursor.execute(f"DROP TABLE IF EXISTS {_FAULTS}")
    cursor.execute(f"""
        CREATE TEMPORARY TABLE {_FAULTS} AS
        SELECT ggo.id, root_id, CASE
            WHEN total IS NULL THEN 'the energy is spent, but there are no parts'
            WHEN ggo.stored OR ggo.retired THEN 'there are parts, although it is not split'
            ELSE format('the parts hold %s of %s Wh', total, amount)
        END AS reason
        FROM {adoptable(GGOS)} AS ggo
        LEFT JOIN (
            SELECT parent_id, sum(amount) AS total FROM {adoptable(GGOS)}
            WHERE parent_id IS NOT NULL GROUP BY parent_id
        ) AS parts ON parts.parent_id = ggo.id
        JOIN {_REACHED} AS reached ON reached.id = ggo.id
        WHERE CASE WHEN ggo.stored OR ggo.retired THEN total IS NOT NULL
            ELSE total IS DISTINCT FROM amount END
    """)


def _reject_batches_of_rejected(cursor: Cursor) -> None:
    """Reject batches whose GGO is rejected by now, and then the transactions of rejected batches."""
    lost = f"NOT EXISTS (SELECT FROM {adoptable(GGOS)} AS ggo WHERE ggo.id = source_id)"
    _reject_more(
        cursor,
        BATCHES,
        [(lost, "'Its GGO was rejected'")],
        f"JOIN {_FACTS} AS facts ON facts.batch_id = staged.id",
    )
    _reject_more(cursor, TRANSACTIONS, [_reference_case("batch_id", "batch", BATCHES)])


def _reject_targets(cursor: Cursor) -> None:
    """Reject split targets. Those of a declined batch count as adopted with it: nothing is left of them."""
    transaction = _reference_case("transaction_id", "transaction", TRANSACTIONS)
    _reject(
        cursor,
        TARGETS,
        [
            transaction,
            ("batch.state = 'DECLINED'", "NULL"),
            _reference_case("ggo_id", "GGO", GGOS),
            (
                "split.type <> 'split' OR part.parent_id IS DISTINCT FROM split.parent_ggo_id",
                "'Its GGO is not a part of the GGO that its transaction splits'",
            ),
        ],
        f"LEFT JOIN {adoptable(TRANSACTIONS)} AS split ON split.id = staged.transaction_id "
        f"LEFT JOIN {adoptable(BATCHES)} AS batch ON batch.id = split.batch_id "
        f"LEFT JOIN {adoptable(GGOS)} AS part ON part.id = staged.ggo_id",
    )
    _reject_repeats(cursor, TARGETS, ("ggo_id",), "Split target %s is of the same GGO")


def _reject_forecasts(cursor: Cursor) -> None:
    _reject(
        cursor,
        FORECASTS,
        [
            _user_case("user_id", "sender"),
            _user_case("recipient_id", "recipient"),
            *_text_cases("public_id", "public id"),
            *_text_cases("sector", "sector"),
            ("reference IS NULL", "'It has no reference'"),
            (
                f"octet_length(reference) > {MAX_REFERENCE_BYTES}",
                f"'Its reference is longer than {MAX_REFERENCE_BYTES} bytes'",
            ),
            *_time_cases("begin", "end"),
            *_time_cases("created", optional=True),
            ('"end" <= "begin"', "'Its end is not after its begin'"),
            ("resolution IS NULL OR resolution <= 0", "'Its resolution is not above 0 seconds'"),
            (
                (
                    "coalesce(array_ndims(forecast), 0) <> 1 "
                    f"OR cardinality(forecast) > {MAX_VALUES}"
                ),
                f"'It is not a list of 1 to {MAX_VALUES} amounts'",
            ),
            (
                (
                    "EXISTS (SELECT FROM unnest(forecast) AS wh WHERE wh IS NULL OR wh < 0 "
                    f"OR wh > {MAX_WH} OR wh <> trunc(wh))"
                ),
                "'One of its amounts is not a number of Wh'",
            ),
        ],
    )
    uuid = stable_uuid("public_id")
    first = f"first_value(id) OVER (PARTITION BY {uuid} ORDER BY id)"
    reason = f"format('Forecast %s has the same public id', {first})"
    _reject_more(cursor, FORECASTS, [(f"{first} <> id", reason)])


def stable_uuid(column: str) -> str:
    """Return the SQL of a forecast's public id: the column if it is a UUID, else one derived from it.

    The derived one has the form of a UUID of version 3 and is the same in each adoption.
    """
    derived = (
        f"overlay(overlay(md5('forecast:' || {column}) PLACING '3' FROM 13) PLACING '8' FROM 17)"
    )
    is_uuid = f"{column} ~* '^[0-9a-f]{{8}}(-?[0-9a-f]{{4}}){{3}}-?[0-9a-f]{{12}}$'"
    return f"CASE WHEN {is_uuid} THEN replace({column}, '-', '') ELSE {derived} END::uuid"


def _reject_subscriptions(cursor: Cursor) -> None:
    events = "('ON_GGO_RECEIVED', 'ON_FORECAST_RECEIVED')"
    _reject(
        cursor,
        SUBSCRIPTIONS,
        [
            (f"event IS NULL OR event NOT IN {events}", "'Its event is unknown'"),
            *_text_cases("subject", "subject"),
            ("problem IS NOT NULL", "problem"),
        ],
    )
    _reject_repeats(
        cursor,
        SUBSCRIPTIONS,
        ("subject", "event", "url"),
        "Subscription %s has the same subject, event and URL",
    )
