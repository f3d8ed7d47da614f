"""Forecasts: what a sender expects to transfer to a recipient (contract: http-api, Forecasts)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.locks import take_advisory_lock
from origin.forecasts import queries
from origin.forecasts.queries import ForecastObject
from origin.forecasts.rules import (
    MAX_KEPT,
    MAX_LISTED_VALUES,
    ForecastFilter,
    RecipientUnknown,
    SubmittedForecast,
)
from origin.webhooks.queries.outbox import announce_forecast
from origin.webhooks.service.outbox import Outbox

_FIRST_PART = 10
"""Forecasts in the first part of a list; their values tell how many the next part may have."""
_VALUES_PER_PART = 100_000
_MAX_PART = 1000


@dataclass(frozen=True)
class Forecasts:
    """Takes in forecasts, and finds those that a user sent or received."""

    database: Database
    outbox: Outbox

    def submit(self, sender_id: int, submission: SubmittedForecast) -> UUID:
        """Store a forecast, and announce it to its recipient by webhook; return its id.

        :raises RecipientUnknown: the recipient has no active account.
        :raises ForecastTooLong: it would end after the year 9999.
        """
        end = submission.end
        with self.outbox.transaction() as session:
            recipient_id = _active_recipient(session, submission.account)
            # One at a time: otherwise two submissions would not count each other's forecast.
            take_advisory_lock(session, f"forecasts:{sender_id}:{recipient_id}")
            forecast = queries.add(session, sender_id, recipient_id, submission, end)
            queries.keep_newest(session, sender_id, recipient_id, MAX_KEPT)
            announce_forecast(session, recipient_id, forecast)
        return UUID(str(forecast["id"]))

    def find(
        self, user_id: int, wanted: ForecastFilter, *, offset: int = 0, limit: int | None = None
    ) -> tuple[int, Iterator[list[ForecastObject]]]:
        """Return how many forecasts match, and a page of them in parts, newest first.

        Each part is read from the database when it is iterated.

        :param limit: None: as many as hold MAX_LISTED_VALUES together, and at least one.
        """
        most = MAX_LISTED_VALUES if limit is None else limit
        with self.database.reading() as session:
            total = queries.count(session, user_id, wanted)
            ids = queries.page_of_ids(session, user_id, wanted, offset=offset, limit=most)
        return total, self._parts(ids, MAX_LISTED_VALUES if limit is None else None)

    def find_newest(self, user_id: int, wanted: ForecastFilter) -> ForecastObject | None:
        """Return the newest matching forecast."""
        with self.database.reading() as session:
            return queries.find_newest(session, user_id, wanted)

    def references(self, user_id: int) -> tuple[list[str], list[str]]:
        """Return the references of what the user sent, and of what it received; distinct, sorted."""
        with self.database.reading() as session:
            sent, received = queries.references(session, user_id)
        # Sorted here: the order of the database depends on its locale.
        return sorted(sent), sorted(received)

    def _parts(self, ids: Sequence[int], max_values: int | None) -> Iterator[list[ForecastObject]]:
        """Yield the forecasts with these ids; each part's size follows from the values so far.

        :param max_values: Stop before the values exceed this, but after the first forecast; None:
            return all.
        """
        start, size, held = 0, _FIRST_PART, 0
        while start < len(ids):
            with self.database.reading() as session:
                found = queries.find_by_ids(session, ids[start : start + size])
            part: list[ForecastObject] = []
            for each in found:
                held += each.values
                if max_values is not None and held > max(max_values, each.values):
                    yield part
                    return
                part.append(each.forecast)
            yield part
            start += size
            size = min(max(_VALUES_PER_PART * start // max(held, 1), 1), _MAX_PART)


def _active_recipient(session: Session, subject: str) -> int:
    """Return the recipient's id, and keep the account from being disabled in this transaction."""
    found = queries.lock_recipient(session, subject)
    if found is not None:
        recipient_id, is_active = found
        if is_active:
            return recipient_id
    raise RecipientUnknown(subject)
