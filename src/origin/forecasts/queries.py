"""Forecasts in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from origin.db.models import Forecast, User
from origin.forecasts.rules import ForecastFilter, SubmittedForecast

_Sender, _Recipient = aliased(User), aliased(User)

ForecastObject = dict[str, Any]
"""The forecast object of the contract, for orjson."""


@dataclass(frozen=True)
class SizedForecast:
    """A forecast object, and how many values it has."""

    forecast: ForecastObject
    values: int


def lock_recipient(session: Session, subject: str) -> Row[int, bool] | None:
    """Return id and `is_active` of an account, which cannot be disabled in this transaction."""
    return session.execute(
        select(User.id, User.disabled_at.is_(None).label("is_active"))
        .where(User.subject == subject)
        .with_for_update(read=True, key_share=True)
    ).one_or_none()


def add(
    session: Session,
    sender_id: int,
    recipient_id: int,
    submission: SubmittedForecast,
    end: datetime,
) -> ForecastObject:
    """Insert a forecast; return its object."""
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
    return _to_object(
        session.execute(_objects().where(Forecast.id == forecast_id)).mappings().one()
    )


def keep_newest(session: Session, sender_id: int, recipient_id: int, count: int) -> None:
    """Delete all but the newest forecasts of one sender to one recipient."""
    theirs = (Forecast.sender_id == sender_id, Forecast.recipient_id == recipient_id)
    last = select(Forecast.id).where(*theirs).order_by(Forecast.id.desc()).offset(count).limit(1)
    session.execute(delete(Forecast).where(*theirs, Forecast.id <= last.scalar_subquery()))


def count(session: Session, user_id: int, wanted: ForecastFilter) -> int:
    """Count the matching forecasts that the user sent or received."""
    query = select(func.count()).select_from(Forecast).where(*_matches(user_id, wanted))
    return session.scalar(query) or 0


def page_of_ids(
    session: Session, user_id: int, wanted: ForecastFilter, *, offset: int, limit: int
) -> Sequence[int]:
    """Return the ids of matching forecasts that the user sent or received, newest first."""
    newest = select(Forecast.id).where(*_matches(user_id, wanted)).order_by(Forecast.id.desc())
    return session.scalars(newest.offset(offset).limit(limit)).all()


def find_by_ids(session: Session, ids: Sequence[int]) -> list[SizedForecast]:
    """Return the forecasts with these ids, newest first."""
    query = _objects().add_columns(func.cardinality(Forecast.amounts).label("values"))
    rows = session.execute(query.where(Forecast.id.in_(ids)).order_by(Forecast.id.desc()))
    found = []
    for row in map(dict, rows.mappings()):
        values = row.pop("values")
        found.append(SizedForecast(_to_object(row), values))
    return found


def find_newest(session: Session, user_id: int, wanted: ForecastFilter) -> ForecastObject | None:
    """Return the newest matching forecast that the user sent or received."""
    newest = select(Forecast.id).where(*_matches(user_id, wanted)).order_by(Forecast.id.desc())
    # A subquery, so that only this forecast's values are read, however many match.
    newest_id = newest.limit(1).scalar_subquery()
    row = session.execute(_objects().where(Forecast.id == newest_id)).mappings().one_or_none()
    return None if row is None else _to_object(row)


def references(session: Session, user_id: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the distinct references of what the user sent, and of what it received; unsorted."""
    sent, received = (
        session.scalars(select(Forecast.reference).where(side == user_id).distinct()).all()
        for side in (Forecast.sender_id, Forecast.recipient_id)
    )
    return sent, received


def _objects() -> Select[*tuple[Any, ...]]:
    """Return the query of forecast objects, their members in the contract's order."""
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


def _to_object(row: Mapping[Any, Any]) -> ForecastObject:
    return {**row, "forecast": orjson.Fragment(row["forecast"])}


def _matches(user_id: int, wanted: ForecastFilter) -> list[ColumnElement[bool]]:
    conditions = [or_(Forecast.sender_id == user_id, Forecast.recipient_id == user_id)]
    if wanted.id is not None:
        conditions.append(Forecast.public_id == wanted.id)
    if wanted.reference is not None:
        conditions.append(Forecast.reference == wanted.reference)
    if wanted.at_time is not None:
        conditions.append(and_(Forecast.begin <= wanted.at_time, Forecast.end >= wanted.at_time))
    return conditions
