"""Measure find-suppliers: `PYTHONPATH=src python bench/suppliers.py`.

Builds a database in an embedded PostgreSQL, and searches suppliers for a day, a month and the whole
time. Prints the medians of five runs of the service's query and of the fastest plain SQL that we know,
and the plan for a month.
"""

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import psycopg2
from sqlalchemy import make_url, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from devstack.console import Console
from devstack.postgres import EmbeddedPostgres
from origin.accounts.queries.suppliers import find_suppliers, suppliers
from origin.db.engine import Database
from origin.migrate import upgrade

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
CHUNK = 20_000
RUNS = 5
ASKING = 1

PLAIN = """
SELECT u.subject
FROM (
    SELECT owner_id, count(*) FILTER (WHERE wh >= %(min_amount)s) AS reaching, count(*) AS begins
    FROM (
        SELECT owner_id, begin, sum(amount) AS wh FROM ggos
        WHERE stored AND begin >= %(begin)s AND begin < %(end)s AND expire_time > %(now)s
        GROUP BY begin, owner_id
    ) per_begin
    GROUP BY owner_id
) per_owner
JOIN users u ON u.id = owner_id
WHERE u.id <> %(user_id)s AND disabled_at IS NULL
    AND reaching::float8 / begins >= %(min_coverage)s
ORDER BY reaching DESC, subject COLLATE "C"
"""

_COLUMNS = (
    'owner_id, address, amount, begin, "end", sector, technology_code, fuel_code, issue_time, '
    "expire_time, issue_gsrn, stored"
)


def lines(ggos: int, users: int, hours: int) -> Iterator[str]:
    """Yield GGOs in COPY's format: each user's begin at different hours; one in ten is spent."""
    for number in range(ggos):
        owner, place = number % users + 1, number // users
        begin = FIRST + timedelta(
            hours=(owner * 37 + place * max(hours * users // ggos, 1)) % hours
        )
        expires = begin + timedelta(days=36500 if number % 20 else 1)
        yield "\t".join(
            (
                str(owner),
                f"849c0b{number:064x}",
                str(number % 997 + 1),
                begin.isoformat(),
                (begin + timedelta(hours=1)).isoformat(),
                "DK1",
                "T010000",
                "F01040100",
                begin.isoformat(),
                expires.isoformat(),
                f"g{owner}",
                "f" if number % 10 == 0 else "t",
            )
        )


def build(uri: str, ggos: int, users: int, hours: int, console: Console) -> None:
    """Migrate and fill the database."""
    upgrade(uri)
    plain = make_url(uri).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(plain)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users (subject, master_key) "
            "SELECT 'user-' || n, 'x' FROM generate_series(1, %s) n",
            (users,),
        )
        cursor.execute(
            "INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
            "SELECT id, 'g' || id, 'production', 'DK1', 0 FROM users"
        )
        rows, done = lines(ggos, users, hours), 0
        while chunk := list(islice(rows, CHUNK)):
            cursor.copy_expert(f"COPY ggos ({_COLUMNS}) FROM STDIN", io.StringIO("\n".join(chunk)))
            done += len(chunk)
            console.bar("GGOs", done, ggos)
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE")


def median_ms(call: Callable[[], Any]) -> int:
    """Return the median time of some runs, after a warm-up."""
    call()
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(taken))


def measure(database: Database, console: Console, hours: int) -> None:
    """Run both queries, check that their results agree, and print their times."""
    periods = {"day": 1, "month": 31, "all": hours // 24 + 1}
    rows: list[tuple[str, int, int, int]] = []
    for name, days in periods.items():
        wanted = {
            "begin": FIRST,
            "end": FIRST + timedelta(days=days),
            "min_amount": 300,
            "min_coverage": 0.5,
            "now": datetime.now(UTC),
        }
        with database.reading() as session:
            ours = find_suppliers(session, ASKING, **wanted)
            assert ours == plain_sql(session, wanted), "both must find the same"
            service_ms = median_ms(lambda: find_suppliers(session, ASKING, **wanted))  # noqa: B023
            plain_ms = median_ms(lambda: plain_sql(session, wanted))  # noqa: B023
            rows.append((name, len(ours), service_ms, plain_ms))
            if name == "month":
                plan = explained(session, wanted)
    console.table(("period", "found", "service ms", "plain SQL ms"), rows)
    console.say("\nThe month's plan:")
    console.say(plan)


def plain_sql(session: Session, wanted: dict[str, Any]) -> list[str]:
    """Run the plain SQL by the driver, and return the subjects."""
    driver = session.connection().connection.cursor()
    driver.execute(PLAIN, {**wanted, "user_id": ASKING})
    return [subject for (subject,) in driver.fetchall()]


def explained(session: Session, wanted: dict[str, Any]) -> str:
    """Return PostgreSQL's plan of the service's query."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # it has no types
    query = suppliers(ASKING, **wanted).compile(
        dialect=dialect, compile_kwargs={"literal_binds": True}
    )
    return "\n".join(session.scalars(text(f"EXPLAIN (ANALYZE, BUFFERS) {query}")))


def main() -> int:
    """Build and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ggos", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument(
        "--hours", type=int, default=8760, help="hours that the GGOs are spread over"
    )
    options = parser.parse_args()
    console = Console()
    with EmbeddedPostgres(fsync=False) as server:
        uri = server.create_database("suppliers")
        with console.step(
            f"{options.ggos:,} GGOs of {options.users:,} users over {options.hours:,} hours"
        ):
            build(uri, options.ggos, options.users, options.hours, console)
        database = Database(make_url(uri).set(drivername="postgresql+psycopg2"), 1)
        try:
            measure(database, console, options.hours)
        finally:
            database.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
