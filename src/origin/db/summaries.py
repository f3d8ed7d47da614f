"""Sums over GGOs and transfers (contract: http-api, GGOs and Transfers).

Operations in flight count as done: the rows say so from the moment of the compose.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    and_,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from origin.db.ggos import matches
from origin.db.models import Ggo, Technology
from origin.domain.filters import Direction, GgoFilters, TransferFilters
from origin.domain.summaries import UNKNOWN, Grouping, Resolution, Sum, label_of
from origin.errors import Refused

_INVALID_PARAMETER_VALUE = "22023"

_CODES: dict[Grouping, tuple[str, ...]] = {
    Grouping.BEGIN: (),
    Grouping.SECTOR: ("sector",),
    Grouping.TECHNOLOGY: ("technology_code", "fuel_code"),
    Grouping.TECHNOLOGY_CODE: ("technology_code",),
    Grouping.FUEL_CODE: ("fuel_code",),
}
"""The columns that a grouping is made of, beside begin."""


@dataclass(frozen=True)
class Split:
    """How to tell sums apart."""

    resolution: Resolution
    grouping: Sequence[Grouping]
    zone: tzinfo
    """A fixed offset, or a `ZoneInfo`: whose local time labels are in."""


Selection = list[list[ColumnElement[bool]]]
"""Sets of GGOs without a common member, each by its conditions; as few as can be."""


def own_ggos(owner_id: int, filters: GgoFilters, now: datetime) -> Selection:
    """The account's GGOs."""
    return [[Ggo.owner_id == owner_id, *matches(filters, now)]]


def transfers(
    user_id: int, filters: TransferFilters, direction: Direction | None, now: datetime
) -> Selection:
    """The GGOs that were transferred to or from the account; no direction: both."""
    ends = {Direction.INBOUND: Ggo.owner_id, Direction.OUTBOUND: Ggo.sender_id}
    return [
        [end == user_id, Ggo.sender_id != Ggo.owner_id, *matches(filters, now)]
        for each, end in ends.items()
        if direction in {each, None}
    ]


def total_amount(session: Session, selection: Selection) -> int:
    """Their Wh; 0 where there are none."""
    totals = [select(func.sum(Ggo.amount)).where(*conditions) for conditions in selection]
    return sum(int(session.scalar(total) or 0) for total in totals)


def sums(session: Session, selection: Selection, split: Split) -> Iterator[Sum]:
    """Their Wh by label and group; a pair of both may come more than once.

    :raises Refused: the database doesn't know the zone.
    """
    codes = dict.fromkeys(code for each in split.grouping for code in _CODES[each])
    by_begin = Grouping.BEGIN in split.grouping
    try:
        rows = session.execute(_statement(selection, split, list(codes), by_begin=by_begin)).all()
    except DataError as error:
        if getattr(error.orig, "pgcode", None) != _INVALID_PARAMETER_VALUE:
            raise
        raise Refused({"timezone": ["Not known to the database."]}) from error
    labels: dict[datetime | None, str] = {}
    for row in rows:
        if row.local not in labels:
            labels[row.local] = label_of(row.local, split.resolution)
        yield Sum(labels[row.local], _group(row, split), int(row.amount))


def _group(row: Any, split: Split) -> tuple[str, ...]:
    names = {
        Grouping.SECTOR: "sector",
        Grouping.TECHNOLOGY: "technology",
        Grouping.TECHNOLOGY_CODE: "technology_code",
        Grouping.FUEL_CODE: "fuel_code",
    }
    return tuple(
        row.begin.astimezone(split.zone).isoformat()
        if each is Grouping.BEGIN
        else getattr(row, names[each])
        for each in split.grouping
    )


def _statement(
    selection: Selection, split: Split, codes: Sequence[str], *, by_begin: bool
) -> Select[Any]:
    """Sum in two steps: by begin, which the index has in order; then begins become labels.

    So time zones are reckoned with once for each begin, not for each GGO.
    """
    labelled = split.resolution is not Resolution.ALL
    needed = ["begin"] if labelled or by_begin else []
    inner = _sums_of(_rows(selection, [*needed, *codes]), [*needed, *codes]).subquery("by_begin")
    local: ColumnElement[Any] = null()
    if labelled:
        local = func.date_trunc(split.resolution.value, _local(inner.c.begin, split.zone))
    kept = ["begin", *codes] if by_begin else list(codes)
    steps = select(local.label("local"), *(inner.c[name] for name in kept), inner.c.amount)
    if labelled and not by_begin:
        flat = steps.subquery("labelled")
        steps = _sums_of(flat, ["local", *codes])
    result = steps.subquery("result")
    if not {"technology_code", "fuel_code"} <= set(codes):
        return select(result)
    return select(result, func.coalesce(Technology.technology, UNKNOWN).label("technology")).join(
        Technology,
        and_(
            Technology.technology_code == result.c.technology_code,
            Technology.fuel_code == result.c.fuel_code,
        ),
        isouter=True,
    )


def _rows(selection: Selection, columns: Sequence[str]) -> FromClause:
    wanted = [getattr(Ggo, name) for name in [*columns, "amount"]]
    parts = [select(*wanted).where(*conditions) for conditions in selection]
    return (parts[0] if len(parts) == 1 else union_all(*parts)).subquery("chosen")


def _sums_of(rows: FromClause, columns: Sequence[str]) -> Select[Any]:
    kept = [rows.c[name] for name in columns]
    # Of no rows at all there is no sum either.
    return (
        select(*kept, func.sum(rows.c.amount).label("amount"))
        .group_by(*kept)
        .having(func.count() > 0)
    )


def _local(begin: ColumnElement[datetime], zone: tzinfo) -> ColumnElement[datetime]:
    where: ColumnElement[Any]
    if isinstance(zone, timezone):
        # In seconds alone: of an interval with days in it, PostgreSQL makes no time zone.
        ahead_s = zone.utcoffset(None).total_seconds()
        where = func.make_interval(0, 0, 0, 0, 0, 0, ahead_s)
    else:
        where = literal(str(zone))
    return func.timezone(where, begin, type_=DateTime)
