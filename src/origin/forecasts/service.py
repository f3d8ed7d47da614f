"""Forecasts: what a sender expects to transfer to a recipient (contract: http-api, Forecasts)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Text, and_, cast, delete, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from origin.db.engine import Database
from origin.db.locks import take_advisory_lock
from origin.db.models import Forecast, User
from origin.forecasts.rules import ForecastTooLong, RecipientUnknown
from origin.webhooks.queries.outbox import announce_forecast
from origin.webhooks.service.outbox import Outbox

MAX_KEPT = 1000
"""Forecasts of one sender to one recipient; older ones are forgotten."""
MAX_LISTED_VALUES = 1_000_000
"""What a list without a limit holds: some 10 MB."""
_FIRST_PART = 10
_PART_VALUES = 100_000
_MOST_AT_ONCE = 1000

_Sender, _Recipient = aliased(User), aliased(User)


@dataclass(frozen=True)
class Submission:
    """A forecast as it is submitted. `begin` in UTC; `amounts` in Wh, at least one."""

    account: str
    reference: str
    sector: str
    begin: datetime
    resolution: str
    step: timedelta
    amounts: Sequence[int]

    @property
    def end(self) -> datetime:
        """Begin and all steps.

        :raises ForecastTooLong: It ends after the year 9999.
        """
        try:
            return self.begin + self.step * len(self.amounts)
        except OverflowError:
            raise ForecastTooLong from None


@dataclass(frozen=True)
class Wanted:
    """Which forecasts are asked for; None: any."""

    id: UUID | None = None
    reference: str | None = None
    at_time: datetime | None = None


@dataclass(frozen=True)
class Forecasts:
    """Takes in forecasts."""

    outbox: Outbox

    def submit(self, sender_id: int, submission: Submission) -> UUID:
        """Keep a forecast, and tell its recipient by webhook; its id.

        :raises RecipientUnknown: The recipient has no active account.
        :raises ForecastTooLong: The forecast ends after the year 9999.
        """
        end = submission.end
        with self.outbox.transaction() as session:
            recipient_id = _active_user(session, submission.account)
            # One at a time, or each would leave what the other has added.
            take_advisory_lock(session, f"forecasts:{sender_id}:{recipient_id}")
            forecast_id = session.scalars(
                insert(Forecast)
                .values(
                    sender_id=sender_id,
                    recipient_id=recipient_id,
                    sector=submission.sector,
                    reference=submission.reference,
                    begin=submission.begin,
                    end=end,
                    resolution=submission.resolution,
                    amounts=list(submission.amounts),
                )
                .returning(Forecast.id)
            ).one()
            _keep_the_newest(session, sender_id, recipient_id)
            row = session.execute(_objects().where(Forecast.id == forecast_id)).mappings().one()
            announce_forecast(session, recipient_id, _to_object(row))
        return UUID(str(row["id"]))


def _active_user(session: Session, subject: str) -> int:
    """The recipient, who can't be disabled before the forecast is kept."""
    found = session.execute(
        select(User.id, User.disabled_at)
        .where(User.subject == subject)
        .with_for_update(read=True, key_share=True)
    ).one_or_none()
    if found is None or found.disabled_at is not None:
        raise RecipientUnknown(subject)
    return int(found.id)


def _keep_the_newest(session: Session, sender_id: int, recipient_id: int) -> None:
    """Forget what one sender told one recipient before the newest MAX_KEPT."""
    theirs = (Forecast.sender_id == sender_id, Forecast.recipient_id == recipient_id)
    last = select(Forecast.id).where(*theirs).order_by(Forecast.id.desc()).offset(MAX_KEPT).limit(1)
    session.execute(delete(Forecast).where(*theirs, Forecast.id <= last.scalar_subquery()))


def _objects() -> Any:
    """The forecast object of the contract, in its order."""
    return (
        select(
            Forecast.public_id.label("id"),
            _Sender.subject.label("sender"),
            _Recipient.subject.label("recipient"),
            Forecast.created_at.label("created"),
            Forecast.begin,
            Forecast.end,
            Forecast.sector,
            Forecast.reference,
            # PostgreSQL writes thousands of numbers faster than Python reads and writes them.
            cast(func.array_to_json(Forecast.amounts), Text).label("forecast"),
            Forecast.resolution,
        )
        .join(_Sender, _Sender.id == Forecast.sender_id)
        .join(_Recipient, _Recipient.id == Forecast.recipient_id)
    )


def _to_object(found: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of `_objects` as the forecast object of the contract, for orjson."""
    return {**found, "forecast": orjson.Fragment(found["forecast"])}


def find(
    database: Database, user_id: int, wanted: Wanted, *, offset: int = 0, limit: int | None = None
) -> tuple[int, Iterator[list[dict[str, Any]]]]:
    """Forecasts that the user sent or received, newest first.

    :param limit: None: as many of the newest as hold MAX_LISTED_VALUES together, and at least one.
    :returns: How many match in all, and the page of forecast objects in parts, each read from the
        database when it is wanted.
    """
    conditions = _matches(user_id, wanted)
    most = MAX_LISTED_VALUES if limit is None else limit
    newest = select(Forecast.id).where(*conditions).order_by(Forecast.id.desc())
    with database.reading() as session:
        total = session.scalar(select(func.count()).select_from(Forecast).where(*conditions)) or 0
        ids = session.scalars(newest.offset(offset).limit(most)).all()
    return total, _parts(database, ids, MAX_LISTED_VALUES if limit is None else None)


def _parts(
    database: Database, ids: Sequence[int], most_values: int | None
) -> Iterator[list[dict[str, Any]]]:
    """The forecasts with these ids, some at a time: what they hold decides how many.

    :param most_values: What all of them may hold, but for the first; None: any number.
    """
    query = _objects().add_columns(func.cardinality(Forecast.amounts).label("values"))
    start, size, held = 0, _FIRST_PART, 0
    while start < len(ids):
        these = Forecast.id.in_(ids[start : start + size])
        with database.reading() as session:
            rows = session.execute(query.where(these).order_by(Forecast.id.desc())).mappings().all()
        part: list[dict[str, Any]] = []
        for row in rows:
            found = dict(row)
            values = found.pop("values")
            held += values
            if most_values is not None and held > max(most_values, values):
                yield part
                return
            part.append(_to_object(found))
        yield part
        start += size
        size = min(max(_PART_VALUES * start // max(held, 1), 1), _MOST_AT_ONCE)


def find_newest(database: Database, user_id: int, wanted: Wanted) -> dict[str, Any] | None:
    """The newest that matches, of those that the user sent or received."""
    newest = select(Forecast.id).where(*_matches(user_id, wanted)).order_by(Forecast.id.desc())
    # Its values alone are read, however many match.
    this = newest.limit(1).scalar_subquery()
    with database.reading() as session:
        row = session.execute(_objects().where(Forecast.id == this)).mappings().one_or_none()
    return None if row is None else _to_object(row)


def _matches(user_id: int, wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions = [or_(Forecast.sender_id == user_id, Forecast.recipient_id == user_id)]
    if wanted.id is not None:
        conditions.append(Forecast.public_id == wanted.id)
    if wanted.reference is not None:
        conditions.append(Forecast.reference == wanted.reference)
    if wanted.at_time is not None:
        conditions.append(and_(Forecast.begin <= wanted.at_time, Forecast.end >= wanted.at_time))
    return conditions


def references(session: Session, user_id: int) -> tuple[list[str], list[str]]:
    """The references of what the user sent, and of what it received; distinct, sorted."""
    sent, received = (
        # Sorted here: the database's own order depends on its locale.
        sorted(session.scalars(select(Forecast.reference).where(side == user_id).distinct()))
        for side in (Forecast.sender_id, Forecast.recipient_id)
    )
    return sent, received
