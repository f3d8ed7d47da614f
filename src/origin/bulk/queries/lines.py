"""Lists of what was transferred and retired: a line for each part, of composes and bulks alike.

Lines go by the begin of their GGO, so the indexes of transfers and of retired GGOs serve them. Parts of
declined batches are read from `rollbacks`, which are few.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from origin.balances.queries.facts import settled_at, spent_at
from origin.db.engine import Database
from origin.ggos.rules.summaries import UNKNOWN
from origin.shared.periods import Period

_STATUS = "coalesce(lower(batch.state), 'completed')"
"""A part that has no batch here was adopted or recovered."""

_MADE = """
LEFT JOIN LATERAL (
    SELECT * FROM batches WHERE ggo_id = ggos.parent_id AND state <> 'DECLINED'
    ORDER BY id DESC LIMIT 1
) AS batch ON true
"""

_OUT = f"""
SELECT ggos.created_at AS at, {_STATUS} AS status, ggos.amount, 'out' AS direction,
    users.subject AS account, reference, NULL AS gsrn, address, begin, "end", sector,
    technology_code, fuel_code, operation_id
FROM ggos JOIN users ON users.id = owner_id {_MADE}
WHERE sender_id = %(user_id)s AND sender_id <> owner_id
"""

_IN = f"""
SELECT {settled_at("ggos")} AS at, 'completed' AS status, amount, 'in' AS direction,
    users.subject AS account, reference, NULL AS gsrn, address, begin, "end", sector,
    technology_code, fuel_code, NULL::uuid AS operation_id
FROM ggos JOIN users ON users.id = sender_id
WHERE owner_id = %(user_id)s AND sender_id <> owner_id AND {settled_at("ggos")} IS NOT NULL
"""

_ROLLED_BACK = """
SELECT batch.created_at AS at, 'declined' AS status, part.amount, {direction} AS direction,
    {account} AS account, part.reference, part.retire_gsrn AS gsrn, part.address, begin, "end",
    sector, technology_code, fuel_code, operation_id
FROM rollbacks JOIN batches AS batch ON batch.id = batch_id JOIN ggos ON ggos.id = rollbacks.ggo_id
CROSS JOIN LATERAL ({parts}) AS part
WHERE rollbacks.user_id = %(user_id)s AND redone_at IS NULL AND state = 'DECLINED' AND {kind}
"""
_UNDONE_PARTS = """
SELECT * FROM jsonb_to_recordset(rollbacks.undone -> 'parts') AS part (
    address text, amount bigint, owner_id bigint, reference text, retire_gsrn text,
    retire_address text
)
"""
_UNDONE_WHOLE = """
SELECT ggos.address, ggos.amount, ggos.owner_id, NULL, rollbacks.undone ->> 'retire_gsrn',
    rollbacks.undone ->> 'retire_address'
"""
_DECLINED_OUT = _ROLLED_BACK.format(
    direction="'out'",
    account="(SELECT subject FROM users WHERE users.id = part.owner_id)",
    parts=_UNDONE_PARTS,
    kind="part.owner_id <> rollbacks.user_id",
)
_DECLINED_RETIRES = _ROLLED_BACK.format(
    direction="NULL",
    account="NULL",
    parts=f"{_UNDONE_PARTS} UNION ALL {_UNDONE_WHOLE}",
    kind="part.retire_address IS NOT NULL",
)

_RETIRES = f"""
SELECT {spent_at("ggos")} AS at, {_STATUS} AS status, ggos.amount, NULL AS direction,
    NULL AS account, NULL AS reference, retire_gsrn AS gsrn, address, begin, "end", sector,
    technology_code, fuel_code, operation_id
FROM ggos LEFT JOIN (
    transactions JOIN batches AS batch ON batch.id = transactions.batch_id
) ON transactions.ggo_id = ggos.id
WHERE owner_id = %(user_id)s AND retired
"""

_OF_OPERATION = {
    _OUT: "AND ggos.parent_id IN (SELECT ggo_id FROM batches WHERE operation_id = %(operation)s)",
    _IN: "AND false",
    _RETIRES: """AND ggos.id IN (
        SELECT spent.ggo_id FROM transactions AS spent JOIN batches AS own ON own.id = spent.batch_id
        WHERE own.operation_id = %(operation)s
    )""",
}
"""Conditions that narrow a source down to an operation, besides that of the line."""

_ORDER = "begin DESC, address DESC, at DESC"

_PAGE = f"""
SELECT at, status, amount, direction, account, reference, gsrn, address, begin, "end", sector,
    coalesce((
        SELECT technology FROM technologies AS label
        WHERE label.technology_code = line.technology_code AND label.fuel_code = line.fuel_code
    ), '{UNKNOWN}'), operation_id::text
FROM ({{sources}}) AS line ORDER BY {_ORDER} LIMIT %(limit)s
"""


@dataclass(frozen=True)
class LineFilter:
    """Which lines a list has; None and empty lists stand for all.

    :ivar period: Lines of GGOs that begin in it.
    :ivar account: The recipient's or the sender's subject.
    """

    period: Period
    operation: UUID | None = None
    account: str | None = None
    reference: str | None = None
    gsrns: Collection[str] = ()


@dataclass(frozen=True)
class Line:
    """A part that was transferred or retired; `amount` in Wh, times in UTC.

    :ivar at: When its order was accepted; of an incoming one, when the ledger had committed it.
    :ivar direction: `out` or `in`; None of a retirement.
    :ivar address: Of the part.
    :ivar operation: Its id, as text.
    """

    at: datetime
    status: str
    amount: int
    direction: str | None
    account: str | None
    reference: str | None
    gsrn: str | None
    address: str
    begin: datetime
    end: datetime
    sector: str
    technology: str
    operation: str | None

    @property
    def key(self) -> tuple[datetime, str, datetime]:
        """The line's place in the list."""
        return self.begin, self.address, self.at


def transfers(
    database: Database,
    user_id: int,
    directions: Collection[str],
    wanted: LineFilter,
    after: tuple[Any, ...] | None,
    limit: int,
) -> list[Line]:
    """Return transfers from and to the account, those of the latest GGOs first.

    Transfers to oneself are none. Incoming ones are those that the ledger has committed.

    :param directions: `in`, `out`; empty for both.
    :param after: The key of the line before the page.
    """
    sources = []
    if not directions or "out" in directions:
        sources += [_OUT, _DECLINED_OUT]
    if not directions or "in" in directions:
        sources.append(_IN)
    return _page(database, user_id, sources, wanted, after, limit)


def retirements(
    database: Database,
    user_id: int,
    wanted: LineFilter,
    after: tuple[Any, ...] | None,
    limit: int,
) -> list[Line]:
    """Return what the account has retired, of the latest GGOs first.

    :param after: The key of the line before the page.
    """
    return _page(database, user_id, [_RETIRES, _DECLINED_RETIRES], wanted, after, limit)


def _page(
    database: Database,
    user_id: int,
    sources: Collection[str],
    wanted: LineFilter,
    after: tuple[Any, ...] | None,
    limit: int,
) -> list[Line]:
    tests, values = _conditions(wanted, after)
    where = f"SELECT * FROM ({{}}) AS line WHERE {' AND '.join(tests)}"
    narrowed = _OF_OPERATION if wanted.operation is not None else {}
    parts = [
        f"({where.format(source + narrowed.get(source, ''))} ORDER BY {_ORDER} LIMIT %(limit)s)"
        for source in sources
    ]
    sql = _PAGE.format(sources=" UNION ALL ".join(parts))
    rows = database.query(sql, values | {"user_id": user_id, "limit": limit})
    return [Line(*row) for row in rows]


def _conditions(
    wanted: LineFilter, after: tuple[Any, ...] | None
) -> tuple[list[str], dict[str, Any]]:
    tests = ["begin >= %(begin)s", "begin < %(end)s"]
    values: dict[str, Any] = {"begin": wanted.period.begin, "end": wanted.period.end}
    if after is not None:
        # The first condition bounds the scan of an index.
        tests.append("begin <= %(after_begin)s")
        tests.append("(begin, address, at) < (%(after_begin)s, %(after_address)s, %(after_at)s)")
        values |= zip(("after_begin", "after_address", "after_at"), after, strict=True)
    for name in ("account", "reference"):
        if (value := getattr(wanted, name)) is not None:
            tests.append(f"{name} = %({name})s")
            values[name] = value
    if wanted.operation is not None:
        tests.append("operation_id = %(operation)s")
        values["operation"] = str(wanted.operation)
    if wanted.gsrns:
        tests.append("gsrn = ANY(%(gsrns)s)")
        values["gsrns"] = list(wanted.gsrns)
    return tests, values
