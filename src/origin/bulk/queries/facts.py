"""What planning reads: accounts, metering points, candidates, and what is retired already. No locks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from origin.bulk.rules.orders import Selection
from origin.bulk.rules.stock import Candidate, GgoOrder
from origin.compose.queries.compose import ComposingAccount, ConsumptionPointRow
from origin.db.raw_connections import RawConnection, Row
from origin.ggos.queries.expiry import not_expired
from origin.ggos.rules.summaries import UNKNOWN
from origin.shared.native_threads import run_in_native_thread

_ACCOUNTS = """
SELECT id, subject, disabled_at IS NOT NULL, master_key FROM users
WHERE id = %(caller)s OR subject = ANY(%(subjects)s::text[])
"""

_POINTS = """
SELECT id, gsrn, key_index FROM metering_points
WHERE user_id = %(caller)s AND type = 'consumption' ORDER BY gsrn
"""

SPENDABLE = "stored AND NOT locked AND NOT key_mismatch AND NOT (never_sent AND %(ledger_enabled)s)"
"""The SQL condition that a GGO which has not expired can be spent (`origin.compose.rules.Source`)."""

# The collation makes ties as the rules do (`origin.bulk.rules.stock`).
_TIES = 'begin, sector COLLATE "C", issue_time, address COLLATE "C"'
_FIRST_BY = {
    GgoOrder.EXPIRY_FIRST: "expire_time",
    GgoOrder.OLDEST_FIRST: "begin",
    GgoOrder.NEWEST_FIRST: "begin DESC",
    GgoOrder.LARGEST_FIRST: "amount DESC",
}

_CANDIDATES = f"""
WITH candidate AS (
    SELECT ggos.id, address, amount, begin, "end", sector,
        coalesce(label.technology, '{UNKNOWN}') AS technology, issue_time, expire_time
    FROM ggos LEFT JOIN technologies AS label
        ON label.technology_code = ggos.technology_code AND label.fuel_code = ggos.fuel_code
    WHERE owner_id = %(caller)s AND {SPENDABLE} AND {not_expired("clock_timestamp()")} {{selected}}
)
SELECT candidate.*, count(*) OVER (), (sum(amount) OVER ())::bigint FROM candidate
ORDER BY {{first_by}}, {_TIES} LIMIT %(most)s
"""

_LISTS = {
    "sector": "sector",
    "technology": f"coalesce(label.technology, '{UNKNOWN}')",
    "technology_code": "ggos.technology_code",
    "fuel_code": "ggos.fuel_code",
    "issue_gsrn": "issue_gsrn",
    "address": "address",
}
"""SQL of what the lists of a selection compare, by their names."""

_RETIRED = """
SELECT retire_address, sum(amount) FROM ggos
WHERE retired AND retire_address IN (SELECT unnest(%(addresses)s::text[]))
GROUP BY retire_address
"""


@dataclass(frozen=True)
class Stock:
    """The GGOs that an order may spend.

    :ivar candidates: The first of them in the order's order.
    :ivar count: How many there are in all.
    :ivar amount: The Wh of all of them.
    """

    candidates: Sequence[Candidate]
    count: int
    amount: int


def find_accounts(
    connection: RawConnection, caller_id: int, subjects: Iterable[str]
) -> dict[str, ComposingAccount]:
    """Return the caller's account and those of existing recipients, by subject."""
    values = {"caller": caller_id, "subjects": _array(subjects)}
    rows = connection.prepared(_ACCOUNTS, values)
    return {row[1]: ComposingAccount(*row) for row in rows}


def find_points(connection: RawConnection, caller_id: int) -> dict[str, ConsumptionPointRow]:
    """Return the caller's consumption points by GSRN."""
    rows = connection.prepared(_POINTS, {"caller": caller_id})
    return {row[1]: ConsumptionPointRow(*row) for row in rows}


def find_stock(
    connection: RawConnection,
    caller_id: int,
    select: Selection,
    order: GgoOrder,
    *,
    ledger_enabled: bool,
    most: int,
) -> Stock:
    """Return the caller's GGOs that are selected and can be spent now.

    :param ledger_enabled: LEDGER_ENABLED.
    :param most: How many candidates to return at most.
    """
    tests, values = _selected(select)
    sql = _CANDIDATES.format(
        selected="".join(f" AND {test}" for test in tests), first_by=_FIRST_BY[order]
    )
    more = {"caller": caller_id, "ledger_enabled": ledger_enabled, "most": most}
    rows = connection.rows(sql, values | more)
    if not rows:
        return Stock([], 0, 0)
    return Stock(run_in_native_thread(_candidates, rows), rows[0][-2], rows[0][-1])


def _candidates(rows: Sequence[Row]) -> list[Candidate]:
    return [Candidate(*row[:-2]) for row in rows]


def _selected(select: Selection) -> tuple[list[str], dict[str, Any]]:
    """Return the SQL conditions of a selection, and their values."""
    tests: list[str] = []
    values: dict[str, Any] = {}
    for name, column in _LISTS.items():
        if wanted := getattr(select, name):
            tests.append(f"{column} = ANY(%({name})s::text[])")
            values[name] = _array(wanted)
    if select.issue_gsrn:
        # The list implies it; a partial index needs it.
        tests.append("issue_gsrn IS NOT NULL")
    if select.period is not None:
        tests.append("begin >= %(begin)s AND begin < %(end)s")
        values |= {"begin": select.period.begin, "end": select.period.end}
    if select.expires_before is not None:
        tests.append("expire_time < %(expires_before)s")
        values["expires_before"] = select.expires_before
    return tests, values


def retired_to(connection: RawConnection, addresses: Collection[str]) -> Mapping[str, int]:
    """Return the Wh retired to the measurements at these addresses, in flight included."""
    if not addresses:
        return {}
    rows = connection.rows(_RETIRED, {"addresses": _array(addresses)})
    return {address: int(amount) for address, amount in rows}


def _array(texts: Iterable[str]) -> str:
    """Return texts as one literal of an array, which PostgreSQL reads faster than thousands."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"
