"""Seal everything again with the first of KEY_ENCRYPTION_SECRETS, while the service runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from origin.db.engine import Database
from origin.keys.sealing import CannotUnseal, Sealer
from origin.maintenance.queries import sealed_columns
from origin.maintenance.queries.sealed_columns import SEALED_COLUMNS, SealedTable
from origin.maintenance.service.secret_changes import SecretChanges

ROWS_AT_ONCE = 200
"""Rows that are resealed in one transaction."""


@dataclass(frozen=True)
class RotationProgress:
    """How many rows are resealed, cannot be resealed, and were outdated at the start."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True)
class KeyRotation:
    """Seals all secret columns again with the first of KEY_ENCRYPTION_SECRETS."""

    database: Database
    sealer: Sealer
    changes: SecretChanges

    def rotate(self) -> Iterator[RotationProgress]:
        """Reseal everything with the first secret, and yield the progress after each transaction.

        It can be stopped and started again at any time: finished transactions stay. A row that no
        secret opens stays as it is, and counts as failed.

        :raises CannotRotate: a running process doesn't know the first secret, or seals with another.
            This is checked before each transaction, because processes may start meanwhile.
        """
        self.changes.check_rotation()
        with self.database.reading() as session:
            total = sealed_columns.count_all_outdated(session, self.sealer.current_prefix)
        done = failed = 0
        yield RotationProgress(done, failed, total)
        for table in SEALED_COLUMNS:
            last_id = 0
            while True:
                self.changes.check_rotation()
                with self.database.transaction() as session:
                    rows = sealed_columns.next_outdated(
                        session,
                        table,
                        self.sealer.current_prefix,
                        after_id=last_id,
                        limit=ROWS_AT_ONCE,
                    )
                    for row in rows:
                        resealed = self._reseal(table, row)
                        done += resealed
                        failed += not resealed
                if not rows:
                    break
                last_id = rows[-1].id
                yield RotationProgress(done, failed, total)

    def _reseal(self, table: SealedTable, row: Any) -> bool:
        """Reseal the texts of a row; return False if one opens with none of the secrets."""
        try:
            resealed = {
                column.key: self.sealer.reseal(sealed, context(row))
                for column, context in SEALED_COLUMNS[table]
                if (sealed := getattr(row, column.key)) is not None
            }
        except CannotUnseal:
            return False
        for name, sealed in resealed.items():
            setattr(row, name, sealed)
        return True
