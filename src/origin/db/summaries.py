"""Sums over GGOs and transfers (contract: http-api, GGOs and Transfers).

Operations in flight count as done: the rows say so from the moment of the compose.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from typing import Any

from sqlalchemy.exc import DataError

from origin.db.engine import Database
from origin.db.ggos import Conditions, Query, matches, owned_by
from origin.domain.filters import Direction, GgoFilters, TransferFilters
from origin.domain.summaries import ALL_TIME, UNKNOWN, Grouping, GroupSums, Resolution
from origin.errors import Refused

_INVALID_PARAMETER_VALUE = "22023"

_COLUMNS: dict[Grouping, tuple[str, ...]] = {
    Grouping.BEGIN: ("begin",),
    Grouping.SECTOR: ("sector",),
    Grouping.TECHNOLOGY: ("technology_code", "fuel_code"),
    Grouping.TECHNOLOGY_CODE: ("technology_code",),
    Grouping.FUEL_CODE: ("fuel_code",),
}
"""What a grouping is made of."""

_VALUES: dict[Grouping, str] = {
    Grouping.BEGIN: "begin",
    Grouping.SECTOR: "sector",
    Grouping.TECHNOLOGY: f"coalesce(technology, '{UNKNOWN}')",
    Grouping.TECHNOLOGY_CODE: "technology_code",
    Grouping.FUEL_CODE: "fuel_code",
}

_LABELS = {
    Resolution.ALL: f"'{ALL_TIME}'",
    Resolution.YEAR: "to_char(local, 'YYYY')",
    Resolution.MONTH: "to_char(local, 'YYYY-MM')",
    Resolution.DAY: "to_char(local, 'YYYY-MM-DD')",
    Resolution.HOUR: "to_char(local, 'YYYY-MM-DD HH24:00')",
}


@dataclass(frozen=True)
class Split:
    """How to tell sums apart."""

    resolution: Resolution
    grouping: Sequence[Grouping]
    zone: tzinfo
    """A fixed offset, or a `ZoneInfo`: whose local time labels are in."""


Selection = list[Conditions]
"""Sets of GGOs without a common member."""


def own_ggos(owner_id: int, filters: GgoFilters, now: datetime) -> Selection:
    """The account's GGOs."""
    return [owned_by(owner_id) & matches(filters, now)]


def transfers(
    user_id: int, filters: TransferFilters, direction: Direction | None, now: datetime
) -> Selection:
    """The GGOs that were transferred to or from the account; no direction: both."""
    ends = {Direction.INBOUND: "owner_id", Direction.OUTBOUND: "sender_id"}
    return [
        Conditions([f"{end} = %(user_id)s", "sender_id <> owner_id"], {"user_id": user_id})
        & matches(filters, now)
        for each, end in ends.items()
        if direction in {each, None}
    ]


def total_amount(database: Database, selection: Selection) -> int:
    """Their Wh; 0 where there are none."""
    found = 0
    for conditions in selection:
        sql = f"SELECT coalesce(sum(amount), 0) FROM ggos WHERE {conditions}"  # noqa: S608 - values are bound
        found += int(database.query(sql, conditions.values)[0][0])
    return found


def sums(database: Database, selection: Selection, split: Split) -> Iterator[GroupSums]:
    """Their Wh by label, for each group.

    :raises Refused: the database doesn't know the zone.
    """
    query = _summary(selection, split)
    try:
        rows = database.query(query.sql, query.values)
    except DataError as error:
        if getattr(error.orig, "pgcode", None) != _INVALID_PARAMETER_VALUE:
            raise
        raise Refused({"timezone": ["Not known to the database."]}) from error
    for row in rows:
        values: list[Any] = list(row)
        amounts = values.pop()
        texts = [
            each.astimezone(split.zone).isoformat() if isinstance(each, datetime) else each
            for each in values
        ]
        yield GroupSums(tuple(texts), json.loads(amounts))


def _summary(selection: Selection, split: Split) -> Query:
    """Sum in steps: by begin, which the index has in order; by local time; by group.

    So time zones are reckoned with once for each begin, and labels of technologies are looked up
    once for each period, not for each GGO.
    """
    wanted = dict.fromkeys(column for each in split.grouping for column in _COLUMNS[each])
    columns = list(wanted)
    values = selection[0].values
    steps = _rows(selection, columns, split)
    if split.resolution is not Resolution.ALL:
        steps = _sums_of(steps, ["begin", *(each for each in columns if each != "begin")])
        local, zone_value = _local(split)
        values = {**values, "zone": zone_value, "period": split.resolution.value}
        steps = f"(SELECT date_trunc(%(period)s, {local}) AS local, * FROM {steps} AS hours)"  # noqa: S608
        steps = _sums_of(steps, ["local", *columns])
    else:
        steps = _sums_of(steps, columns)
    if Grouping.TECHNOLOGY in split.grouping:
        steps = f"({steps} AS coded LEFT JOIN technologies USING (technology_code, fuel_code))"
    else:
        steps = f"{steps} AS summed"
    groups = [f"{_VALUES[each]} AS group_{place}" for place, each in enumerate(split.grouping)]
    names = [f"group_{place}" for place, _ in enumerate(split.grouping)]
    label = _LABELS[split.resolution]
    # Of several codes with one label the sums meet here.
    labelled = _sums_of(
        f"(SELECT {', '.join([f'{label} AS label', *groups])}, amount FROM {steps})",  # noqa: S608
        ["label", *names],
    )
    chosen = ", ".join([*names, "json_object_agg(label, amount)::text"])
    by_group = f"GROUP BY {', '.join(names)}" if names else "HAVING count(*) > 0"
    return Query(f"SELECT {chosen} FROM {labelled} AS labelled {by_group}", values)  # noqa: S608


def _rows(selection: Selection, columns: Sequence[str], split: Split) -> str:
    begin = [] if split.resolution is Resolution.ALL or "begin" in columns else ["begin"]
    chosen = ", ".join([*begin, *columns, "amount"])
    parts = [f"SELECT {chosen} FROM ggos WHERE {conditions}" for conditions in selection]  # noqa: S608 - values are bound
    return f"({' UNION ALL '.join(parts)})"


def _sums_of(rows: str, columns: Sequence[str]) -> str:
    """The rows' amounts, summed for each combination of these columns; none for no rows."""
    kept = ", ".join(columns)
    by = f"GROUP BY {kept}" if columns else "HAVING count(*) > 0"
    chosen = ", ".join([*columns, "sum(amount) AS amount"])
    return f"(SELECT {chosen} FROM {rows} AS rows {by})"  # noqa: S608


def _local(split: Split) -> tuple[str, Any]:
    """The local time of `begin`, in SQL, with the value that it needs."""
    if isinstance(split.zone, timezone):
        # In seconds alone: of an interval with days in it, PostgreSQL makes no time zone.
        ahead_s = split.zone.utcoffset(None).total_seconds()
        return "timezone(make_interval(secs => %(zone)s), begin)", ahead_s
    return "timezone(%(zone)s, begin)", str(split.zone)
