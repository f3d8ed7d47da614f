"""Questions about an account's GGOs (contract: http-api, GGOs).

Each is answered from one index that holds all it needs (`Ggo.__table_args__`), for what is stored,
issued or retired from a partial one: the cost is that of the range asked for, whatever the account
once held. Rows become JSON in the database: a listing makes no object for each. Written as SQL,
since building and running the like by SQLAlchemy's expressions takes longer than the database does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from origin.domain.filters import Category, GgoFilters, TransferFilters
from origin.domain.listing import Cursor, Key, Value

_LISTS = (
    "address",
    "sector",
    "technology_code",
    "fuel_code",
    "issue_gsrn",
    "retire_gsrn",
    "retire_address",
)

_CATEGORIES = {
    Category.ISSUED: "issue_gsrn IS NOT NULL",
    Category.STORED: "stored AND expire_time > %(now)s",
    Category.RETIRED: "retired",
    Category.EXPIRED: "stored AND expire_time <= %(now)s",
}

# The label is looked up for the page's rows alone.
_LISTING = """
SELECT row_to_json(ggo)::text {keys}
FROM (
    SELECT id, address, sector, begin, "end", amount, technology_code, fuel_code, emissions,
        issue_gsrn
    FROM ggos WHERE {conditions} ORDER BY {order} OFFSET %(offset)s LIMIT %(limit)s
) AS page, LATERAL (
    SELECT page.address, page.sector, page.begin, page."end", page.amount,
        (SELECT technology FROM technologies AS label
         WHERE label.technology_code = page.technology_code AND label.fuel_code = page.fuel_code
        ) AS technology,
        page.technology_code AS "technologyCode", page.fuel_code AS "fuelCode",
        page.emissions, page.issue_gsrn AS "issueGsrn"
) AS ggo
"""


@dataclass(frozen=True)
class Query:
    """SQL with places for values, as the driver has them: `%(name)s`."""

    sql: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """What is asked of a row of `ggos`, combined by AND."""

    tests: Sequence[str]
    values: dict[str, Any]

    def __and__(self, other: "Conditions") -> "Conditions":
        return Conditions([*self.tests, *other.tests], {**self.values, **other.values})

    def __str__(self) -> str:
        return " AND ".join(self.tests)


def matches(filters: GgoFilters, now: datetime) -> Conditions:
    """What these filters ask, whoever owns the GGO."""
    tests: list[str] = []
    values: dict[str, Any] = {"now": now}
    if filters.begin is not None:
        tests.append("begin = %(at)s")
        values["at"] = filters.begin
    if filters.begin_range is not None:
        tests.append("begin BETWEEN %(begin)s AND %(end)s")
        values["begin"], values["end"] = filters.begin_range
    lists = {name: getattr(filters, name) for name in _LISTS}
    if isinstance(filters, TransferFilters):
        lists["reference"] = filters.reference
    for name, wanted in lists.items():
        if wanted:
            tests.append(f"{name} = ANY(%({name})s)")
            values[name] = list(wanted)
    # These follow from the lists, and lead to the partial indexes.
    if filters.issue_gsrn:
        tests.append("issue_gsrn IS NOT NULL")
    if filters.retire_gsrn or filters.retire_address:
        tests.append("retired")
    if filters.category is not None:
        tests.append(_CATEGORIES[filters.category])
    return Conditions(tests, values)


def settled(owner_id: int, filters: GgoFilters, now: datetime) -> Conditions:
    """The owner's GGOs that are in step with the ledger."""
    return owned_by(owner_id) & matches(filters, now) & Conditions(["NOT locked"], {})


def owned_by(owner_id: int) -> Conditions:
    """The owner's GGOs."""
    return Conditions(["owner_id = %(owner_id)s"], {"owner_id": owner_id})


def count(conditions: Conditions) -> Query:
    """How many there are: one row of one column."""
    return Query(f"SELECT count(*) FROM ggos WHERE {conditions}", conditions.values)  # noqa: S608 - values are bound


def listing(
    conditions: Conditions,
    keys: Sequence[Key],
    *,
    offset: int = 0,
    limit: int | None = None,
    after: Cursor | None = None,
    with_keys: bool = False,
) -> Query:
    """GGO objects as JSON text (contract: http-api, The GGO object).

    :param after: Only those that come after this one, in the order of the keys.
    :param with_keys: Each row also has the values of the keys.
    """
    if after is not None:
        conditions &= _comes_after(keys, after.values)
    sql = _LISTING.format(
        conditions=conditions,
        order=", ".join(f"{key.column} {'DESC' if key.descending else 'ASC'}" for key in keys),
        keys="".join(f", page.{key.column}" for key in keys) if with_keys else "",
    )
    return Query(sql, {**conditions.values, "offset": offset, "limit": limit})


def page(conditions: Conditions, keys: Sequence[Key], *, offset: int, limit: int) -> Query:
    """One row: how many there are, and a page of GGO objects as JSON text between commas.

    In one statement, so that both are of one moment; the text is None where the page is empty.
    """
    counted, listed = count(conditions), listing(conditions, keys, offset=offset, limit=limit)
    sql = (
        f"SELECT ({counted.sql}), (SELECT string_agg(json, ',') FROM ({listed.sql}) AS page(json))"  # noqa: S608 - values are bound
    )
    return Query(sql, listed.values)


def _comes_after(keys: Sequence[Key], values: Sequence[Value]) -> Conditions:
    """The row is behind these values, by keys that may go in different directions."""
    places = [f"%(after_{key.column})s" for key in keys]
    bound = {f"after_{key.column}": value for key, value in zip(keys, values, strict=True)}
    signs = ["<" if key.descending else ">" for key in keys]
    if len(set(signs)) == 1:
        row = ", ".join(key.column for key in keys)
        return Conditions([f"({row}) {signs[0]} ({', '.join(places)})"], bound)
    columns = [key.column for key in keys]
    beyond = [
        f"{column} {sign} {at}" for column, sign, at in zip(columns, signs, places, strict=True)
    ]
    equal = [f"{column} = {at}" for column, at in zip(columns, places, strict=True)]
    cases = _any(" AND ".join([*equal[:number], beyond[number]]) for number in range(len(keys)))
    # The first follows from the second, and is a bound for an index.
    return Conditions([_any([beyond[0], equal[0]]), cases], bound)


def _any(tests: Iterable[str]) -> str:
    return f"({' OR '.join(tests)})"
