"""What became of an account's orders."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from origin.db.engine import Database
from origin.errors import NotFound
from origin.operations.queries import operations as queries
from origin.operations.queries.operations import ItemRow, OperationFilter, OperationRow, Planning
from origin.operations.rules import AlreadyFinal, AlreadyPlanned
from origin.operations.service.waiting import Waiting

_PAGE = 1000


@dataclass(frozen=True)
class OperationReport:
    """An operation with all its items, as they stand.

    :ivar planning: None if it is not queued.
    """

    operation: OperationRow
    planning: Planning | None
    items: Sequence[ItemRow]


@dataclass(frozen=True)
class Operations:
    """Reads operations, and cancels them."""

    database: Database
    waiting: Waiting

    def page(
        self,
        user_id: int,
        wanted: OperationFilter,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> tuple[list[OperationRow], bool]:
        """Return the account's operations, newest first, and whether there are more than these.

        :param after: Time of creation and id of the operation before the page.
        :param limit: How many at most. There may be fewer although there are more: their requests are
            long.
        """
        return queries.page(self.database, user_id, wanted, after, limit)

    def get(self, user_id: int, operation_id: UUID, wait_s: float = 0) -> OperationRow:
        """Return an operation of this account as it stands.

        :param wait_s: How many seconds to wait until it is final.
        :raises NotFound: The account has no such operation.
        """
        found = self._get(user_id, operation_id)
        if not wait_s or found.status.is_final:
            return found
        self.waiting.until_final(operation_id, wait_s)
        return self._get(user_id, operation_id)

    def _get(self, user_id: int | None, operation_id: UUID) -> OperationRow:
        with self.database.raw_connection() as connection:
            found = queries.get(connection, operation_id, user_id)
        if found is None:
            raise NotFound
        return found

    def items(
        self, user_id: int, operation_id: UUID, statuses: Collection[str], after: int, limit: int
    ) -> list[ItemRow]:
        """Return the items of an operation of this account, by sequence.

        :param statuses: Only these; empty for all.
        :param after: The sequence of the item before the page; -1 for the first.
        :raises NotFound: The account has no such operation.
        """
        with self.database.raw_connection() as connection:
            if queries.get(connection, operation_id, user_id) is None:
                raise NotFound
            return queries.items(connection, operation_id, statuses, after, limit)

    def report(self, operation_id: UUID) -> OperationReport:
        """Return all that is known of an operation of any account, for operators.

        :raises NotFound: There is none of this id.
        """
        found = self._get(None, operation_id)
        with self.database.raw_connection() as connection:
            planning = queries.planning_of(connection, operation_id)
            items: list[ItemRow] = []
            while page := queries.items(connection, operation_id, (), _last(items), _PAGE):
                items += page
        return OperationReport(found, planning, items)

    def cancel(self, user_id: int, operation_id: UUID) -> OperationRow:
        """Cancel a queued operation of this account, and return it.

        :raises NotFound: The account has no such operation.
        :raises AlreadyPlanned: Its GGOs are on their way.
        :raises AlreadyFinal: It has ended.
        """
        with self.database.raw_connection() as connection:
            was_queued = queries.cancel(connection, operation_id, user_id)
        found = self._get(user_id, operation_id)
        if was_queued:
            return found
        raise AlreadyFinal if found.status.is_final else AlreadyPlanned


def _last(items: Sequence[ItemRow]) -> int:
    return items[-1].sequence if items else -1
