"""Sums over GGOs and transfers (contract: http-api.md, GGOs and Transfers).

Operations in flight count as done: a compose writes its rows before the ledger knows of it.
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
    TimeZoneUnknown,
)
from origin.shared.periods import Resolution

_INVALID_PARAMETER_VALUE = "22023"

_COLUMNS: dict[Grouping, tuple[str, ...]] = {
    Grouping.BEGIN: ("begin",),
    Grouping.SECTOR: ("sector",),
    Grouping.TECHNOLOGY: ("technology_code", "fuel_code"),
    Grouping.TECHNOLOGY_CODE: ("technology_code",),
    Grouping.FUEL_CODE: ("fuel_code",),
}
"""The columns of `ggos` that a grouping needs."""

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
    """How sums are split: by periods of local time, and by groups."""

    resolution: Resolution
    grouping: Sequence[Grouping]
    zone: tzinfo
    """The zone of the labels: a fixed offset or a `ZoneInfo`."""


Selection = list[Conditions]
"""Sets of GGOs that have no GGO in common."""


def own_ggos(owner_id: int, filters: GgoFilters, now: datetime) -> Selection:
    """Return the selection of the account's GGOs that match."""
    return [owned_by(owner_id) & matches(filters, now)]


def transfers(
    user_id: int, filters: TransferFilters, direction: Direction | None, now: datetime
) -> Selection:
    """Return the selection of GGOs that were transferred to or from the account; None: both."""
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
        # The sum of an hour takes longer to plan than to run.
        is_short = conditions.is_plain and "at" in conditions.values
        ask = database.prepared if is_short else database.query
        ((amount,),) = ask(sql, conditions.values)
        total += int(amount or 0)
    return total


def sums(database: Database, selection: Selection, split: Split) -> Iterator[GroupSums]:
    """Yield the selection's Wh by label, for each group.

    :raises TimeZoneUnknown: The database does not know the zone.
    """
    query = _summary(selection, split)
    try:
        rows = database.query(query.sql, query.values)
    except DataError as error:
        if getattr(error.orig, "pgcode", None) != _INVALID_PARAMETER_VALUE:
            raise
        raise TimeZoneUnknown from error
    for *values, amounts in rows:
        texts = [
            each.astimezone(split.zone).isoformat() if isinstance(each, datetime) else each
            for each in values
        ]
        yield GroupSums(tuple(texts), json.loads(amounts))


def _summary(selection: Selection, split: Split) -> Query:
    """Return the query of `sums`: a row of each group's values, then a JSON object of Wh by label.

    It sums in two steps: first by period and codes, then by label and group. So labels are written and
    looked up once per period, not once per GGO.
    """
    columns = list(dict.fromkeys(column for each in split.grouping for column in _COLUMNS[each]))
    values = selection[0].values
    if split.resolution is Resolution.ALL:
        summed = _sums_of(_rows(selection, columns), columns)
    else:
        local, zone_value = _local(split)
        values = {**values, "zone": zone_value, "period": split.resolution.value}
        period = f"date_trunc(%(period)s, {local}) AS local"
        summed = _sums_of(_rows(selection, [period, *columns]), ["local", *columns])
    if Grouping.TECHNOLOGY in split.grouping:
        summed = f"({summed} AS coded LEFT JOIN technologies USING (technology_code, fuel_code))"
    else:
        summed = f"{summed} AS summed"
    groups = [f"{_VALUES[each]} AS group_{place}" for place, each in enumerate(split.grouping)]
    names = [f"group_{place}" for place, _ in enumerate(split.grouping)]
    # Several pairs of codes may have one label: their sums are added here.
    labelled = ", ".join([f"{_LABELS[split.resolution]} AS label", *groups, "amount"])
    labelled = _sums_of(f"(SELECT {labelled} FROM {summed})", ["label", *names])
    chosen = ", ".join([*names, "json_object_agg(label, amount)::text"])
    by_group = f"GROUP BY {', '.join(names)}" if names else "HAVING count(*) > 0"
    return Query(f"SELECT {chosen} FROM {labelled} AS labelled {by_group}", values)


def _rows(selection: Selection, columns: Sequence[str]) -> str:
    """Return SQL of these columns and the amount of each GGO of the selection."""
    chosen = ", ".join([*columns, "amount"])
    parts = [f"SELECT {chosen} FROM ggos WHERE {conditions}" for conditions in selection]
    return f"({' UNION ALL '.join(parts)})"


def _sums_of(rows: str, columns: Sequence[str]) -> str:
    """Return SQL that sums the amounts for each combination of these columns; no rows give no sum."""
    kept = ", ".join(columns)
    by = f"GROUP BY {kept}" if columns else "HAVING count(*) > 0"
    chosen = ", ".join([*columns, "sum(amount) AS amount"])
    return f"(SELECT {chosen} FROM {rows} AS rows {by})"


def _local(split: Split) -> tuple[str, Any]:
    """Return SQL of the local time of `begin`, and its value of `zone`."""
    if isinstance(split.zone, timezone):
        # In seconds: PostgreSQL makes no time zone of an interval with days in it.
        ahead_s = split.zone.utcoffset(None).total_seconds()
        return "timezone(make_interval(secs => %(zone)s), begin)", ahead_s
    return "timezone(%(zone)s, begin)", str(split.zone)
