"""The tables of the original service, and the staging tables that hold their rows.

Staging accepts any row: nothing is NOT NULL or unique, and numbers may have any size. `row_no` tells
rows apart even where the source's ids repeat. In a dry run the tables are temporary; otherwise they
are UNLOGGED, so after a crash of PostgreSQL they are empty, together with the progress.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from origin.adoption.rules import Kind

PREFIX = "adoption_staged_"


@dataclass(frozen=True, eq=False)
class SourceTable:
    """A table of the original service.

    :ivar columns: Types in staging by column of the source.
    :ivar is_sealed: It holds secrets. Its rows are sealed on the way, and `staged_columns` differ.
    """

    kind: Kind
    name: str
    staged: str
    columns: Mapping[str, str]
    staged_columns: Mapping[str, str] | None = None

    @property
    def is_sealed(self) -> bool:
        """Whether its rows hold secrets, which are sealed on the way to staging."""
        return self.staged_columns is not None

    def create(self, persistence: str) -> str:
        """Return the statement that creates its staging table, if it is missing."""
        columns = self.columns if self.staged_columns is None else self.staged_columns
        given = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        return (
            f"CREATE {persistence} TABLE IF NOT EXISTS {self.staged} "
            f"(row_no bigint GENERATED ALWAYS AS IDENTITY, {given})"
        )


_ID = {"id": "bigint"}
_INDEX = {**_ID, "user_id": "bigint", "index": "bigint"}

USERS = SourceTable(
    Kind.USER,
    "auth_user",
    f"{PREFIX}users",
    {
        **_ID,
        "created": "timestamptz",
        "sub": "text",
        "master_extended_key": "text",
        "access_token": "text",
        "refresh_token": "text",
        "token_expire": "timestamptz",
        "last_login": "timestamptz",
        "disabled": "boolean",
    },
    {
        **_ID,
        "created": "timestamptz",
        "subject": "text",
        "master_key": "text",
        "access_token": "text",
        "refresh_token": "text",
        "token_expire": "timestamptz",
        "last_login": "timestamptz",
        "disabled": "boolean",
    },
)
SUBSCRIPTIONS = SourceTable(
    Kind.SUBSCRIPTION,
    "webhook_subscription",
    f"{PREFIX}subscriptions",
    {**_ID, "event": "text", "subject": "text", "url": "text", "secret": "text"},
    {
        **_ID,
        "event": "text",
        "subject": "text",
        "url": "text",
        "host": "text",
        "secret": "text",
        "problem": "text",
    },
)
POINTS = SourceTable(
    Kind.METERING_POINT,
    "accounts_meteringpoint",
    f"{PREFIX}points",
    {
        **_ID,
        "user_id": "bigint",
        "gsrn": "text",
        "sector": "text",
        "key_index": "bigint",
        "type": "text",
    },
)
POINT_INDEXES = SourceTable(
    Kind.METERING_POINT_INDEX,
    "accounts_meteringpoint_index_sequence",
    f"{PREFIX}point_indexes",
    _INDEX,
)
GGO_INDEXES = SourceTable(Kind.GGO_INDEX, "ggo_ggo_index_sequence", f"{PREFIX}ggo_indexes", _INDEX)
GGOS = SourceTable(
    Kind.GGO,
    "ggo_ggo",
    f"{PREFIX}ggos",
    {
        **_ID,
        "user_id": "bigint",
        "parent_id": "bigint",
        "address": "text",
        "key_index": "bigint",
        "issue_time": "timestamptz",
        "expire_time": "timestamptz",
        "begin": "timestamptz",
        "end": "timestamptz",
        "amount": "numeric",
        "sector": "text",
        "technology_code": "text",
        "fuel_code": "text",
        "issued": "boolean",
        "stored": "boolean",
        "retired": "boolean",
        "synchronized": "boolean",
        "locked": "boolean",
        "issue_gsrn": "text",
        "retire_gsrn": "text",
        "retire_address": "text",
        "emissions": "jsonb",
    },
)
TECHNOLOGIES = SourceTable(
    Kind.TECHNOLOGY,
    "ggo_technology",
    f"{PREFIX}technologies",
    {**_ID, "technology": "text", "technology_code": "text", "fuel_code": "text"},
)
BATCHES = SourceTable(
    Kind.BATCH,
    "ledger_batch",
    f"{PREFIX}batches",
    {
        **_ID,
        "created": "timestamptz",
        "state": "text",
        "user_id": "bigint",
        "handle": "text",
        "submitted": "timestamptz",
    },
)
TRANSACTIONS = SourceTable(
    Kind.TRANSACTION,
    "ledger_transaction",
    f"{PREFIX}transactions",
    {
        **_ID,
        "order": "bigint",
        "type": "text",
        "batch_id": "bigint",
        "parent_ggo_id": "bigint",
    },
)
TARGETS = SourceTable(
    Kind.SPLIT_TARGET,
    "ledger_split_target",
    f"{PREFIX}targets",
    {**_ID, "transaction_id": "bigint", "ggo_id": "bigint", "reference": "text"},
)
FORECASTS = SourceTable(
    Kind.FORECAST,
    "forecast_forecast",
    f"{PREFIX}forecasts",
    {
        **_ID,
        "public_id": "text",
        "created": "timestamptz",
        "begin": "timestamptz",
        "end": "timestamptz",
        "sector": "text",
        "reference": "text",
        "forecast": "numeric[]",
        "resolution": "bigint",
        "user_id": "bigint",
        "recipient_id": "bigint",
    },
)

TABLES = (
    USERS,
    SUBSCRIPTIONS,
    TECHNOLOGIES,
    POINTS,
    POINT_INDEXES,
    GGO_INDEXES,
    GGOS,
    BATCHES,
    TRANSACTIONS,
    TARGETS,
    FORECASTS,
)
"""In the order in which they are staged: subscriptions are sealed for users that are adopted."""

REJECTIONS = f"{PREFIX}rejections"
MISMATCHES = f"{PREFIX}mismatches"
_PROGRESS = f"{PREFIX}progress"
_ORIGIN = f"{PREFIX}origin"
_HELPERS = {
    REJECTIONS: "kind text, row_no bigint, id bigint, reason text, PRIMARY KEY (kind, row_no)",
    MISMATCHES: "ggo_id bigint PRIMARY KEY",
    _PROGRESS: "name text PRIMARY KEY, cursor bigint, rows bigint NOT NULL, done boolean NOT NULL",
    _ORIGIN: "source text NOT NULL, fingerprint text NOT NULL",
}
_INDEXES = (
    f"{USERS.staged} (id)",
    f"{POINTS.staged} (gsrn)",
    f"{BATCHES.staged} (id)",
    f"{TRANSACTIONS.staged} (id)",
    f"{GGOS.staged} (id)",
    f"{GGOS.staged} (parent_id)",
    f"{GGOS.staged} (user_id)",
    f"{TRANSACTIONS.staged} (parent_ggo_id)",
    f"{TRANSACTIONS.staged} (batch_id)",
    f"{TARGETS.staged} (ggo_id)",
)


def layout() -> str:
    """Return a hash of the staging tables' columns; staging of another layout can't be continued."""
    text = "".join(table.create("") for table in TABLES) + str(_HELPERS)
    return sha256(text.encode()).hexdigest()[:16]


def create_staging(cursor: Cursor, *, is_dry: bool) -> None:
    """Create the staging tables that are missing."""
    persistence = "TEMPORARY" if is_dry else "UNLOGGED"
    for table in TABLES:
        cursor.execute(table.create(persistence))
    for name, columns in _HELPERS.items():
        cursor.execute(f"CREATE {persistence} TABLE IF NOT EXISTS {name} ({columns})")


def drop_staging(cursor: Cursor) -> None:
    """Drop the staging tables and all that depends on them."""
    for name in (*(table.staged for table in TABLES), *_HELPERS):
        cursor.execute(f"DROP TABLE IF EXISTS {name} CASCADE")


def index_staging(cursor: Cursor) -> None:
    """Index the staged rows, and let the planner know them."""
    for number, columns in enumerate(_INDEXES):
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {PREFIX}index_{number} ON {columns}")
    for table in TABLES:
        cursor.execute(f"ANALYZE {table.staged}")


def staged_origin(cursor: Cursor) -> tuple[str, str] | None:
    """Return source and fingerprint of the staged rows; None: nothing is staged."""
    cursor.execute(f"SELECT source, fingerprint FROM {_ORIGIN}")
    found = cursor.fetchone()
    return None if found is None else (found[0], found[1])


def record_origin(cursor: Cursor, source: str, fingerprint: str) -> None:
    """Record what is being staged."""
    cursor.execute(f"INSERT INTO {_ORIGIN} VALUES (%s, %s)", (source, fingerprint))


@dataclass(frozen=True)
class Progress:
    """How far a step is: the last id that it has finished (None: no id yet), and rows so far."""

    cursor: int | None
    rows: int
    is_done: bool


def progress_of(cursor: Cursor, name: str) -> Progress | None:
    """Return how far the step of this name is; None: it has not begun."""
    cursor.execute(f"SELECT cursor, rows, done FROM {_PROGRESS} WHERE name = %s", (name,))
    found = cursor.fetchone()
    return None if found is None else Progress(*found)


def save_progress(cursor: Cursor, name: str, progress: Progress) -> None:
    """Store how far the step of this name is."""
    cursor.execute(
        f"INSERT INTO {_PROGRESS} VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO UPDATE "
        "SET cursor = excluded.cursor, rows = excluded.rows, done = excluded.done",
        (name, progress.cursor, progress.rows, progress.is_done),
    )
