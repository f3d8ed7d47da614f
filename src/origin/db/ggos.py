"""Questions about an account's GGOs (contract: http-api, GGOs).

Each is answered from one index that holds all it needs (`Ggo.__table_args__`), for what is stored
or issued from a partial one: the cost is that of the range asked for, whatever the account once
held. Rows become JSON in the database: a listing makes no object for each.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from origin.db.models import Ggo, Technology
from origin.domain.filters import Category, GgoFilters, TransferFilters
from origin.domain.listing import AMOUNT, BEGIN, ID, Cursor, Key, Value

_LISTS = (
    "address",
    "sector",
    "technology_code",
    "fuel_code",
    "issue_gsrn",
    "retire_gsrn",
    "retire_address",
)

_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    BEGIN: Ggo.begin,
    AMOUNT: Ggo.amount,
    ID: Ggo.id,
}


def matches(filters: GgoFilters, now: datetime) -> list[ColumnElement[bool]]:
    """What these filters ask of a GGO, whoever owns it."""
    conditions: list[ColumnElement[bool]] = []
    if filters.begin is not None:
        conditions.append(Ggo.begin == filters.begin)
    if filters.begin_range is not None:
        conditions.append(Ggo.begin.between(*filters.begin_range))
    for name in _LISTS:
        wanted = getattr(filters, name)
        if wanted:
            conditions.append(getattr(Ggo, name).in_(wanted))
    # These follow from the lists, and lead to the partial indexes.
    if filters.issue_gsrn:
        conditions.append(Ggo.issue_gsrn.is_not(None))
    if filters.retire_gsrn or filters.retire_address:
        conditions.append(and_(Ggo.retired))
    if filters.category is not None:
        conditions.append(_is_in(filters.category, now))
    if isinstance(filters, TransferFilters) and filters.reference:
        conditions.append(Ggo.reference.in_(filters.reference))
    return conditions


def _is_in(category: Category, now: datetime) -> ColumnElement[bool]:
    match category:
        case Category.ISSUED:
            return Ggo.issue_gsrn.is_not(None)
        case Category.STORED:
            return and_(Ggo.stored, Ggo.expire_time > now)
        case Category.RETIRED:
            return and_(Ggo.retired)
        case Category.EXPIRED:
            return and_(Ggo.stored, Ggo.expire_time <= now)


def count_settled(session: Session, owner_id: int, filters: GgoFilters, now: datetime) -> int:
    """How many of the owner's GGOs match and are in step with the ledger."""
    conditions = _settled(owner_id, filters, now)
    return session.scalar(select(func.count()).select_from(Ggo).where(*conditions)) or 0


def list_settled(
    session: Session,
    owner_id: int,
    filters: GgoFilters,
    now: datetime,
    *,
    keys: Sequence[Key],
    offset: int = 0,
    limit: int | None = None,
    after: Cursor | None = None,
    fetched_at_once: int | None = None,
) -> Iterator[Row[Any]]:
    """The owner's GGOs that are in step with the ledger.

    :param after: Only those that come after this one, in the order of the keys.
    :param fetched_at_once: In a snapshot: how many rows to fetch whenever more are read.
    :returns: rows of the GGO object as JSON text (contract: http-api, The GGO object), and the
        values of the keys.
    """
    page = (
        select(
            Ggo.address,
            Ggo.sector,
            Ggo.begin,
            Ggo.end,
            Ggo.amount,
            Ggo.technology_code,
            Ggo.fuel_code,
            Ggo.emissions,
            Ggo.issue_gsrn,
            Ggo.id,
        )
        .where(*_settled(owner_id, filters, now))
        .order_by(
            *(
                _COLUMNS[key.column].desc() if key.descending else _COLUMNS[key.column]
                for key in keys
            )
        )
        .offset(offset or None)
        .limit(limit)
    )
    if after is not None:
        page = page.where(*_comes_after(keys, after.values))
    options = {"yield_per": fetched_at_once} if fetched_at_once else {}
    return iter(session.execute(_as_json(page, keys), execution_options=options))


def _settled(owner_id: int, filters: GgoFilters, now: datetime) -> list[ColumnElement[bool]]:
    return [Ggo.owner_id == owner_id, *matches(filters, now), ~Ggo.locked]


def _comes_after(keys: Sequence[Key], values: Sequence[Value]) -> list[ColumnElement[bool]]:
    """The row is behind these values, by keys that may go in different directions."""
    columns = [_COLUMNS[key.column] for key in keys]
    if len({key.descending for key in keys}) == 1:
        place, row = tuple_(*values, types=[c.type for c in columns]), tuple_(*columns)
        return [row < place if keys[0].descending else row > place]
    beyond = [
        column < value if key.descending else column > value
        for column, value, key in zip(columns, values, keys, strict=True)
    ]
    equal = [column == value for column, value in zip(columns, values, strict=True)]
    return [
        # Follows from the next one, and is a bound for an index.
        or_(beyond[0], equal[0]),
        or_(*(and_(*equal[:place], beyond[place]) for place in range(len(keys)))),
    ]


def _as_json(page: Select[Any], keys: Sequence[Key]) -> Select[Any]:
    """The page's rows as GGO objects; the label is looked up for those alone."""
    rows = page.subquery("page")
    ggo = rows.c
    technology = (
        select(Technology.technology)
        .where(
            Technology.technology_code == ggo.technology_code,
            Technology.fuel_code == ggo.fuel_code,
        )
        .correlate(rows)
        .scalar_subquery()
    )
    fields = select(
        ggo.address,
        ggo.sector,
        ggo.begin,
        ggo.end,
        ggo.amount,
        technology.label("technology"),
        ggo.technology_code.label("technologyCode"),
        ggo.fuel_code.label("fuelCode"),
        ggo.emissions,
        ggo.issue_gsrn.label("issueGsrn"),
    )
    wire = fields.correlate(rows).lateral("ggo")
    as_text = cast(func.row_to_json(wire.table_valued()), Text)
    return select(as_text, *(ggo[key.column] for key in keys)).select_from(rows).join(wire, true())
