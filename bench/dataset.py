"""Builds the databases for the bench: accounts and their GGOs over ten years, written by COPY.

A database of each size is built once and kept in `.run/bench`; the same size gives the same rows.
"""

import hashlib
import io
import random
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class
from sqlalchemy import Index
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from devstack.console import Console
from devstack.databases import create_database, drop_database, with_database
from devstack.postgres import EmbeddedPostgres
from devstack.processes import ROOT
from origin.db.ids import uuid7_of
from origin.db.models import Base
from origin.keys.derivation import ExtendedKey, metering_point_key, new_master_key
from origin.keys.sealing import Sealer, master_key_context
from origin.migrate import upgrade

FOLDER = ROOT / ".run" / "bench"
VERSION = "3"
"""The version of the rows; a change rebuilds all databases."""

FIRST = datetime(2016, 1, 1, tzinfo=UTC)
HOURS = 10 * 8766
YEARS = range(2016, 2026)
HOURLY_YEAR = 2020
BUILT = FIRST + timedelta(days=3800)
"""A moment after all that the data tells of, and before each run."""
HELD_SHARE = 5
"""The big account holds a fifth of all GGOs."""
CROWD = 1_000
FEW = 3
"""The number of accounts before the crowd's."""

MANY = 50_000
"""Most GGOs that are spent in a run."""
TRANSFERS = 20_000
"""GGOs that the trader sends and receives, in databases of at least `_ROOM` GGOs."""
_ROOM = 100_000
_TRADING_HOURS = 4

BIG, HOURLY, TRADER = "big", "hourly", "trader"
"""Subjects: with a fifth of all GGOs; with one GGO for each hour of a year; with many transfers."""

_CODES = (("T010000", "F01040100"), ("T020001", "F01050100"), ("T030000", "F01050200"))
_LABELS = ("Wind", "Solar", "Hydro")
_COLUMNS = (
    'id, owner_id, address, amount, begin, "end", sector, technology_code, fuel_code, emissions, '
    "issue_time, expire_time, issue_gsrn, parent_id, split_position, sender_id, reference, "
    "key_index, stored, retired, retire_gsrn, retire_address, created_at, settled_at, spent_at, retired_at"
)
_CHUNK_LINES = 5_000
_SETTINGS = "SET maintenance_work_mem = '512MB'; SET synchronous_commit = off"

_KNOWN_AFTER = timedelta(hours=2)
_SPENT_AFTER = timedelta(days=30)
_SETTLED_AFTER = timedelta(minutes=1)
_ONE_IN = 50
"""Of so many stored GGOs of the crowd, one was to be transferred, and the ledger refused that."""

# As a compose and its settlement leave them: of each GGO that is spent a batch and its operation.
_ORDERS = f"""
CREATE TEMPORARY TABLE made AS
SELECT row_number() OVER (ORDER BY id) AS id, {uuid7_of("spent_at")} AS operation_id, owner_id,
    id AS ggo_id, address, amount, retire_gsrn, spent_at, settled_at, undone
FROM (
    SELECT id, owner_id, address, amount, retire_gsrn, spent_at,
        spent_at + interval '{_SETTLED_AFTER.seconds} s' AS settled_at, NULL::jsonb AS undone
    FROM ggos WHERE NOT stored
    UNION ALL
    SELECT id, owner_id, address, amount, NULL, begin + interval '{_SPENT_AFTER.days} days',
        begin + interval '{_SPENT_AFTER.days} days {_SETTLED_AFTER.seconds} s',
        jsonb_build_object('retire_gsrn', NULL, 'retire_address', NULL, 'parts', jsonb_build_array(
            jsonb_build_object('id', 1000000000 + id, 'address', 'x' || address, 'amount', amount,
                'owner_id', {FEW + 1} + (owner_id - {FEW}) % {CROWD}, 'sender_id', owner_id,
                'split_position', 0, 'key_index', 1000000000 + id, 'reference', 'bench',
                'stored', true, 'retired', false, 'retire_gsrn', NULL, 'retire_address', NULL)))
    FROM ggos WHERE stored AND owner_id > {FEW} AND parent_id IS NULL AND id % {_ONE_IN} = 0
) AS spent;
INSERT INTO operations (id, user_id, kind, origin, created_at, accepted_at, client, request, requested)
SELECT operation_id, owner_id, 'compose', 'legacy', spent_at, spent_at, 'bench',
    json_build_object('address', address,
        'transfers', CASE WHEN retire_gsrn IS NULL THEN json_build_array(json_build_object(
            'amount', amount, 'account', 'user 1', 'reference', 'bench')) ELSE '[]' END,
        'retires', CASE WHEN retire_gsrn IS NULL THEN '[]' ELSE json_build_array(json_build_object(
            'amount', amount, 'gsrn', retire_gsrn)) END),
    amount
FROM made ORDER BY id;
INSERT INTO batches (id, user_id, ggo_id, state, created_at, submitted_at, ended_at, last_post_at,
    moved, operation_id, sequence, undone, last_error, next_attempt_at) OVERRIDING SYSTEM VALUE
SELECT id, owner_id, ggo_id, CASE WHEN undone IS NULL THEN 'COMPLETED' ELSE 'DECLINED' END, spent_at,
    settled_at, settled_at, settled_at, amount, operation_id, 0, undone,
    CASE WHEN undone IS NOT NULL THEN 'refused' END, NULL
FROM made ORDER BY id;
SELECT setval(pg_get_serial_sequence('batches', 'id'), coalesce(max(id), 1)) FROM batches;
INSERT INTO rollbacks (batch_id, user_id, ggo_id, accepted_at, declined_at, undone)
SELECT id, owner_id, ggo_id, spent_at, settled_at, undone FROM made WHERE undone IS NOT NULL ORDER BY id;
DROP TABLE made;
"""


@dataclass(frozen=True)
class Dataset:
    """A database that is ready for requests."""

    uri: str
    size: int
    """The number of GGOs."""


def secret() -> str:
    """Return the server's password, which is also the service's SECRET; it is kept with the data."""
    path = FOLDER / "secret"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


@contextmanager
def server() -> Iterator[EmbeddedPostgres]:
    """Run the PostgreSQL server with the bench's databases."""
    with EmbeddedPostgres(FOLDER / "postgres", password=secret()) as running:
        yield running


def prepare(postgres: EmbeddedPostgres, size: int, console: Console) -> Dataset:
    """Return the database of this size; build it if it is missing or of another version."""
    name = f"ggos_{size}"
    made = f"{VERSION} {_fingerprint()}"
    uri = with_database(postgres.uri, name)
    with connect(postgres.uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            (name,),
        )
        if cursor.fetchone() == (made,):
            # Other tables than ggos may have changed.
            upgrade(make_url(uri))
            return Dataset(uri, size)
    drop_database(postgres.uri, name)
    create_database(postgres.uri, name)
    with console.step(f"Built a database of {size:,} GGOs"):
        upgrade(make_url(uri))
        _fill(uri, size, console)
    with connect(postgres.uri) as connection, connection.cursor() as cursor:
        # Marked as complete only now, so that an interrupted build is repeated.
        cursor.execute(f"COMMENT ON DATABASE {name} IS '{made}'")
    return Dataset(uri, size)


def _fingerprint() -> str:
    """Return a hash of the definitions of `ggos` and its indexes, to notice changes of them."""
    table = Base.metadata.tables["ggos"]
    statements: list[CreateTable | CreateIndex] = [CreateTable(table)]
    statements += [CreateIndex(index) for index in _by_name(table.indexes)]
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # it has no types
    text = "".join(str(each.compile(dialect=dialect)) for each in statements)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _by_name(indexes: Iterable[Index]) -> list[Index]:
    return sorted(indexes, key=lambda index: str(index.name))


def subscribe_all(dataset: Dataset) -> None:
    """Subscribe all accounts to received GGOs. No worker delivers them during a measurement."""
    with connect(dataset.uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO webhook_subscriptions (user_id, event, url, host, secret) "
            "SELECT id, 'ON_GGO_RECEIVED', 'http://127.0.0.1:9/', '127.0.0.1:9', 'none' FROM users"
        )


def reset_writes(dataset: Dataset) -> None:
    """Delete all composes and issued GGOs since, to return the data to its built state."""
    with connect(dataset.uri) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM webhook_deliveries; DELETE FROM webhook_subscriptions")
        cursor.execute("DELETE FROM batch_events; DELETE FROM transactions")
        # Those of the data have no moment after its build.
        cursor.execute(
            "DELETE FROM idempotency_keys; DELETE FROM batches WHERE created_at > %s", (BUILT,)
        )
        cursor.execute("DELETE FROM operations WHERE created_at > %s", (BUILT,))
        cursor.execute("DELETE FROM ggos WHERE id > %s", (dataset.size,))
        cursor.execute(
            "UPDATE ggos SET stored = true, locked = false, spent_at = NULL WHERE spent_at > %s",
            (BUILT,),
        )
        for table in ("ggos", "batches", "transactions", "operations", "users"):
            cursor.execute(f"VACUUM ANALYZE {table}")


def unspent(dataset: Dataset, subjects: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Yield subject, address and amount (at least 2 Wh) of stored GGOs; the subjects alternate."""
    with connect(dataset.uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT subject, address, amount FROM users, LATERAL ("
            " SELECT address, amount, row_number() OVER () AS turn FROM ggos"
            " WHERE owner_id = users.id AND stored AND NOT locked AND amount > 1 LIMIT %s"
            ") AS held WHERE subject = ANY(%s) ORDER BY turn, users.id",
            (MANY // len(subjects), list(subjects)),
        )
        yield from cursor


def point_keys(dataset: Dataset) -> dict[int, ExtendedKey]:
    """Return the keys of all production metering points, by their owners' positions in `subjects`."""
    sealer = Sealer([secret()])
    with connect(dataset.uri) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, subject, master_key FROM users")
        return {
            number - 1: metering_point_key(
                ExtendedKey.from_base58(sealer.open(key, master_key_context(subject))), 0
            )
            for number, subject, key in cursor
        }


def bytes_per_row(uri: str, counted: str, *tables: str) -> float:
    """Return the bytes on disk, with all indexes, for each row of the table `counted`.

    :param tables: The tables whose bytes count; by default, `counted` alone.
    """
    sizes = " + ".join(f"pg_total_relation_size('{table}')" for table in tables or (counted,))
    with connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT ({sizes})::float / count(*) FROM {counted}")  # noqa: S608 - names of ours
        (size,) = cursor.fetchone() or (0.0,)
        return float(size)


@contextmanager
def connect(uri: str) -> Iterator[Connection]:
    """Open a connection in autocommit mode."""
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        yield connection


def _fill(uri: str, size: int, console: Console) -> None:
    with connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(_SETTINGS)
        _write_accounts(connection)
        rest = _drop_what_slows(connection)
        source = _Lines(_ggos(size), size, console)
        # In one transaction with TRUNCATE, so that COPY needs no WAL.
        cursor.execute("BEGIN; TRUNCATE ggos CASCADE")
        cursor.copy_expert(f"COPY ggos ({_COLUMNS}) FROM STDIN", source, 1 << 16)
        cursor.execute("COMMIT")
        for number, statement in enumerate(rest, 1):
            console.bar("indexes", number, len(rest))
            cursor.execute(statement)
        with console.step("Wrote operations and batches"):
            cursor.execute(_ORDERS)
        cursor.execute("SELECT setval(pg_get_serial_sequence('ggos', 'id'), max(id)) FROM ggos")
        # Rows written later are recognised by their larger ids.
        assert cursor.fetchone() == (size,)
        cursor.execute(
            "UPDATE users SET next_trade_index = 1 + coalesce("
            "(SELECT max(key_index) FROM ggos WHERE owner_id = users.id), -1)"
        )
        cursor.execute("VACUUM ANALYZE")
        # Write everything to disk now, so that it doesn't slow measurements.
        cursor.execute("CHECKPOINT")


def _drop_what_slows(connection: Connection) -> list[str]:
    """Drop the indexes and keys of `ggos`; return the statements that create them again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE 'ggos'::regclass IN (conrelid, confrelid) AND contype IN ('f', 'u')"
        )
        constraints = cursor.fetchall()
        for table, name, _ in constraints:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE tablename = 'ggos' AND indexname NOT LIKE 'pk%'"
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
    ordered = sorted(constraints, key=lambda each: each[2].startswith("FOREIGN"))
    return [definition for _, definition in indexes] + [
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        for table, name, definition in ordered
    ]


def _write_accounts(connection: Connection) -> None:
    """Insert the accounts; the one with id n + 1 has metering points pn and cn."""
    sealer = Sealer([secret()])
    with connection.cursor() as cursor:
        for number, subject in enumerate(subjects()):
            key = sealer.seal(new_master_key().base58(), master_key_context(subject))
            cursor.execute(
                "INSERT INTO users (subject, master_key) VALUES (%s, %s) RETURNING id",
                (subject, key),
            )
            assert cursor.fetchone() == (number + 1,)
            for index, kind in enumerate(("production", "consumption")):
                cursor.execute(
                    "INSERT INTO metering_points (user_id, gsrn, type, sector, key_index) "
                    "VALUES (%s, %s, %s, 'DK1', %s)",
                    (number + 1, f"{kind[0]}{number}", kind, index),
                )
        for (code, fuel), label in zip(_CODES, _LABELS, strict=True):
            cursor.execute("INSERT INTO technologies VALUES (%s, %s, %s)", (code, fuel, label))


def subjects() -> list[str]:
    """Return the subjects of all accounts, in the order of their ids, from 1."""
    return [BIG, HOURLY, TRADER, *(f"user {number}" for number in range(CROWD))]


def _ggos(size: int) -> Iterator[str]:
    """Yield lines for COPY in the order of issuing: by hour, over all accounts."""
    year = (datetime(HOURLY_YEAR, 1, 1, tzinfo=UTC) - FIRST) // timedelta(hours=1)
    hourly = range(year, year + 8760)
    held = min(size // HELD_SHARE, (size - len(hourly)) // 2)
    rest = size - held - len(hourly)
    transfers = TRANSFERS if size >= _ROOM else 0
    dice = random.Random(size)  # noqa: S311 - the same rows each time
    writer = _Writer(dice)
    for hour in range(HOURS):
        writer.at(FIRST + timedelta(hours=hour))
        for _ in range(held * (hour + 1) // HOURS - held * hour // HOURS):
            yield writer.issued(0, "t", "f")
        if hour in hourly:
            yield writer.issued(1, "t", "f")
        if hour % _TRADING_HOURS == 0 and hour // _TRADING_HOURS < transfers:
            # Sent by the trader and to it, alternately.
            yield from writer.of_the_trader(sends=hour % (2 * _TRADING_HOURS) == 0)
        missing = rest * (hour + 1) // HOURS - writer.other_lines
        while missing > 0:
            lines = writer.of_the_crowd(at_most=missing)
            missing -= len(lines)
            yield from lines


class _Writer:
    """Makes lines for COPY, and counts ids."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._id = 0
        self._times = ""
        self._held_since = self._split_since = self._retired_since = self._received_since = ""
        self.other_lines = 0
        """The number of lines of all accounts but the first two."""

    def at(self, begin: datetime) -> None:
        """Continue with this hour."""
        self._times = f"{begin:%Y-%m-%d %H}:00+00\t{begin + timedelta(hours=1):%Y-%m-%d %H}:00+00"
        known, spent, settled = (
            f"{begin + each:%Y-%m-%d %H:%M}+00"
            for each in (_KNOWN_AFTER, _SPENT_AFTER, _SPENT_AFTER + _SETTLED_AFTER)
        )
        self._held_since = f"{known}\t\\N\t\\N\t\\N"
        self._split_since = f"{known}\t\\N\t{spent}\t\\N"
        self._retired_since = f"{known}\t\\N\t{spent}\t{settled}"
        self._received_since = f"{spent}\t{settled}\t\\N\t\\N"

    def of_the_crowd(self, *, at_most: int) -> list[str]:
        """Return a GGO of the crowd: six in ten are stored, two retired, two sent to another account."""
        number, fate = FEW + self._dice.randrange(CROWD), self._dice.randrange(10)
        if fate < 6 or at_most < 2:
            lines = [self.issued(number, "t", "f")]
        elif fate < 8:
            lines = [self.issued(number, "f", f"t\tc{number}\tm{number} {self._id}")]
        else:
            lines = self._transferred(number, FEW + (number - FEW + 1) % CROWD)
        self.other_lines += len(lines)
        return lines

    def of_the_trader(self, *, sends: bool) -> list[str]:
        """Return a GGO that the trader sends to an account of the crowd, or receives from it."""
        lines = self._transferred(*((FEW - 1, FEW) if sends else (FEW, FEW - 1)))
        self.other_lines += len(lines)
        return lines

    def _transferred(self, number: int, to: int) -> list[str]:
        """Return a GGO issued to one account and sent whole to another, by positions in `subjects`."""
        lines = [self.issued(number, "f", "f")]
        split = f"\\N\t{self._id}\t0\t{number + 1}\tbench\t{self._id}"
        return [*lines, self._line(to + 1, split, "t", "f", self._received_since)]

    def issued(self, number: int, stored: str, retired: str) -> str:
        """Return a GGO issued to the account at this position in `subjects`."""
        if stored == "t":
            since = self._held_since
        else:
            since = self._split_since if retired == "f" else self._retired_since
        origin = f"p{number}\t\\N\t\\N\t\\N\t\\N\t\\N"
        return self._line(number + 1, origin, stored, retired, since)

    def _line(self, owner_id: int, origin: str, stored: str, retired: str, since: str) -> str:
        self._id += 1
        dice = self._dice.getrandbits(256)
        code, fuel = _CODES[dice % 3]
        sector = "DK1" if dice % 4 else "DK2"
        if retired == "f":
            retired = "f\t\\N\t\\N"
        return (
            f"{self._id}\t{owner_id}\t849c0b{dice:064x}\t{1 + dice % 1_000_000}\t{self._times}\t"
            f'{sector}\t{code}\t{fuel}\t{{"CO2": 0.0, "SO2": 0.12}}\t2016-01-01 00:00+00\t'
            f"2050-01-01 00:00+00\t{origin}\t{stored}\t{retired}\t{since}\n"
        )


class _Lines(io.RawIOBase):
    """Lines as a file that can be read once; shows its progress on the console."""

    def __init__(self, lines: Iterator[str], count: int, console: Console) -> None:
        self._lines = lines
        self._count = count
        self._console = console
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next lines, whatever `size`; empty at the end."""
        del size
        chunk = list(islice(self._lines, _CHUNK_LINES))
        self._done += len(chunk)
        self._console.bar("GGOs", self._done, self._count)
        return "".join(chunk).encode()
