"""The service's own statements about operations and entries, and the fastest SQL known for balances.

The limit app runs the same statements in bare views (`bench.limit_app`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from origin.balances.queries import entries as entry_queries
from origin.balances.queries.balances import Account
from origin.balances.rules.entries import EntryFilters
from origin.operations.queries import operations as operation_queries
from origin.operations.queries.operations import OperationFilter
from origin.shared.periods import EARLIEST, LATEST

PAGE = 100
_NOBODY = UUID(int=0)

BALANCES = """
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT
    sum(amount) FILTER (WHERE (stored AND NOT locked AND NOT key_mismatch AND NOT never_sent
        AND expire_time > now()) OR (stored AND locked AND sender_id = owner_id)),
    sum(amount) FILTER (WHERE locked AND sender_id <> owner_id),
    sum(amount) FILTER (WHERE retired AND locked),
    sum(amount) FILTER (WHERE retired AND NOT locked),
    sum(amount) FILTER (WHERE stored AND NOT locked AND expire_time <= now()),
    sum(amount) FILTER (WHERE spent_elsewhere
        OR (stored AND NOT locked AND (key_mismatch OR never_sent) AND expire_time > now())),
    sum(amount) FILTER (WHERE issue_gsrn IS NOT NULL),
    sum(amount) FILTER (WHERE sender_id <> owner_id AND NOT locked),
    (SELECT sum(amount) FROM ggos
        WHERE sender_id = %(owner)s AND sender_id <> owner_id AND locked),
    (SELECT sum(amount) FROM ggos
        WHERE sender_id = %(owner)s AND sender_id <> owner_id AND NOT locked)
FROM ggos WHERE owner_id = %(owner)s
"""
"""The ten amounts of a balance now, of an account whose history is complete.

PostgreSQL's parallel workers would use two to three times the CPU, so it takes none. `SET LOCAL` holds for
this request alone: the statements of one request are one transaction.
"""


class _Recorder:
    """Stands in for a database or a connection, and keeps the statement that it is asked."""

    sql: str
    values: Mapping[str, Any]

    def prepared(self, sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        """Keep the statement; return no rows."""
        self.sql, self.values = sql, values
        return []

    query = prepared


def operation() -> tuple[str, Mapping[str, Any]]:
    """Return the statement of one operation, and its values but for `id` and `user_id`."""
    recorder = _Recorder()
    operation_queries.get(cast("Any", recorder), _NOBODY, 0)
    return recorder.sql, recorder.values


def operations() -> tuple[str, Mapping[str, Any]]:
    """Return the statement of an account's first page of operations, and its values but for `user_id`."""
    recorder = _Recorder()
    wanted = OperationFilter([], [], EARLIEST, LATEST, None)
    operation_queries.page(cast("Any", recorder), 0, wanted, None, PAGE)
    return recorder.sql, recorder.values


def entries() -> tuple[str, Mapping[str, Any]]:
    """Return the statement of a page of entries, and its values but for `owner`, `low`, `high`."""
    recorder = _Recorder()
    now = datetime.now(LATEST.tzinfo)
    entry_queries.entries(
        cast("Any", recorder),
        Account(0, None),
        now,
        EntryFilters(EARLIEST, now),
        None,
        PAGE + 1,
        ledger_enabled=True,
    )
    return recorder.sql, recorder.values
