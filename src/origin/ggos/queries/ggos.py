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

from origin.ggos.queries.expiry import expired, not_expired
from origin.ggos.rules.filters import Category, GgoFilters, TransferFilters
from origin.ggos.rules.listing import Cursor, Key, Value

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
"""The GGO object of the contract, of a row `page`; the label is looked up for what is told alone."""

_ROWS = """
    SELECT id, address, sector, begin, "end", amount, technology_code, fuel_code, emissions,
        issue_gsrn
    FROM ggos WHERE {conditions} ORDER BY {order} OFFSET %(offset)s LIMIT %(limit)s
"""

_LISTING = (
    f"SELECT row_to_json(ggo)::text {{keys}} FROM ({_ROWS}) AS page, LATERAL ({GGO_OBJECT}) AS ggo"
)

# One aggregate for all rows: half the price of an object for each.
_ARRAY = f"SELECT json_agg(ggo)::text FROM ({GGO_OBJECT} FROM {{rows}}) AS ggo"

ACTIVE = (
    "(SELECT disabled_at IS NULL FROM users WHERE users.id = %(caller)s AND subject = %(subject)s)"
)
"""Whether the caller's account is active, and this one: asked along, it costs no round trip of its own."""

_COUNT = "SELECT count(*) AS total FROM ggos WHERE {conditions}"

_PAGE = f"""
WITH counted AS ({_COUNT})
SELECT {ACTIVE}, total, CASE WHEN {{few}} THEN ({_ARRAY.format(rows=f"({_ROWS}) AS page")}) END FROM counted
"""

_CURSOR_PAGE = f"""
WITH page AS MATERIALIZED (SELECT *, row_number() OVER () AS place FROM ({_ROWS}) AS ordered)
SELECT {ACTIVE}, {{total}}, ({_ARRAY.format(rows="page WHERE place < %(limit)s")}),
    count(*) = %(limit)s, {{keys}}
FROM page
"""
# Of the one row before the last that was asked for.
_LAST = "max({column}) FILTER (WHERE place = %(limit)s - 1)"


@dataclass(frozen=True)
class Caller:
    """Who asks: an account's id and subject."""

    id: int
    subject: str

    @property
    def values(self) -> dict[str, Any]:
        """For `ACTIVE`."""
        return {"caller": self.id, "subject": self.subject}


@dataclass(frozen=True)
class Query:
    """SQL with places for values, as the driver has them: `%(name)s`."""

    sql: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """What is asked of a row of `ggos`, combined by AND: first, whose it is."""

    tests: Sequence[str]
    values: dict[str, Any]

    def __and__(self, other: "Conditions") -> "Conditions":
        return Conditions([*self.tests, *other.tests], {**self.values, **other.values})

    def __str__(self) -> str:
        return " AND ".join(self.tests)

    @property
    def whose(self) -> str:
        """The first test: whose GGOs they are."""
        return self.tests[0]

    @property
    def is_plain(self) -> bool:
        """Whether one plan is the best for all values: nothing is asked by lists."""
        return not self.values.keys() & _BY_LIST


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
    return Query(_COUNT.format(conditions=conditions), conditions.values)


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
        order=_order(keys),
        keys="".join(f", page.{key.column}" for key in keys) if with_keys else "",
    )
    return Query(sql, {**conditions.values, "offset": offset, "limit": limit})


def page(
    caller: Caller,
    conditions: Conditions,
    keys: Sequence[Key],
    *,
    offset: int,
    limit: int | None,
    at_most: int,
) -> Query:
    """One row: whether the caller is active, how many GGOs there are, and a page of them.

    The page is the text of a JSON array of GGO objects, None where it is empty, or has more than
    `at_most` of them. In one statement, so that both are of one moment.
    """
    is_short = limit is not None and limit <= at_most
    sql = _PAGE.format(
        conditions=conditions,
        order=_order(keys),
        few="true" if is_short else "least(total - %(offset)s, %(limit)s) <= %(at_most)s",
    )
    more = {} if is_short else {"at_most": at_most}
    values = {**conditions.values, **caller.values, "offset": offset, "limit": limit, **more}
    return Query(sql, values)


def cursor_page(
    caller: Caller,
    conditions: Conditions,
    keys: Sequence[Key],
    *,
    limit: int,
    after: Cursor | None,
) -> Query:
    """One row: whether the caller is active, the total, a page, whether more follow, the last keys.

    The total is told for the first page alone: it is the cursor's afterwards. The page is the text of a
    JSON array of GGO objects: None where there is none, as the keys are where no more follow.
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
    values = {**caller.values, "offset": 0, "limit": limit + 1}
    return Query(sql, {**conditions.values, **values})


def _order(keys: Sequence[Key]) -> str:
    return ", ".join(f"{key.column} {'DESC' if key.descending else 'ASC'}" for key in keys)


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
