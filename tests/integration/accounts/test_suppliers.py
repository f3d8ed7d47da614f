"""find-suppliers, compared with a plain computation over the same rows."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from origin.accounts.queries.suppliers import suppliers
from tests.support.market import Market

DAY = datetime(2020, 1, 2, tzinfo=UTC)
SUBJECTS = ("alice", "bob", "carol", "dave")


class Row(NamedTuple):
    owner: str
    hours: int
    amount: int
    stored: bool
    expired: bool


rows = st.lists(
    st.builds(
        Row,
        owner=st.sampled_from(SUBJECTS),
        hours=st.integers(-3, 27),
        amount=st.integers(1, 30),
        stored=st.sampled_from([True, True, True, False]),
        expired=st.sampled_from([False, False, False, True]),
    ),
    max_size=40,
)


def expected_suppliers(table: list[Row], min_amount: int, min_coverage: float) -> list[str]:
    """Compute the answer as the contract says. Alice asks, Dave is disabled."""
    sums: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in table:
        if row.stored and not row.expired and 0 <= row.hours < 24:
            sums[row.owner][row.hours] += row.amount
    found = []
    for owner, per_begin in sums.items():
        reaching = sum(amount >= min_amount for amount in per_begin.values())
        if owner in {"bob", "carol"} and reaching / len(per_begin) >= min_coverage:
            found.append((-reaching, owner))
    return [owner for _, owner in sorted(found)]


@pytest.fixture
def crowd(market: Market) -> Market:
    market.rows("INSERT INTO users (subject, master_key) VALUES ('carol', 'x'), ('dave', 'x')")
    market.rows("UPDATE users SET disabled_at = now() WHERE subject = 'dave'")
    return market


def fill(market: Market, table: list[Row]) -> None:
    market.rows("DELETE FROM ggos")
    now = datetime.now(UTC)
    for number, row in enumerate(table):
        begin = DAY + timedelta(hours=row.hours)
        market.rows(
            'INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, '
            "fuel_code, issue_time, expire_time, issue_gsrn, stored) "
            "SELECT id, :address, :amount, :begin, :end, 'DK1', 't', 'f', :begin, :expires, "
            "(SELECT min(gsrn) FROM metering_points), :stored FROM users WHERE subject = :owner",
            address=str(number),
            amount=row.amount,
            begin=begin,
            end=begin + timedelta(hours=1),
            expires=now + timedelta(days=-1 if row.expired else 1),
            stored=row.stored,
            owner=row.owner,
        )


def ask(market: Market, **change: Any) -> Any:
    body = {
        "dateRange": {"begin": "2020-01-02", "end": "2020-01-02"},
        "minAmount": 20,
        "minCoverage": 0.5,
        **change,
    }
    return market.post("/accounts/find-suppliers", body, market.token("alice", "profile"))


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    table=rows,
    min_amount=st.integers(0, 40),
    min_coverage=st.sampled_from([0, 0.3, 0.5, 0.6666666666666666, 0.8, 1]),
)
def test_suppliers_equal_the_plain_computation(
    crowd: Market, table: list[Row], min_amount: int, min_coverage: float
):
    fill(crowd, table)
    answer = ask(crowd, minAmount=min_amount, minCoverage=min_coverage)
    expected = expected_suppliers(table, min_amount, min_coverage)
    assert (answer.status_code, answer.json) == (200, {"success": True, "suppliers": expected})


def test_a_month_is_read_from_an_index_alone(market: Market):
    """The query reads no other part of the table, however large it is."""
    market.rows(
        "INSERT INTO users (subject, master_key) "
        "SELECT 'user-' || n, 'x' FROM generate_series(1, 50) n"
    )
    market.rows(
        'INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, '
        "fuel_code, issue_time, expire_time, issue_gsrn, stored) "
        "SELECT u.id, u.id || '-' || n, 20, at, at + interval '1 hour', 'DK1', 't', 'f', at, "
        "now() + interval '1 day', (SELECT min(gsrn) FROM metering_points), true "
        "FROM users u, generate_series(1, 600) n, "
        "LATERAL (SELECT timestamptz '2020-01-01Z' + n * interval '14 hours' AS at) t"
    )
    query = suppliers(
        market.alice,
        begin=DAY,
        end=DAY + timedelta(days=31),
        min_amount=20,
        min_coverage=0.5,
        now=datetime.now(UTC),
    ).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    with market.runtime.database.reading() as session:
        session.execute(text("VACUUM ANALYZE ggos, users"))
        plan = "\n".join(session.scalars(text(f"EXPLAIN {query}")))
    assert "ix_ggos_stored_begin" in plan
    assert "Seq Scan on ggos" not in plan
    found = ask(market, dateRange={"begin": "2020-01-02", "end": "2020-02-01"}).json["suppliers"]
    assert len(found) == 51


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dateRange": {"begin": "2020-01-03", "end": "2020-01-02"}}, "dateRange"),
        ({"dateRange": {"begin": "2020-01-02T00:00:00Z", "end": "2020-01-02"}}, "dateRange"),
        ({"dateRange": {"begin": "2020-01-02", "end": "9999-12-31"}}, "dateRange"),
        ({"dateRange": None}, "dateRange"),
        ({"minAmount": -1}, "minAmount"),
        ({"minAmount": 1.5}, "minAmount"),
        ({"minAmount": 2**63}, "minAmount"),
        ({"minCoverage": 1.1}, "minCoverage"),
        ({"minCoverage": "much"}, "minCoverage"),
        ({"limit": 1}, "limit"),
    ],
)
def test_wrong_fields_are_rejected_by_name(market: Market, change: dict[str, Any], field: str):
    answer = ask(market, **change)
    assert answer.status_code == 400
    assert list(answer.json["message"]) == [field]
