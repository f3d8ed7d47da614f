"""Questions about an account's GGOs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, UnaryExpression, and_, cast, func, select
from sqlalchemy.orm import Session

from origin.db.models import Ggo, Technology
from origin.domain.filters import Category, GgoFilters

_LISTS = (
    "address",
    "sector",
    "technology_code",
    "fuel_code",
    "issue_gsrn",
    "retire_gsrn",
    "retire_address",
)

ORDERS: dict[str, UnaryExpression[Any]] = {
    "begin": Ggo.begin.asc(),
    "-begin": Ggo.begin.desc(),
    "amount": Ggo.amount.asc(),
    "-amount": Ggo.amount.desc(),
}
"""What a listing can be ordered by, by the wire's names."""


def _matches(owner_id: int, filters: GgoFilters, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Ggo.owner_id == owner_id]
    if filters.begin is not None:
        conditions.append(Ggo.begin == filters.begin)
    if filters.begin_range is not None:
        conditions.append(Ggo.begin.between(*filters.begin_range))
    for name in _LISTS:
        wanted = getattr(filters, name)
        if wanted:
            conditions.append(getattr(Ggo, name).in_(wanted))
    if filters.category is not None:
        conditions.append(_is_in(filters.category, now))
    return conditions


def _is_in(category: Category, now: datetime) -> ColumnElement[bool]:
    match category:
        case Category.ISSUED:
            return Ggo.issue_gsrn.is_not(None)
        case Category.STORED:
            return and_(Ggo.stored, Ggo.expire_time > now)
        case Category.RETIRED:
            return Ggo.retired.is_(True)
        case Category.EXPIRED:
            return and_(Ggo.stored, Ggo.expire_time <= now)


def list_settled(
    session: Session,
    owner_id: int,
    filters: GgoFilters,
    now: datetime,
    *,
    order: Sequence[str] = (),
    offset: int = 0,
    limit: int | None = None,
) -> tuple[int, Sequence[Row[Any]]]:
    """The owner's GGOs that are in step with the ledger.

    :param order: Names of `ORDERS`; then by begin, then by id.
    :returns: how many match in all, and the page: rows named as the GGO object of the contract.
    """
    conditions = [*_matches(owner_id, filters, now), ~Ggo.locked]
    total = session.scalar(select(func.count()).select_from(Ggo).where(*conditions)) or 0
    page = (
        select(
            Ggo.address,
            Ggo.sector,
            Ggo.begin,
            Ggo.end,
            Ggo.amount,
            Technology.technology,
            Ggo.technology_code.label("technologyCode"),
            Ggo.fuel_code.label("fuelCode"),
            Ggo.emissions,
            Ggo.issue_gsrn.label("issueGsrn"),
        )
        .outerjoin(
            Technology,
            and_(
                Technology.technology_code == Ggo.technology_code,
                Technology.fuel_code == Ggo.fuel_code,
            ),
        )
        .where(*conditions)
        .order_by(*(ORDERS[name] for name in order), Ggo.begin, Ggo.id)
        .offset(offset)
        .limit(limit)
    )
    return total, session.execute(page).all()


def total_amount(session: Session, owner_id: int, filters: GgoFilters, now: datetime) -> int:
    """The Wh of all that match, operations in flight counted as done; 0 where nothing does."""
    amount = cast(func.coalesce(func.sum(Ggo.amount), 0), BigInteger)
    conditions = _matches(owner_id, filters, now)
    return session.scalar(select(amount).where(*conditions)) or 0
