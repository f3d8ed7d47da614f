"""Writes rows to staging, and reads what Python needs of them."""

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from origin.adoption.queries.connections import stream
from origin.adoption.queries.rejections import adoptable
from origin.adoption.queries.tables import GGOS, MISMATCHES, POINTS, USERS, SourceTable
from origin.adoption.rules import AdoptedAccount


def copy_in(cursor: Cursor, table: SourceTable, text: io.BytesIO) -> int:
    """Append rows in the text format of COPY; return their number."""
    columns = table.columns if table.staged_columns is None else table.staged_columns
    names = ", ".join(f'"{name}"' for name in columns)
    cursor.copy_expert(f"COPY {table.staged} ({names}) FROM STDIN", text)
    return cursor.rowcount


def adoptable_accounts(cursor: Cursor, subjects: Collection[str]) -> dict[str, AdoptedAccount]:
    """Return those of these subjects' users that are adopted, by subject."""
    cursor.execute(
        f"SELECT subject, id, disabled FROM {adoptable(USERS)} WHERE subject = ANY(%s)",
        (list(subjects),),
    )
    return {subject: AdoptedAccount(*account) for subject, *account in cursor}


@dataclass(frozen=True)
class StagedOwner:
    """An adoptable user; the master key is sealed."""

    id: int
    subject: str
    master_key: str


@dataclass(frozen=True)
class StagedGgo:
    """An adoptable GGO, and what its key follows from.

    :ivar key_index: The k of `m/0/k`; None for an issued GGO.
    :ivar point_index: The i of `m/1/i`, if it was issued to a metering point of its owner.
    """

    id: int
    owner_id: int
    address: str
    begin: datetime
    key_index: int | None
    point_index: int | None


def owners_after(cursor: Cursor, user_id: int, limit: int) -> list[StagedOwner]:
    """Return the adoptable users with the next ids after this one."""
    cursor.execute(
        f"SELECT id, subject, master_key FROM {adoptable(USERS)} WHERE id > %s ORDER BY id LIMIT %s",
        (user_id, limit),
    )
    return [StagedOwner(*row) for row in cursor]


def ggos_of(cursor: Cursor, user_ids: Collection[int]) -> Iterator[StagedGgo]:
    """Yield the adoptable GGOs of these users, user by user."""
    query = f"""
        SELECT ggo.id, ggo.user_id, address, begin, ggo.key_index, point.key_index
        FROM {adoptable(GGOS)} AS ggo
        LEFT JOIN {adoptable(POINTS)} AS point
            ON point.gsrn = ggo.issue_gsrn AND point.user_id = ggo.user_id
        WHERE ggo.user_id = ANY(%s) ORDER BY ggo.user_id
    """
    for row in stream(cursor, query, (list(user_ids),)):
        yield StagedGgo(*row)


def count_adoptable_ggos(cursor: Cursor) -> int:
    """Count the adoptable GGOs."""
    cursor.execute(f"SELECT count(*) FROM {adoptable(GGOS)}")
    ((found,),) = cursor.fetchall()
    return int(found)


def add_mismatches(cursor: Cursor, ggo_ids: Collection[int]) -> None:
    """Note GGOs that are at an address which their owner's keys don't give."""
    cursor.execute(f"INSERT INTO {MISMATCHES} SELECT unnest(%s::bigint[])", (list(ggo_ids),))
