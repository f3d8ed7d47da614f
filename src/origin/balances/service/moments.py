"""Finds the moment that an answer is about: no entry up to it is written any more.

So an answer about a moment never changes. A look at the database may find orders that are being written.
Most are written within milliseconds: it is waited for them. A large one may take longer: then the answer
is about the moment before it began.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime

from origin.balances.queries import moments as queries
from origin.balances.queries.balances import Account
from origin.balances.rules.balance import MomentAhead, MomentOpen
from origin.balances.rules.entries import MICROSECOND, moment_before
from origin.db.engine import Database
from origin.shared.periods import EARLIEST

_PAUSES_S = (0.005, 0.1)
"""The first pause between two looks, and the longest."""
_GROWTH = 1.2
_PATIENCE_S = 0.25
"""How long the answer about now waits for others' transactions."""
_PATIENCE_OF_PAST_S = 10.0
"""How long the answer about another moment does: it can't be about an earlier one instead."""


@dataclass(frozen=True)
class Moment:
    """A moment of which no entry is written any more.

    :ivar account: The account as it was asked for.
    """

    at: datetime
    account: Account


@dataclass
class _Latest:
    """The latest moment that this process found to be settled: no entry up to it is written any more."""

    at: datetime = EARLIEST


@dataclass(frozen=True)
class Moments:
    """Finds moments that answers are about. It holds no connection while it waits."""

    database: Database
    _latest: _Latest = field(default_factory=_Latest)

    def now(self, user_id: int) -> Moment:
        """Return the current moment; if orders are written for long, the one before they began."""
        return self._now(user_id, queries.look(self.database, user_id))

    def at(self, user_id: int, wanted: datetime) -> Moment:
        """Return this moment.

        :raises MomentAhead: It is in the future.
        :raises MomentOpen: Orders that may belong to it are still being written.
        """
        seen = queries.look(self.database, user_id)
        if wanted > seen.now:
            raise MomentAhead(seen.now)
        return self._past(user_id, wanted, seen)

    def until(self, user_id: int, end: datetime) -> Moment:
        """Return the last moment before this end, or the current moment if that is earlier.

        :raises MomentOpen: As of `at`.
        """
        seen = queries.look(self.database, user_id)
        if end > seen.now:
            return self._now(user_id, seen)
        return self._past(user_id, moment_before(end), seen)

    def _now(self, user_id: int, seen: queries.Look) -> Moment:
        writers = self._wait(seen.writers, _PATIENCE_S)
        at = min([seen.now, *(each.began - MICROSECOND for each in writers)])
        # A writer that began before that moment wrote nothing by then, so its entries are later ones.
        if at < self._latest.at <= seen.now:
            at = self._latest.at
        self._latest.at = max(at, self._latest.at)
        return Moment(at, Account(user_id, seen.history_from))

    def _past(self, user_id: int, wanted: datetime, seen: queries.Look) -> Moment:
        writers = tuple(each for each in seen.writers if each.began <= wanted)
        if self._wait(writers, _PATIENCE_OF_PAST_S):
            raise MomentOpen
        return Moment(wanted, Account(user_id, seen.history_from))

    def _wait(
        self, writers: tuple[queries.Writer, ...], patience_s: float
    ) -> tuple[queries.Writer, ...]:
        """Wait until these have ended; return those that have not."""
        deadline = time.monotonic() + patience_s
        pause, longest = _PAUSES_S
        while writers and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * _GROWTH, longest)
            writers = queries.still_open(self.database, writers)
        return writers
