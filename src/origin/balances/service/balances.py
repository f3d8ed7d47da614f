"""Answers about balances and entries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from origin.balances.queries import balances as balance_queries
from origin.balances.queries import entries as entry_queries
from origin.balances.rules.balance import Balances, GroupBy, no_amounts
from origin.balances.rules.entries import Entry, EntryFilters, EntryKey, moment_before
from origin.balances.rules.statements import Statement
from origin.balances.service.moments import Moment, Moments
from origin.db.engine import Database
from origin.shared.periods import Period

_UTC = ZoneInfo("UTC")
_ENTRIES_AT_ONCE = 1000


@dataclass(frozen=True)
class BalanceService:
    """Tells an account's balances and entries.

    :ivar ledger_enabled: LEDGER_ENABLED.
    """

    database: Database
    moments: Moments
    ledger_enabled: bool

    def balances(
        self, user_id: int, at: datetime | None, grouping: Sequence[GroupBy], zone: ZoneInfo
    ) -> Balances:
        """Return the balances as they were known at a moment.

        :param at: None: now.
        :param zone: Of months.
        :raises MomentAhead: It is in the future.
        :raises MomentOpen: Orders that may belong to it are still being written.
        """
        moment = self.moments.now(user_id) if at is None else self.moments.at(user_id, at)
        return self._balances(moment, moment.at, grouping, zone)

    def entries(
        self, user_id: int, filters: EntryFilters, after: EntryKey | None, limit: int
    ) -> list[Entry]:
        """Return the next entries, oldest first.

        :param after: The entry before them.
        :raises MomentOpen: Orders that may belong to the period are still being written.
        """
        moment = self.moments.until(user_id, filters.end)
        return self._entries(moment, filters, after, limit)

    def statement(self, user_id: int, period: Period) -> Statement:
        """Return the statement of account of a period.

        :raises MomentOpen: Orders that may belong to the period are still being written.
        """
        moment = self.moments.until(user_id, period.end)
        opens_at = min(moment_before(period.begin), moment.at)
        return Statement(
            self._balances(moment, opens_at, (), _UTC),
            self._lines(moment, EntryFilters(period.begin, period.end)),
            self._balances(moment, moment.at, (), _UTC),
        )

    def _lines(self, moment: Moment, filters: EntryFilters) -> Iterator[Entry]:
        after = None
        while True:
            found = self._entries(moment, filters, after, _ENTRIES_AT_ONCE)
            yield from found
            if len(found) < _ENTRIES_AT_ONCE:
                return
            after = found[-1].key

    def _entries(
        self, moment: Moment, filters: EntryFilters, after: EntryKey | None, limit: int
    ) -> list[Entry]:
        return entry_queries.entries(
            self.database,
            moment.account,
            moment.at,
            filters,
            after,
            limit,
            ledger_enabled=self.ledger_enabled,
        )

    def _balances(
        self, moment: Moment, at: datetime, grouping: Sequence[GroupBy], zone: ZoneInfo
    ) -> Balances:
        history = moment.account.history_from
        if history is not None and at < history:
            return Balances(at, no_amounts(), ())
        return balance_queries.balances(
            self.database, moment.account, at, grouping, zone, ledger_enabled=self.ledger_enabled
        )
