"""Copies an original database into staging, in ranges of ids, so that a killed run can go on."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from origin.adoption.queries import staged_rows
from origin.adoption.queries.connections import transaction
from origin.adoption.queries.source import IdRange, Source
from origin.adoption.queries.tables import (
    USERS,
    Progress,
    SourceTable,
    progress_of,
    save_progress,
)
from origin.adoption.service.sealing import sealed_subscriptions, sealed_users
from origin.keys.sealing import Sealer

ROWS_AT_ONCE = 20_000
SEALED_AT_ONCE = 2_000

ShowProgress = Callable[[str, int, int], None]
"""Is told what is being done, how many are done, and how many there are."""


@dataclass(frozen=True)
class Staging:
    """Copies the tables of a source into staging."""

    source: Source
    target: DriverConnection
    sealer: Sealer
    show_progress: ShowProgress

    def copy_table(self, table: SourceTable, total: int) -> None:
        """Copy what is left of a table; each range is one transaction with its progress.

        :param total: How many rows the source has, to show the progress.
        """
        with transaction(self.target) as cursor:
            progress = progress_of(cursor, table.name)
        if progress is None:
            progress = self._copy_range(
                table, IdRange(None, None), Progress(None, 0, is_done=False)
            )
        while not progress.is_done:
            limit = SEALED_AT_ONCE if table.is_sealed else ROWS_AT_ONCE
            rows = self.source.next_range(table, progress.cursor, limit)
            if rows is None:
                progress = Progress(progress.cursor, progress.rows, is_done=True)
                with transaction(self.target) as cursor:
                    save_progress(cursor, table.name, progress)
            else:
                progress = self._copy_range(table, rows, progress)
            self.show_progress(f"Reading {table.name}", progress.rows, total)

    def _copy_range(self, table: SourceTable, rows: IdRange, before: Progress) -> Progress:
        with transaction(self.target) as cursor:
            if table.is_sealed:
                text = _copy_text(self._sealed(cursor, table, rows))
            else:
                text = self.source.copy(table, rows)
            added = staged_rows.copy_in(cursor, table, text)
            progress = Progress(rows.last, before.rows + added, is_done=False)
            save_progress(cursor, table.name, progress)
        return progress

    def _sealed(self, cursor: Cursor, table: SourceTable, rows: IdRange) -> Iterable[Sequence[Any]]:
        found = self.source.read(table, rows)
        if table is USERS:
            return sealed_users(self.sealer, found)
        subjects = {row["subject"] for row in found if row["subject"]}
        accounts = staged_rows.adoptable_accounts(cursor, subjects)
        return sealed_subscriptions(self.sealer, found, accounts)


def _copy_text(rows: Iterable[Sequence[Any]]) -> io.BytesIO:
    """Return rows of texts in the text format of COPY."""
    lines = ("\t".join(map(_escaped, row)) + "\n" for row in rows)
    return io.BytesIO("".join(lines).encode())


def _escaped(value: Any) -> str:
    if value is None:
        return "\\N"
    text = str(value).replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
