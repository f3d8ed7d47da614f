"""Forecasts: what a sender expects to transfer to a recipient (contract: http-api, Forecasts)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from origin.db.models import Forecast, User
from origin.db.outbox import announce_forecast
from origin.errors import Refused
from origin.runtime import Runtime
from origin.services import deliveries

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

        :raises Refused: after the year 9999.
        """
        try:
            return self.begin + self.step * len(self.amounts)
        except OverflowError:
            raise Refused({"resolution": ["The forecast would end after the year 9999."]}) from None


@dataclass(frozen=True)
class Wanted:
    """Which forecasts are asked for; None: any."""

    id: UUID | None = None
    reference: str | None = None
    at_time: datetime | None = None


def submit(runtime: Runtime, sender_id: int, submission: Submission) -> UUID:
    """Keep a forecast, and tell its recipient by webhook; its id.

    :raises Refused: the recipient doesn't exist, or is disabled; or it would end too late.
    """
    end = submission.end
    with deliveries.transaction(runtime) as session:
        recipient_id = _active_user(session, submission.account)
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
        row = session.execute(_objects().where(Forecast.id == forecast_id)).one()
        announce_forecast(session, recipient_id, to_object(row))
    return UUID(str(row.id))


def _active_user(session: Session, subject: str) -> int:
    """The recipient, who can't be disabled before the forecast is kept."""
    found = session.execute(
        select(User.id, User.disabled_at)
        .where(User.subject == subject)
        .with_for_update(read=True, key_share=True)
    ).one_or_none()
    if found is None or found.disabled_at is not None:
        raise Refused({"account": [f"No user exists with subject: {subject}"]})
    return int(found.id)


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
            Forecast.amounts.label("forecast"),
            Forecast.resolution,
        )
        .join(_Sender, _Sender.id == Forecast.sender_id)
        .join(_Recipient, _Recipient.id == Forecast.recipient_id)
    )


def to_object(row: Row[Any]) -> dict[str, Any]:
    """A row as the forecast object of the contract."""
    return dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public API


def find(
    session: Session, user_id: int, wanted: Wanted, *, offset: int = 0, limit: int | None = None
) -> tuple[int, list[dict[str, Any]]]:
    """Forecasts that the user sent or received, newest first.

    :returns: how many match in all, and the page of forecast objects.
    """
    conditions = _matches(user_id, wanted)
    total = session.scalar(select(func.count()).select_from(Forecast).where(*conditions)) or 0
    page = _objects().where(*conditions).order_by(Forecast.id.desc()).offset(offset).limit(limit)
    return total, [to_object(row) for row in session.execute(page)]


def find_newest(session: Session, user_id: int, wanted: Wanted) -> dict[str, Any] | None:
    """The newest that matches, of those that the user sent or received."""
    query = _objects().where(*_matches(user_id, wanted)).order_by(Forecast.id.desc()).limit(1)
    row = session.execute(query).one_or_none()
    return None if row is None else to_object(row)


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
