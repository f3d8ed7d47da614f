"""SQL of balances: sums over an account's GGOs, and over what rollbacks tell of the past.

The state of a GGO at a moment follows from the times of its row (`origin.balances.queries.facts`). So the
balance of any moment costs the same as that of now, and is computed by the same statement.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from origin.balances.queries.facts import (
    PARTS,
    WHOLE_RETIRE,
    began_at,
    block_ended_at,
    came_from_another,
    held_bucket,
    is_incoming,
    retired_at,
    settled_at,
    spent_at,
)
from origin.balances.rules.balance import (
    AMOUNTS,
    Balances,
    Flow,
    GroupBy,
    month_begins,
    sum_up,
)
from origin.db.engine import Database

_UNKNOWN = "Unknown"

_CODES = {
    GroupBy.SECTOR: ("sector",),
    GroupBy.TECHNOLOGY: ("technology_code", "fuel_code"),
    GroupBy.MONTH: ("month",),
}
"""The columns that a grouping needs."""
_VALUES = {
    GroupBy.SECTOR: "sector",
    GroupBy.TECHNOLOGY: f"coalesce(technology, '{_UNKNOWN}')",
    GroupBy.MONTH: "(%(months)s::text[])[month]",
}
_FLOWS = {each.value for each in Flow}
# The number of the month. PostgreSQL may know other time zones than Python, or other rules of one.
_MONTH = "width_bucket({ggo}.begin, %(month_begins)s::timestamptz[]) AS month"


@dataclass(frozen=True)
class Account:
    """Whose balance it is.

    :ivar history_from: Before it there is no balance, and what the account held then opens its history.
        None: the history is complete.
    """

    id: int
    history_from: datetime | None


def balances(
    database: Database,
    account: Account,
    at: datetime,
    grouping: Sequence[GroupBy],
    zone: ZoneInfo,
    *,
    ledger_enabled: bool,
) -> Balances:
    """Return the balances at a moment of which no entry is written any more.

    :param at: At or after `account.history_from`.
    :param zone: Of the months.
    """
    values: dict[str, Any] = {
        "owner": account.id,
        "at": at,
        "history": account.history_from,
        "recipient": f'{{"parts": [{{"owner_id": {account.id}}}]}}',
    }
    if GroupBy.MONTH in grouping:
        months = month_begins(zone)
        values |= {"months": list(months), "month_begins": list(months.values())}
    statement = _statement(
        tuple(grouping),
        ledger_enabled=ledger_enabled,
        is_complete=account.history_from is None,
    )
    rows = database.query(statement, values)
    return sum_up(at, _read(rows, len(grouping)))


def _read(
    rows: Sequence[tuple[Any, ...]], count: int
) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """Yield what `sum_up` takes; `count` values of a row are the group's."""
    for row in rows:
        for name, amount in zip(AMOUNTS, row[count:], strict=True):
            if amount:
                yield tuple(row[:count]), name, int(amount)


@cache
def _statement(grouping: tuple[GroupBy, ...], *, ledger_enabled: bool, is_complete: bool) -> str:
    """Return the statement of rows: the grouping's values, then Wh by the order of `AMOUNTS`.

    :param is_complete: The account's history is.
    """
    codes = list(dict.fromkeys(column for each in grouping for column in _CODES[each]))
    held = {
        ggo: held_bucket(ggo, "%(at)s::timestamptz", ledger_enabled=ledger_enabled)
        for ggo in ("ggo", "source")
    }
    parts = [
        (_OWNED if is_complete else _OWNED_SINCE).format(
            keys=_keys(codes, "ggo"), held=held["ggo"]
        ),
        (_SENT if is_complete else _SENT_SINCE).format(keys=_keys(codes, "ggo")),
        _ROLLED_BACK.format(keys=_keys(codes, "source"), held=held["source"]),
        _ROLLED_BACK_TO.format(keys=_keys(codes, "source")),
    ]
    summed = " UNION ALL ".join(
        _SUMS.format(by="".join(f"{each}, " for each in codes), rows=_numbered(part))
        + (f" GROUP BY {', '.join(codes)}" if codes else "")
        for part in parts
    )
    labels = (
        "LEFT JOIN technologies USING (technology_code, fuel_code)"
        if GroupBy.TECHNOLOGY in grouping
        else ""
    )
    shown = "".join(f"{_VALUES[each]}, " for each in grouping)
    totals = ", ".join(f'sum("{name}")' for name in AMOUNTS)
    places = ", ".join(str(place + 1) for place in range(len(grouping)))
    by_group = f" GROUP BY {places}" if grouping else ""
    return f"SELECT {shown}{totals} FROM ({summed}) AS summed {labels}{by_group}"


def _numbered(sql: str) -> str:
    """Return the SQL with the places of amounts for their names: PostgreSQL compares numbers faster."""
    for place, name in enumerate(AMOUNTS):
        sql = sql.replace(f"'{name}'", str(place))
    return sql


def _keys(codes: Sequence[str], ggo: str) -> str:
    """Return the columns that a grouping needs of this row, for a list of columns."""
    return "".join(
        f"{_MONTH.format(ggo=ggo)}, " if each == "month" else f"{ggo}.{each}, " for each in codes
    )


_SUMS = "SELECT {{by}}{sums} FROM ({{rows}} OFFSET 0) AS moved".format(
    sums=", ".join(
        f'sum(amount) FILTER (WHERE {"flow" if name in _FLOWS else "bucket"} = {place}) AS "{name}"'
        for place, name in enumerate(AMOUNTS)
    )
)

# What the account owns or owned. The tests that most rows pass without a look-up come first.
_HAS_ARRIVED = f"coalesce(ggo.settled_at <= %(at)s::timestamptz, {settled_at('ggo')} <= %(at)s::timestamptz, false)"
_OWNED = f"""
SELECT {{keys}}amount,
    CASE
        WHEN created_at > %(at)s::timestamptz THEN NULL
        WHEN sender_id <> owner_id AND NOT {_HAS_ARRIVED} THEN 'pendingIn'
        WHEN stored OR spent_elsewhere OR {spent_at("ggo")} > %(at)s::timestamptz THEN {{held}}
        WHEN retire_gsrn IS NULL THEN NULL
        WHEN {retired_at("ggo")} <= %(at)s::timestamptz THEN 'retired'
        ELSE 'pendingRetired'
    END AS bucket,
    CASE
        WHEN created_at > %(at)s::timestamptz OR sender_id = owner_id THEN NULL
        WHEN parent_id IS NULL THEN 'issued'
        WHEN {_HAS_ARRIVED} THEN 'received'
    END AS flow
FROM ggos AS ggo WHERE owner_id = %(owner)s
"""

# What the account sent to others.
_SENT = f"""
SELECT {{keys}}amount,
    CASE WHEN created_at <= %(at)s::timestamptz AND NOT {_HAS_ARRIVED} THEN 'pendingOut' END AS bucket,
    CASE WHEN {_HAS_ARRIVED} THEN 'sent' END AS flow
FROM ggos AS ggo WHERE sender_id = %(owner)s AND sender_id <> owner_id
"""

# The same of an account whose history has a begin. `began` is when a GGO became the account's, `spent`
# when that ended. What was its own when its history began counts as issued or received then. OFFSET keeps
# PostgreSQL from computing the times again wherever they are used.
_OWNED_SINCE = f"""
SELECT {{keys}}amount,
    CASE
        WHEN began <= %(at)s::timestamptz THEN CASE
            WHEN spent IS NULL OR spent > %(at)s::timestamptz THEN {{held}}
            WHEN retire_gsrn IS NULL THEN NULL
            WHEN {retired_at("ggo")} <= %(at)s::timestamptz THEN 'retired'
            ELSE 'pendingRetired'
        END
        WHEN created_at <= %(at)s::timestamptz THEN 'pendingIn'
    END AS bucket,
    CASE
        WHEN began > %(at)s::timestamptz OR began IS NULL THEN NULL
        WHEN began <= %(history)s::timestamptz
            AND (spent IS NULL OR spent > %(history)s::timestamptz OR retire_gsrn IS NOT NULL)
            THEN CASE WHEN {came_from_another("ggo", "%(history)s::timestamptz")} THEN 'received' ELSE 'issued' END
        WHEN began <= %(history)s::timestamptz THEN NULL
        WHEN incoming THEN 'received'
        WHEN parent_id IS NULL THEN 'issued'
    END AS flow
FROM (
    SELECT *, {is_incoming("owned")} AS incoming, {began_at("owned")} AS began,
        {spent_at("owned")} AS spent
    FROM ggos AS owned WHERE owner_id = %(owner)s OFFSET 0
) AS ggo
"""

# What was on its way when its history began counts as
# issued or received then, as its source did.
_SENT_SINCE = f"""
SELECT {{keys}}amount,
    CASE WHEN settled <= %(at)s::timestamptz THEN NULL WHEN created_at <= %(at)s::timestamptz THEN 'pendingOut' END AS bucket,
    CASE
        WHEN settled <= %(history)s::timestamptz THEN NULL
        WHEN settled <= %(at)s::timestamptz THEN 'sent'
    END AS flow
FROM (
    SELECT *, {settled_at("sent")} AS settled
    FROM ggos AS sent WHERE sender_id = %(owner)s AND sender_id <> owner_id OFFSET 0
) AS ggo
UNION ALL
SELECT {{keys}}amount, NULL, CASE
        WHEN (SELECT {is_incoming("parent")} FROM ggos AS parent WHERE parent.id = ggo.parent_id)
        THEN 'received' ELSE 'issued'
    END
FROM (
    SELECT *, {settled_at("sent")} AS settled
    FROM ggos AS sent WHERE sender_id = %(owner)s AND sender_id <> owner_id
        AND created_at <= %(history)s::timestamptz
) AS ggo
WHERE settled IS NULL OR settled > %(history)s::timestamptz
"""

# Orders that the ledger refused later, and blocks. Each move is two rows: out of the bucket in which
# the source stands above, and into the other.
_ROLLED_BACK = f"""
SELECT {{keys}}CASE WHEN side = 0 THEN -move.amount ELSE move.amount END AS amount,
    CASE WHEN side = 0 THEN {{held}} ELSE move.bucket END AS bucket, NULL::int AS flow
FROM rollbacks AS rollback
JOIN ggos AS source ON source.id = rollback.ggo_id
CROSS JOIN LATERAL (
    SELECT part.amount, CASE WHEN part.retired THEN 'pendingRetired' ELSE 'pendingOut' END AS bucket
    FROM {PARTS.format(rollback="rollback", part="part")}
    WHERE (part.retired OR part.owner_id <> part.sender_id)
        AND rollback.accepted_at <= %(at)s::timestamptz AND rollback.declined_at > %(at)s::timestamptz
    UNION ALL
    SELECT source.amount, 'pendingRetired' WHERE {WHOLE_RETIRE.format(rollback="rollback")}
        AND rollback.accepted_at <= %(at)s::timestamptz AND rollback.declined_at > %(at)s::timestamptz
    UNION ALL
    SELECT source.amount, 'blocked' WHERE rollback.blocked
        AND rollback.declined_at <= %(at)s::timestamptz AND {block_ended_at("rollback", "source")} > %(at)s::timestamptz
) AS move
CROSS JOIN (VALUES (0), (1)) AS sides (side)
WHERE rollback.user_id = %(owner)s AND rollback.accepted_at <= %(at)s::timestamptz
"""

# What was on its way to the account, and did not arrive.
_ROLLED_BACK_TO = f"""
SELECT {{keys}}part.amount, 'pendingIn' AS bucket, NULL::int AS flow
FROM rollbacks AS rollback
JOIN ggos AS source ON source.id = rollback.ggo_id
CROSS JOIN LATERAL {PARTS.format(rollback="rollback", part="part")}
WHERE rollback.undone @> %(recipient)s::jsonb AND rollback.user_id <> %(owner)s
    AND rollback.accepted_at <= %(at)s::timestamptz AND rollback.declined_at > %(at)s::timestamptz
    AND part.owner_id = %(owner)s
"""
