"""Listings, summaries and totals, against plain computations over the same rows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.books import (
    GSRNS,
    LABELS,
    USERS,
    Books,
    Row,
    example_row,
    moment,
    summary_by_hand,
    zone_of,
)

ZONES = ("Europe/Copenhagen", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "UTC")
CODES = [*LABELS, ("T2", "F2")]
# Nights on which clocks change in one of the zones, leap days, and turns of years.
NIGHTS = [
    datetime(*day, tzinfo=UTC)
    for day in (
        *((2019, 12, 31), (2020, 1, 1), (2020, 2, 28), (2020, 2, 29), (2020, 12, 31)),
        *((2020, 3, 29), (2020, 10, 25), (2021, 3, 28), (2021, 10, 31)),
        *((2020, 4, 4), (2020, 10, 3), (2020, 3, 8), (2020, 11, 1), (2024, 2, 29)),
    )
]

begins = st.one_of(
    st.builds(
        lambda night, quarters: night + quarters * timedelta(minutes=15),
        st.sampled_from(NIGHTS),
        st.one_of(st.integers(0, 20), st.integers(-96, 96)),
    ),
    st.builds(
        lambda hours: datetime(2019, 1, 1, tzinfo=UTC) + timedelta(hours=hours),
        st.integers(0, 6 * 8766),
    ),
)
amounts = st.one_of(st.integers(1, 50), st.just(2**63 - 1))
rows = st.lists(
    st.builds(
        Row,
        owner=st.sampled_from(["alice", *USERS]),
        sender=st.sampled_from([None, "alice", *USERS]),
        begin=begins,
        amount=amounts,
        sector=st.sampled_from(["DK1", "DK2"]),
        codes=st.sampled_from(CODES),
        state=st.sampled_from(["stored", "stored", "expired", "retired", "spent"]),
        locked=st.sampled_from([False, False, True]),
        gsrn=st.integers(0, 1),
        reference=st.sampled_from([None, "", "a", "b"]),
    ),
    min_size=0,
    max_size=60,
)


def some(values: Any) -> Any:
    """Return up to two of these values, or null."""
    return st.one_of(st.none(), st.lists(st.sampled_from(values), max_size=2))


def as_text(time: datetime, hours: int | None) -> str:
    """Return the time in UTC with a Z; or naive, in the request's local time."""
    if hours is None:
        return time.replace(tzinfo=None).isoformat()
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


@st.composite
def ranges(draw: Any) -> Any:
    naive = draw(st.sampled_from([None, 0]))
    begin = draw(begins)
    length = draw(st.sampled_from([timedelta(0), timedelta(hours=30), timedelta(days=400)]))
    return {"begin": as_text(begin, naive), "end": as_text(begin + length, naive)}


filters = st.fixed_dictionaries(
    {},
    optional={
        "beginRange": st.one_of(st.none(), ranges()),
        "address": some([f"address {number}" for number in range(5)]),
        "sector": some(["DK1", "DK2"]),
        "technologyCode": some(["T1", "T2"]),
        "fuelCode": some(["F1", "F2"]),
        "issueGsrn": some(GSRNS["production"]),
        "retireGsrn": some(GSRNS["consumption"]),
        "retireAddress": some(["measurement 0", "measurement 1"]),
        "category": st.sampled_from([None, "issued", "stored", "retired", "expired"]),
    },
)
transfer_filters = st.builds(
    lambda common, more: {**common, **more},
    filters,
    st.fixed_dictionaries({}, optional={"reference": some(["", "a", "b"])}),
)
local_times = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"utcOffset": st.one_of(st.none(), st.integers(-23, 23))}),
    st.fixed_dictionaries({"timezone": st.sampled_from(ZONES)}),
)
splits = st.builds(
    lambda split, local: {**split, **local},
    st.fixed_dictionaries(
        {"resolution": st.sampled_from(["all", "year", "month", "day", "hour"])},
        optional={
            "fill": st.booleans(),
            "grouping": st.one_of(
                st.none(),
                st.lists(
                    st.sampled_from(
                        ["begin", "sector", "technology", "technologyCode", "fuelCode"]
                    ),
                    max_size=3,
                    unique=True,
                ),
            ),
        },
    ),
    local_times,
)


def expected_summary(chosen: list[Row], body: dict[str, Any]) -> dict[str, Any]:
    zone, filled = zone_of(body), None
    if body.get("fill") and body["filters"].get("beginRange"):
        ends = body["filters"]["beginRange"]
        filled = (moment(ends["begin"], zone), moment(ends["end"], zone))
    return summary_by_hand(chosen, body["resolution"], body.get("grouping") or [], zone, filled)


unhurried = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@unhurried
@given(table=rows, asked=filters, split=splits)
def test_ggo_summaries_and_totals(
    books: Books, table: list[Row], asked: dict[str, Any], split: dict[str, Any]
):
    books.write(table)
    body = {**split, "filters": asked}
    for subject in ("alice", "bob"):
        chosen = books.own(subject, asked, zone_of(body))
        assert books.ask("/ggo/summary", body, subject) == expected_summary(chosen, body)
        total = books.ask("/ggo/get-total-amount", {"filters": asked}, subject)
        assert total == {"amount": sum(row.amount for row in books.own(subject, asked))}


@pytest.mark.parametrize(
    ("name", "begin", "days"),
    [
        ("Europe/Copenhagen", datetime(2008, 12, 1, tzinfo=UTC), 800),
        ("America/Sao_Paulo", datetime(2008, 12, 1, tzinfo=UTC), 800),
        ("Australia/Lord_Howe", datetime(2008, 12, 1, tzinfo=UTC), 800),
        # Clocks were set back at a minute past midnight: a day has two pieces.
        ("America/St_Johns", datetime(1999, 1, 1, tzinfo=UTC), 365),
        # There was no 30 December 2011.
        ("Pacific/Apia", datetime(2011, 1, 1, tzinfo=UTC), 365),
    ],
)
def test_summaries_of_years_with_changes_of_the_clock(
    books: Books, name: str, begin: datetime, days: int
):
    """Every half-hour of the days beside a change, and a time of each other day."""
    zone, beside, minutes = ZoneInfo(name), timedelta(hours=36), timedelta(minutes=30)
    times = [begin + number * minutes for number in range(days * 48)]
    changes = {
        time
        for time in times
        if (time - beside).astimezone(zone).utcoffset()
        != (time + beside).astimezone(zone).utcoffset()
    }
    table = [
        example_row(time, amount=1 + number % 7)
        for number, time in enumerate(times)
        if time in changes or number % 49 == 0
    ]
    assert len(changes) > 100
    books.write(table)
    for resolution in ("day", "month", "year"):
        body = {"resolution": resolution, "timezone": name, "filters": {}}
        assert books.ask("/ggo/summary", body) == expected_summary(table, body)
    books.write([])


@unhurried
@given(
    table=rows,
    asked=transfer_filters,
    split=splits,
    direction=st.sampled_from([None, "inbound", "outbound"]),
)
def test_transfer_summaries_and_totals(
    books: Books,
    table: list[Row],
    asked: dict[str, Any],
    split: dict[str, Any],
    direction: str | None,
):
    books.write(table)
    body = {**split, "filters": asked, "direction": direction}
    chosen = books.transfers("alice", asked, direction, zone_of(body))
    assert books.ask("/transfer/summary", body) == expected_summary(chosen, body)
    expected = {"amount": sum(row.amount for row in books.transfers("alice", asked, direction))}
    body = {"filters": asked, "direction": direction}
    assert books.ask("/transfer/get-total-amount", body) == expected
    assert books.ask("/transfer/get-transferred-amount", body) == expected


@unhurried
@given(
    table=rows,
    asked=filters,
    order=st.lists(st.sampled_from(["begin", "-begin", "amount", "-amount"]), max_size=2),
    offset=st.integers(0, 10),
    limit=st.one_of(st.none(), st.integers(0, 12)),
)
def test_listings(
    books: Books,
    table: list[Row],
    asked: dict[str, Any],
    order: list[str],
    offset: int,
    limit: int | None,
):
    """A page at an offset; and all pages by cursors, in the order of a single answer."""
    books.write(table)
    listed = [row for row in books.own("alice", asked) if not row.locked]
    whole = books.ask("/ggo", {"filters": asked, "order": order})
    assert whole.keys() == {"total", "results"}
    assert whole["total"] == len(listed)
    assert sorted(map(plain, whole["results"])) == sorted(map(on_the_wire, listed))
    places = [place(ggo, order) for ggo in whole["results"]]
    assert places == sorted(places)

    page = books.ask("/ggo", {"filters": asked, "order": order, "offset": offset, "limit": limit})
    end = offset + limit if limit else None
    assert page == {"total": len(listed), "results": whole["results"][offset:end]}

    paged, cursor = [], ""
    while cursor is not None:
        body = {"filters": asked, "order": order, "limit": limit, "cursor": cursor}
        page = books.ask("/ggo", body)
        assert page["total"] == len(listed)
        assert len(page["results"]) == limit or page["nextCursor"] is None
        paged += page["results"]
        cursor = page["nextCursor"]
    assert paged == whole["results"]


def place(ggo: dict[str, Any], order: list[str]) -> tuple[Any, ...]:
    """Return the GGO's sort key. If a field is named twice, the first name holds."""
    values = {"begin": datetime.fromisoformat(ggo["begin"]).timestamp(), "amount": ggo["amount"]}
    return tuple(
        -values[name.removeprefix("-")] if name.startswith("-") else values[name]
        for name in order or ["begin"]
    )


def plain(ggo: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(str(value) for name, value in sorted(ggo.items()) if name != "address")


def on_the_wire(row: Row) -> tuple[Any, ...]:
    """Return the contract's GGO object of a row."""
    return plain(
        {
            "sector": row.sector,
            "begin": row.begin.isoformat(),
            "end": (row.begin + timedelta(minutes=15)).isoformat(),
            "amount": row.amount,
            "technology": LABELS.get(row.codes),
            "technologyCode": row.codes[0],
            "fuelCode": row.codes[1],
            "emissions": None,
            "issueGsrn": None if row.sender else GSRNS["production"][row.gsrn],
        }
    )
