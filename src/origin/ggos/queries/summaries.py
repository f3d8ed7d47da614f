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
from origin.ggos.queries.ggos import Conditions, Query, matches, owned_by
from origin.ggos.rules.filters import Direction, GgoFilters, TransferFilters
from origin.ggos.rules.summaries import (
    ALL_TIME,
    UNKNOWN,
    Grouping,
    GroupSums,
    Periods,
    Resolution,
    TimeZoneUnknown,
    periods,
)

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


_PERIOD = "width_bucket(begin, %(begins)s::timestamptz[]) AS period"
"""The number of the period that holds it, from 1."""


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
        Conditions([f"{end} = %(user_id)s AND sender_id <> owner_id"], {"user_id": user_id})
        & matches(filters, now)
        for each, end in ends.items()
        if direction in {each, None}
    ]


def total_amount(database: Database, selection: Selection) -> int:
    """Return the GGOs' sum in Wh, 0 if there are none."""
    total = 0
    for conditions in selection:
        sql = f"SELECT sum(amount) FROM ggos WHERE {conditions}"
        # An hour's takes longer to plan than to sum.
        is_short = conditions.is_plain and "at" in conditions.values
        ask = database.prepared if is_short else database.query
        ((amount,),) = ask(sql, conditions.values)
        total += int(amount or 0)
    return total


def sums(database: Database, selection: Selection, split: Split) -> Iterator[GroupSums]:
    """Their Wh by label, for each group.

    :raises TimeZoneUnknown: The database does not know the zone.
    """
    found = _periods(database, selection, split)
    rows = _ask(database, _summary(selection, split, found))
    if found is not None and not all(_are_within(found, row[-1]) for row in rows):
        # The account has got what lies beyond since its first and last were looked up.
        found = None
        rows = _ask(database, _summary(selection, split, found))
    for *values, amounts in rows:
        if found is not None:
            labels = found.labels
            amounts = {labels[int(place) - 1]: amount for place, amount in amounts.items()}  # noqa: PLW2901 - the same, by label
        texts = [
            each.astimezone(split.zone).isoformat() if isinstance(each, datetime) else each
            for each in values
        ]
        yield GroupSums(tuple(texts), amounts)


def _ask(database: Database, query: Query) -> list[list[Any]]:
    """Of each group: its values, and at last its amounts by label or by the number of the period.

    :raises TimeZoneUnknown: The database does not know the zone.
    """
    try:
        rows = database.query(query.sql, query.values)
    except DataError as error:
        if getattr(error.orig, "pgcode", None) != _INVALID_PARAMETER_VALUE:
            raise
        raise TimeZoneUnknown from error
    return [[*values, json.loads(amounts)] for *values, amounts in rows]


def _are_within(found: Periods, amounts: dict[str, int]) -> bool:
    """Whether all of these lie in the periods: not before the first (0), nor after the last."""
    return "0" not in amounts and str(len(found.labels) + 1) not in amounts


def _periods(database: Database, selection: Selection, split: Split) -> Periods | None:
    """The periods that the GGOs lie in, where it is cheaper to look them up than to reckon with zones.

    Not where sums are told apart by hours anyway.
    """
    if split.resolution in {Resolution.ALL, Resolution.HOUR} or Grouping.BEGIN in split.grouping:
        return None
    values = selection[0].values
    ends: Sequence[datetime] = [values[name] for name in ("begin", "end") if name in values]
    if not ends:
        ends = _span(database, selection)
    return periods(min(ends), max(ends), split.resolution, split.zone) if ends else None


def _span(database: Database, selection: Selection) -> list[datetime]:
    """The first and the last begin of all that the account has, whatever is asked of it.

    The ends of an index; where few of the GGOs are asked for, theirs would have to be searched.
    """
    found: list[datetime] = []
    for conditions in selection:
        sql = f"SELECT min(begin), max(begin) FROM ggos WHERE {conditions.whose}"
        found += (each for each in database.prepared(sql, conditions.values)[0] if each is not None)
    return found


def _summary(selection: Selection, split: Split, found: Periods | None) -> Query:
    """Sum in steps: by period and codes; by group and label.

    Where periods are known, a begin's is looked up among their begins. Otherwise what is summed first
    is each begin, so that time zones are reckoned with once for each of them, not for each GGO.
    """
    wanted = dict.fromkeys(column for each in split.grouping for column in _COLUMNS[each])
    columns = list(wanted)
    values = selection[0].values
    label = _LABELS[split.resolution]
    if found is not None:
        # As PostgreSQL writes it: the driver would take its time with each.
        values = {**values, "begins": f"{{{','.join([*found.begins, found.past])}}}"}
        steps = _sums_of(_rows(selection, [_PERIOD, *columns]), ["period", *columns])
        label = "period"
    elif split.resolution is not Resolution.ALL:
        begins = ["begin", *(each for each in columns if each != "begin")]
        steps = _sums_of(_rows(selection, begins), begins)
        local, zone_value = _local(split)
        values = {**values, "zone": zone_value, "period": split.resolution.value}
        steps = f"(SELECT date_trunc(%(period)s, {local}) AS local, * FROM {steps} AS hours)"
        steps = _sums_of(steps, ["local", *columns])
    else:
        steps = _sums_of(_rows(selection, columns), columns)
    if Grouping.TECHNOLOGY in split.grouping:
        steps = f"({steps} AS coded LEFT JOIN technologies USING (technology_code, fuel_code))"
    else:
        steps = f"{steps} AS summed"
    groups = [f"{_VALUES[each]} AS group_{place}" for place, each in enumerate(split.grouping)]
    names = [f"group_{place}" for place, _ in enumerate(split.grouping)]
    # Of several codes with one label the sums meet here.
    labelled = _sums_of(
        f"(SELECT {', '.join([f'{label} AS label', *groups])}, amount FROM {steps})",
        ["label", *names],
    )
    chosen = ", ".join([*names, "json_object_agg(label, amount)::text"])
    by_group = f"GROUP BY {', '.join(names)}" if names else "HAVING count(*) > 0"
    return Query(f"SELECT {chosen} FROM {labelled} AS labelled {by_group}", values)


def _rows(selection: Selection, columns: Sequence[str]) -> str:
    chosen = ", ".join([*columns, "amount"])
    parts = [f"SELECT {chosen} FROM ggos WHERE {conditions}" for conditions in selection]
    return f"({' UNION ALL '.join(parts)})"


def _sums_of(rows: str, columns: Sequence[str]) -> str:
    """The rows' amounts, summed for each combination of these columns; none for no rows."""
    kept = ", ".join(columns)
    by = f"GROUP BY {kept}" if columns else "HAVING count(*) > 0"
    chosen = ", ".join([*columns, "sum(amount) AS amount"])
    return f"(SELECT {chosen} FROM {rows} AS rows {by})"


def _local(split: Split) -> tuple[str, Any]:
    """The local time of `begin`, in SQL, with the value that it needs."""
    if isinstance(split.zone, timezone):
        # In seconds alone: of an interval with days in it, PostgreSQL makes no time zone.
        ahead_s = split.zone.utcoffset(None).total_seconds()
        return "timezone(make_interval(secs => %(zone)s), begin)", ahead_s
    return "timezone(%(zone)s, begin)", str(split.zone)
