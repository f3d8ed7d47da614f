"""Counts what an adoption did, and keeps its report and rejections."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from origin.adoption.queries.connections import stream
from origin.adoption.queries.publishing import PUBLISHED
from origin.adoption.queries.rejections import adoptable
from origin.adoption.queries.tables import (
    FORECASTS,
    GGOS,
    REJECTIONS,
    TABLES,
    USERS,
    SourceTable,
)
from origin.adoption.rules import Count, EnergyRow, EnergyState, Kind, Rejection, Report
from origin.shared.json_codec import encode_json


@dataclass(frozen=True)
class PublishedAdoption:
    """An adoption that has been published; `finished_at` is None while work is left."""

    id: int
    published_at: datetime
    finished_at: datetime | None
    report: Report


def usable_wh(column: str) -> str:
    """Return the SQL of an amount as whole Wh; 0 where it is missing or no number to count with."""
    return f"CASE WHEN {column} BETWEEN -1e30 AND 1e30 THEN trunc({column}) ELSE 0 END"


def _state() -> str:
    """Return the SQL of `EnergyState`, for the columns of staged GGOs and of ours alike."""
    state = EnergyState
    return f"""CASE
        WHEN stored IS NULL OR retired IS NULL OR locked IS NULL OR (stored AND retired)
            THEN '{state.UNCLEAR}'
        WHEN NOT stored AND NOT retired THEN '{state.SPLIT}'
        WHEN locked THEN '{state.IN_FLIGHT}'
        WHEN retired THEN '{state.RETIRED}'
        WHEN expire_time <= now() THEN '{state.EXPIRED}'
        ELSE '{state.STORED}'
    END"""


_ENERGY = f"""
WITH source AS (
    SELECT user_id, {_state()} AS state, sum({usable_wh("amount")}) AS wh,
        coalesce(sum({usable_wh("amount")}) FILTER (WHERE r.row_no IS NOT NULL), 0) AS rejected
    FROM {GGOS.staged} AS ggo
    LEFT JOIN {REJECTIONS} AS r ON r.kind = '{GGOS.kind}' AND r.row_no = ggo.row_no
    GROUP BY 1, 2
), adopted AS (
    SELECT owner_id AS user_id, {_state()} AS state, sum(amount) AS wh FROM ggos GROUP BY 1, 2
), named AS (
    SELECT DISTINCT ON (id) id, subject FROM {USERS.staged} ORDER BY id, row_no
)
SELECT user_id, subject, state, coalesce(source.wh, 0), coalesce(adopted.wh, 0),
    coalesce(source.rejected, 0)
FROM source FULL JOIN adopted USING (user_id, state) LEFT JOIN named ON named.id = user_id
ORDER BY user_id NULLS LAST, state
"""

_BATCHES = """
SELECT state || CASE WHEN never_sent THEN ' (never sent to the ledger)' ELSE '' END, count(*)
FROM batches GROUP BY 1 ORDER BY 1
"""

_NOTES = {
    "GGOs never sent to the ledger": "SELECT count(*) FROM ggos WHERE never_sent",
    "Wh in these GGOs (split ones excluded)": (
        "SELECT coalesce(sum(amount), 0) FROM ggos WHERE never_sent AND (stored OR retired)"
    ),
    "GGOs at an address that our keys don't give": "SELECT count(*) FROM ggos WHERE key_mismatch",
    "metering points of unknown type, to be imported from DataHub": (
        "SELECT count(*) FROM adoption_point_types WHERE type IS NULL"
    ),
    "disabled users": "SELECT count(*) FROM users WHERE disabled_at IS NOT NULL",
    "forecasts whose public id was no UUID": (
        f"SELECT count(*) FROM {adoptable(FORECASTS)} AS f JOIN forecasts USING (id) "
        "WHERE replace(lower(f.public_id), '-', '') <> replace(forecasts.public_id::text, '-', '')"
    ),
    "subscriptions kept for a first login": "SELECT count(*) FROM early_subscriptions",
}


def make_report(
    cursor: Cursor, source: str, counts: dict[SourceTable, int], energy_wh: int, *, is_dry: bool
) -> Report:
    """Count what was published. Call it in the transaction that did.

    :param counts: Rows of the source by table.
    :param energy_wh: Wh of all GGOs of the source.
    """
    rejected = dict(_rows(cursor, f"SELECT kind, count(*) FROM {REJECTIONS} GROUP BY kind"))
    energy_rows = [
        EnergyRow(user_id, subject, state, Count(*map(int, wh)))
        for user_id, subject, state, *wh in _rows(cursor, _ENERGY)
    ]
    return Report(
        source=source,
        is_dry=is_dry,
        kinds={
            table.kind.value: Count(
                counts[table], _adopted(cursor, table), rejected.get(table.kind.value, 0)
            )
            for table in sorted(TABLES, key=lambda table: list(Kind).index(table.kind))
        },
        energy=Count(
            energy_wh,
            sum(row.wh.adopted for row in energy_rows),
            sum(row.wh.rejected for row in energy_rows),
        ),
        energy_rows=energy_rows,
        batches=dict(_rows(cursor, _BATCHES)),
        notes={words: int(_rows(cursor, _NOTES[words])[0][0]) for words in sorted(_NOTES)},
    )


def _adopted(cursor: Cursor, table: SourceTable) -> int:
    return int(_rows(cursor, PUBLISHED[table.kind])[0][0])


def _rows(cursor: Cursor, query: str) -> list[tuple[Any, ...]]:
    cursor.execute(query)
    return cursor.fetchall()


def record_publication(cursor: Cursor, report: Report) -> None:
    """Store the report and the rejections."""
    cursor.execute(
        "WITH made AS (INSERT INTO adoptions (report) VALUES (%s) RETURNING id) "
        "INSERT INTO adoption_rejections (adoption_id, kind, source_id, reason) "
        f"SELECT made.id, kind, r.id, reason FROM made, {REJECTIONS} AS r "
        "ORDER BY kind, r.id, row_no",
        (encode_json(report.as_json()).decode(),),
    )


def last_adoption(cursor: Cursor) -> PublishedAdoption | None:
    """Return the adoption that was published; None: there is none."""
    cursor.execute(
        "SELECT id, published_at, finished_at, report::text FROM adoptions ORDER BY id DESC LIMIT 1"
    )
    found = cursor.fetchone()
    if found is None:
        return None
    adoption_id, published_at, finished_at, report = found
    return PublishedAdoption(
        adoption_id, published_at, finished_at, Report.from_json(json.loads(report))
    )


def finish(cursor: Cursor, adoption_id: int) -> None:
    """Mark an adoption as finished."""
    cursor.execute("UPDATE adoptions SET finished_at = now() WHERE id = %s", (adoption_id,))


def kept_rejections(cursor: Cursor, adoption_id: int) -> Iterator[Rejection]:
    """Yield the rejections of a published adoption, by kind and id; one part is in memory at a time."""
    query = (
        "SELECT kind, source_id, reason FROM adoption_rejections WHERE adoption_id = %s ORDER BY id"
    )
    for row in stream(cursor, query, (adoption_id,)):
        yield Rejection(*row)


def new_rejections(cursor: Cursor) -> Iterator[Rejection]:
    """Yield the rejections of the staged rows, as `kept_rejections` does."""
    query = f"SELECT kind, id, reason FROM {REJECTIONS} ORDER BY kind, id, row_no"
    for row in stream(cursor, query):
        yield Rejection(*row)


def subjects_with_early_rows(cursor: Cursor) -> list[str]:
    """Return the users' subjects for which events or subscriptions came before the adoption."""
    cursor.execute("""
        SELECT subject FROM users
        WHERE EXISTS (SELECT FROM kept_events AS event WHERE event.subject = users.subject)
            OR EXISTS (SELECT FROM early_subscriptions AS early WHERE early.subject = users.subject)
        ORDER BY id
    """)
    return [row[0] for row in cursor]
