"""Queries of an account's GGOs (contract: http-api.md, GGOs).

Each query reads one index that has all it needs (`Ggo.__table_args__`); for stored, issued and retired
GGOs that is a partial index. So the cost depends on the requested range, not on all that the account
ever held. PostgreSQL makes the JSON, so that a listing needs no Python object per GGO. The queries are
SQL text: SQLAlchemy takes longer to build such expressions than PostgreSQL takes to answer them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from origin.db.engine import Database
from origin.db.raw_connections import Row
from origin.ggos.queries.expiry import expired, not_expired
from origin.ggos.rules.filters import Category, GgoFilters, TransferFilters
from origin.ggos.rules.listing import Cursor, SortKey, SortValue

_LISTS = (
    "address",
    "sector",
    "technology_code",
    "fuel_code",
    "issue_gsrn",
    "retire_gsrn",
    "retire_address",
)

_BY_LIST = {*_LISTS, "reference"}

_CATEGORIES = {
    Category.ISSUED: "issue_gsrn IS NOT NULL",
    Category.STORED: f"stored AND {not_expired('%(now)s')}",
    Category.RETIRED: "retired",
    Category.EXPIRED: f"stored AND {expired('%(now)s')}",
}

GGO_OBJECT = """
    SELECT page.address, page.sector, page.begin, page."end", page.amount,
        (SELECT technology FROM technologies AS label
         WHERE label.technology_code = page.technology_code AND label.fuel_code = page.fuel_code
        ) AS technology,
        page.technology_code AS "technologyCode", page.fuel_code AS "fuelCode", page.emissions,
        page.issue_gsrn AS "issueGsrn"
"""
"""The contract's GGO object of a row `page`. Only rows that are answered have their label looked up."""

_ROWS = """
    SELECT id, address, sector, begin, "end", amount, technology_code, fuel_code, emissions,
        issue_gsrn
    FROM ggos WHERE {conditions} ORDER BY {order} OFFSET %(offset)s LIMIT %(limit)s
"""

_LISTING = (
    f"SELECT row_to_json(ggo)::text {{keys}} FROM ({_ROWS}) AS page, LATERAL ({GGO_OBJECT}) AS ggo"
)

# One aggregate over all rows costs half as much as an object for each row.
_ARRAY = f"SELECT json_agg(ggo)::text FROM ({GGO_OBJECT} FROM {{rows}}) AS ggo"

_COUNT = "SELECT count(*) AS total FROM ggos WHERE {conditions}"

_PAGE = f"""
WITH counted AS ({_COUNT})
SELECT total, CASE WHEN {{few}} THEN ({_ARRAY.format(rows=f"({_ROWS}) AS page")}) END FROM counted
"""

_CURSOR_PAGE = f"""
WITH page AS MATERIALIZED (SELECT *, row_number() OVER () AS place FROM ({_ROWS}) AS ordered)
SELECT {{total}}, ({_ARRAY.format(rows="page WHERE place < %(limit)s")}),
    count(*) = %(limit)s, {{keys}}
FROM page
"""
# Of the last row of the page: one row more is read, to know whether another page follows.
_LAST = "max({column}) FILTER (WHERE place = %(limit)s - 1)"


@dataclass(frozen=True)
class Query:
    """SQL with the driver's placeholders (`%(name)s`), and their values."""

    sql: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """Conditions on a row of `ggos`, combined by AND."""

    tests: Sequence[str]
    values: dict[str, Any]

    def __and__(self, other: "Conditions") -> "Conditions":
        return Conditions([*self.tests, *other.tests], {**self.values, **other.values})

    def __str__(self) -> str:
        return " AND ".join(self.tests)

    @property
    def is_plain(self) -> bool:
        """Whether one plan is the best for all values: true if no list is among them."""
        return not self.values.keys() & _BY_LIST


def matches(filters: GgoFilters, now: datetime) -> Conditions:
    """Return the conditions of these filters, for GGOs of any owner."""
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
    # The lists imply these conditions, which let PostgreSQL use the partial indexes.
    if filters.issue_gsrn:
        tests.append("issue_gsrn IS NOT NULL")
    if filters.retire_gsrn or filters.retire_address:
        tests.append("retired")
    if filters.category is not None:
        tests.append(_CATEGORIES[filters.category])
    return Conditions(tests, values)


def synchronized(owner_id: int, filters: GgoFilters, now: datetime) -> Conditions:
    """Return the conditions of the owner's GGOs that have no operation in flight, and match."""
    return owned_by(owner_id) & matches(filters, now) & Conditions(["NOT locked"], {})


def owned_by(owner_id: int) -> Conditions:
    """Return the condition of the owner's GGOs."""
    return Conditions(["owner_id = %(owner_id)s"], {"owner_id": owner_id})


def count(connection: Connection, conditions: Conditions) -> int:
    """Return the number of GGOs."""
    sql = _COUNT.format(conditions=conditions)
    return int(connection.exec_driver_sql(sql, conditions.values).scalar_one())


def listing(
    connection: Connection,
    conditions: Conditions,
    keys: Sequence[SortKey],
    *,
    offset: int,
    limit: int | None,
    after: Cursor | None,
    with_keys: bool,
    rows_at_once: int,
) -> Iterable[Row]:
    """Return rows with a GGO object as JSON text (contract: http-api.md, The GGO object).

    :param after: Only GGOs that come after this place in the order of the keys.
    :param with_keys: Each row also has the values of the keys.
    :param rows_at_once: How many rows are held in memory.
    """
    if after is not None:
        conditions &= _comes_after(keys, after.values)
    sql = _LISTING.format(
        conditions=conditions,
        order=_order(keys),
        keys="".join(f", page.{key.column}" for key in keys) if with_keys else "",
    )
    values = {**conditions.values, "offset": offset, "limit": limit}
    return connection.exec_driver_sql(sql, values, execution_options={"yield_per": rows_at_once})


def page(
    conditions: Conditions,
    keys: Sequence[SortKey],
    *,
    offset: int,
    limit: int | None,
    at_most: int,
) -> Query:
    """Return the query of one row: how many GGOs there are, and a page of them.

    The page is the text of a JSON array of GGO objects; None if it is empty or has more than
    `at_most` of them. One statement reads both, so that they fit together.
    """
    is_short = limit is not None and limit <= at_most
    sql = _PAGE.format(
        conditions=conditions,
        order=_order(keys),
        few="true" if is_short else "least(total - %(offset)s, %(limit)s) <= %(at_most)s",
    )
    more = {} if is_short else {"at_most": at_most}
    values = {**conditions.values, "offset": offset, "limit": limit, **more}
    return Query(sql, values)


def cursor_page(
    conditions: Conditions,
    keys: Sequence[SortKey],
    *,
    limit: int,
    after: Cursor | None,
) -> Query:
    """Return the query of one row: the total, a page, whether more follow, the last keys.

    The total is None after the first page, as the cursor has it. The page is the text of a JSON array
    of GGO objects, or None if it is empty. The keys are None if no more GGOs follow.
    """
    total = f"({_COUNT.format(conditions=conditions)})" if after is None else "NULL"
    if after is not None:
        conditions &= _comes_after(keys, after.values)
    sql = _CURSOR_PAGE.format(
        conditions=conditions,
        order=_order(keys),
        keys=", ".join(_LAST.format(column=key.column) for key in keys),
        total=total,
    )
    return Query(sql, {**conditions.values, "offset": 0, "limit": limit + 1})


def fetch_row(database: Database, conditions: Conditions, query: Query) -> Row:
    """Run a query that gives one row, and return that row."""
    ask = database.prepared if conditions.is_plain else database.query
    return ask(query.sql, query.values)[0]


def _order(keys: Sequence[SortKey]) -> str:
    return ", ".join(f"{key.column} {'DESC' if key.descending else 'ASC'}" for key in keys)


def _comes_after(keys: Sequence[SortKey], values: Sequence[SortValue]) -> Conditions:
    """Return the condition that a row comes after these values; keys may have different directions."""
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
    # The second condition implies the first, which is a bound for an index scan.
    return Conditions([_any([beyond[0], equal[0]]), cases], bound)


def _any(tests: Iterable[str]) -> str:
    return f"({' OR '.join(tests)})"
