"""Databases of the original service, for `flask adopt` (contract: original-schema).

`OriginalDatabase` builds consistent rows, with true keys and addresses, and writes them by COPY:

    original = OriginalDatabase()
    anna, bert = original.user("anna"), original.user("bert")
    mill = original.point(anna, "production")
    home = original.point(anna, "consumption")
    ggo = original.issue(mill, begin, 1000)
    parts = original.compose(ggo, transfers=[(400, bert)], retires=[(500, home)])
    original.compose(parts[0], transfers=[(100, anna)], state="SUBMITTED")  # in flight
    original.write(uri, schema="original")

- Rows are dictionaries by column. A test may change any of them before it writes them, or append its
  own by `add`. Without constraints (`write(..., constraints=False)`) nothing checks them.
- `compose` returns the parts in the contract's order: transfers, remainder, retired. States:
  `COMPLETED` (the default), `PENDING`, `SUBMITTED`, `DECLINED`. `handle=None` with `COMPLETED` means
  never sent. By default a PENDING batch has no handle, and the others have one. A DECLINED batch
  keeps its transaction and no parts; delete the transaction to compose the GGO again.
- `trade` adds a random, lifelike history with a seed.
- `exported` reads a database of this service back into the original's form, keys in clear: with it,
  the sandbox's ledger and DataHub know the same keys and GGOs. Batches under way are exported, too.
"""

import io
import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from typing import Any

import psycopg2

from origin.keys.derivation import (
    AddressKind,
    ExtendedKey,
    issued_ggo_address,
    master_key,
    metering_point_key,
    period_index,
    trade_branch_key,
)
from origin.keys.sealing import Sealer, master_key_context
from tests.support.database import rows as read

Row = dict[str, Any]

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
STATUS_LINK = "http://ledger.example/batch_statuses?id="
"""What a handle begins with; the ledger's id of the batch follows."""

_TABLES: Mapping[str, str] = {
    "auth_user": """
        id serial PRIMARY KEY, created timestamptz, sub text UNIQUE NOT NULL,
        master_extended_key text NOT NULL, access_token text NOT NULL,
        refresh_token text NOT NULL, token_expire timestamptz NOT NULL,
        last_login timestamptz, disabled boolean NOT NULL""",
    "accounts_meteringpoint": """
        id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES auth_user,
        gsrn text UNIQUE NOT NULL, sector text NOT NULL, key_index integer NOT NULL,
        type meteringpointtype, UNIQUE (user_id, key_index)""",
    "accounts_meteringpoint_index_sequence": """
        id serial PRIMARY KEY, user_id integer UNIQUE NOT NULL REFERENCES auth_user,
        index integer NOT NULL""",
    "ggo_ggo_index_sequence": """
        id serial PRIMARY KEY, user_id integer UNIQUE NOT NULL REFERENCES auth_user,
        index integer NOT NULL""",
    "ggo_ggo": """
        id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES auth_user,
        parent_id integer REFERENCES ggo_ggo, address text UNIQUE NOT NULL, key_index integer,
        issue_time timestamptz NOT NULL, expire_time timestamptz NOT NULL,
        begin timestamptz NOT NULL, "end" timestamptz NOT NULL, amount integer NOT NULL,
        sector text NOT NULL, technology_code text NOT NULL, fuel_code text NOT NULL,
        issued boolean NOT NULL, stored boolean NOT NULL, retired boolean NOT NULL,
        synchronized boolean NOT NULL, locked boolean NOT NULL, issue_gsrn text,
        retire_gsrn text REFERENCES accounts_meteringpoint (gsrn), retire_address text,
        emissions jsonb, UNIQUE (user_id, key_index)""",
    "ggo_technology": """
        id serial PRIMARY KEY, technology text NOT NULL, technology_code text NOT NULL,
        fuel_code text NOT NULL, UNIQUE (technology_code, fuel_code)""",
    "ledger_batch": """
        id serial PRIMARY KEY, created timestamptz, state batchstate NOT NULL,
        user_id integer NOT NULL REFERENCES auth_user, handle text,
        poll_count integer NOT NULL, submitted timestamptz""",
    "ledger_transaction": """
        id serial PRIMARY KEY, "order" integer NOT NULL, type text NOT NULL,
        batch_id integer NOT NULL REFERENCES ledger_batch,
        parent_ggo_id integer UNIQUE NOT NULL REFERENCES ggo_ggo, begin timestamptz,
        meteringpoint_id integer REFERENCES accounts_meteringpoint, measurement_address text""",
    "ledger_split_target": """
        id serial PRIMARY KEY, transaction_id integer REFERENCES ledger_transaction,
        ggo_id integer UNIQUE REFERENCES ggo_ggo, reference text""",
    "forecast_forecast": """
        id serial PRIMARY KEY, public_id text UNIQUE NOT NULL, created timestamptz,
        begin timestamptz NOT NULL, "end" timestamptz NOT NULL, sector text NOT NULL,
        reference text NOT NULL, forecast integer[] NOT NULL, resolution integer NOT NULL,
        user_id integer NOT NULL REFERENCES auth_user,
        recipient_id integer NOT NULL REFERENCES auth_user""",
    "webhook_subscription": """
        id serial PRIMARY KEY, event event NOT NULL, subject text NOT NULL, url text NOT NULL,
        secret text, UNIQUE (subject, event, url)""",
}
_ENUMS = {
    "batchstate": ("PENDING", "SUBMITTED", "DECLINED", "COMPLETED"),
    "event": ("ON_GGO_RECEIVED", "ON_FORECAST_RECEIVED"),
    "meteringpointtype": ("PRODUCTION", "CONSUMPTION"),
}
TABLES = tuple(_TABLES)
_CONSTRAINTS = ("PRIMARY KEY", "UNIQUE NOT NULL", "NOT NULL", "UNIQUE")


class OriginalDatabase:
    """The rows of an original database, by table. See the module's text."""

    def __init__(self, seed: int = 0, *, first_id: int = 1) -> None:
        self.random = random.Random(seed)
        self.rows: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._next_id = dict.fromkeys(TABLES, first_id)
        self._masters: dict[int, ExtendedKey] = {}
        self._branches: dict[tuple[int, int | None], Any] = {}
        self._targets: dict[int, Row] = {}
        self._first_id = first_id

    def add(self, table: str, **fields: Any) -> Row:
        """Append a row with the next id, unless `id` is given."""
        row = {"id": self._next_id[table], **fields}
        self._next_id[table] = max(self._next_id[table], row["id"] or 0) + 1
        self.rows[table].append(row)
        return row

    def user(self, subject: str, *, disabled: bool = False, master: str | None = None) -> Row:
        """Add a user with both index sequences; the key follows from the subject if none is given."""
        key = ExtendedKey.from_base58(master) if master else master_key(_hash(f"key of {subject}"))
        user = self.add(
            "auth_user",
            created=BEGIN,
            sub=subject,
            master_extended_key=key.base58(),
            access_token=f"access token of {subject}",
            refresh_token=f"refresh token of {subject}",
            token_expire=BEGIN + timedelta(days=1),
            last_login=BEGIN + timedelta(hours=1),
            disabled=disabled,
        )
        self._masters[user["id"]] = key
        for table in ("accounts_meteringpoint_index_sequence", "ggo_ggo_index_sequence"):
            self.add(table, user_id=user["id"], index=-1)
        return user

    def point(
        self, user: Row, kind: str | None, gsrn: str | None = None, sector: str = "DK1"
    ) -> Row:
        """Add a metering point; `kind` is production, consumption or None."""
        return self.add(
            "accounts_meteringpoint",
            user_id=user["id"],
            gsrn=gsrn or f"57{self._next_id['accounts_meteringpoint']:016}",
            sector=sector,
            key_index=self._next_index("accounts_meteringpoint_index_sequence", user["id"]),
            type=kind and kind.upper(),
        )

    def issue(self, point: Row, begin: datetime, amount: int, **fields: Any) -> Row:
        """Issue a GGO to a metering point."""
        ggo = {
            "user_id": point["user_id"],
            "parent_id": None,
            "address": issued_ggo_address(self._point_branch(point), begin),
            "key_index": None,
            "issue_time": begin + timedelta(hours=1),
            "expire_time": datetime(2100, 1, 1, tzinfo=UTC),
            "begin": begin,
            "end": begin + timedelta(hours=1),
            "amount": amount,
            "sector": point["sector"],
            "technology_code": "T020001",
            "fuel_code": "F01050100",
            "issued": True,
            **_flags(stored=True),
            "issue_gsrn": point["gsrn"],
            "retire_gsrn": None,
            "retire_address": None,
            "emissions": {"CO2": 0.5},
        }
        return self.add("ggo_ggo", **{**ggo, **fields})

    def compose(
        self,
        ggo: Row,
        transfers: Sequence[tuple[int, Row]] = (),
        retires: Sequence[tuple[int, Row]] = (),
        state: str = "COMPLETED",
        handle: str | None = "",
    ) -> list[Row]:
        """Split or retire a GGO as the original service did; return the parts.

        :param transfers: Amount and recipient.
        :param retires: Amount and metering point.
        :param handle: The batch's; "": made up where the state has one.
        """
        if handle == "":
            handle = None if state == "PENDING" else STATUS_LINK + self._ledger_id()
        batch = self.add(
            "ledger_batch",
            created=ggo["issue_time"],
            state=state,
            user_id=ggo["user_id"],
            handle=handle,
            poll_count=0,
            submitted=None if state == "PENDING" else ggo["issue_time"],
        )
        if state == "DECLINED":
            # What was rolled back is gone; the transaction still names the GGO.
            self._transaction(batch, ggo, "split", 0)
            return []
        if not transfers and [amount for amount, _ in retires] == [ggo["amount"]]:
            self._retire(batch, ggo, retires[0][1], 0)
            return []
        in_flight = state in {"PENDING", "SUBMITTED"}
        return self._split(batch, ggo, transfers, retires, in_flight=in_flight)

    def _split(
        self,
        batch: Row,
        ggo: Row,
        transfers: Sequence[tuple[int, Row]],
        retires: Sequence[tuple[int, Row]],
        *,
        in_flight: bool,
    ) -> list[Row]:
        rest = ggo["amount"] - sum(amount for amount, _ in (*transfers, *retires))
        assert rest >= 0, rest
        split = self._transaction(batch, ggo, "split", 0)
        ggo.update(_flags(in_flight=in_flight))
        wanted: list[tuple[int, int, str | None]] = [
            (amount, user["id"], f"reference {amount}") for amount, user in transfers
        ]
        wanted += [(rest, ggo["user_id"], None)] * bool(rest)
        wanted += [(amount, ggo["user_id"], None) for amount, _ in retires]
        parts = [self._part(split, ggo, *each, in_flight=in_flight) for each in wanted]
        retired = parts[len(parts) - len(retires) :]
        for order, (part, (_, point)) in enumerate(zip(retired, retires, strict=True), 1):
            self._retire(batch, part, point, order)
        return parts

    def _part(
        self,
        split: Row,
        ggo: Row,
        amount: int,
        user_id: int,
        reference: str | None,
        *,
        in_flight: bool,
    ) -> Row:
        index = self._next_index("ggo_ggo_index_sequence", user_id)
        part = self.add(
            "ggo_ggo",
            **{
                **{name: value for name, value in ggo.items() if name != "id"},
                "user_id": user_id,
                "parent_id": ggo["id"],
                "address": self._trade_branch(user_id).address(index, AddressKind.GGO),
                "key_index": index,
                "amount": amount,
                "issued": False,
                **_flags(stored=True, in_flight=in_flight),
                "issue_gsrn": None,
            },
        )
        self.add(
            "ledger_split_target",
            transaction_id=split["id"],
            ggo_id=part["id"],
            reference=reference,
        )
        return part

    def _retire(self, batch: Row, ggo: Row, point: Row, order: int) -> None:
        transaction = self._transaction(batch, ggo, "retire", order)
        address = self.measurement_address(point, ggo["begin"])
        transaction.update(
            begin=ggo["begin"], meteringpoint_id=point["id"], measurement_address=address
        )
        in_flight = batch["state"] in {"PENDING", "SUBMITTED"}
        ggo.update(
            _flags(retired=True, in_flight=in_flight),
            retire_gsrn=point["gsrn"],
            retire_address=address,
        )

    def _transaction(self, batch: Row, ggo: Row, kind: str, order: int) -> Row:
        return self.add(
            "ledger_transaction",
            order=order,
            type=kind,
            batch_id=batch["id"],
            parent_ggo_id=ggo["id"],
            begin=None,
            meteringpoint_id=None,
            measurement_address=None,
        )

    def measurement_address(self, point: Row, begin: datetime) -> str:
        """Return the address of the point's measurement of the period that begins then."""
        branch = self._point_branch(point)
        return str(branch.address(period_index(begin), AddressKind.MEASUREMENT))

    def technology(self, label: str, technology_code: str, fuel_code: str) -> Row:
        """Add a technology."""
        return self.add(
            "ggo_technology",
            technology=label,
            technology_code=technology_code,
            fuel_code=fuel_code,
        )

    def forecast(self, sender: Row, recipient: Row, amounts: Sequence[int], **fields: Any) -> Row:
        """Add a forecast by the hour."""
        number = self._next_id["forecast_forecast"]
        forecast = {
            "public_id": f"00000000-0000-4000-8000-{number:012}",
            "created": BEGIN,
            "begin": BEGIN,
            "end": BEGIN + timedelta(hours=len(amounts)),
            "sector": "DK1",
            "reference": "wind",
            "forecast": list(amounts),
            "resolution": 3600,
            "user_id": sender["id"],
            "recipient_id": recipient["id"],
        }
        return self.add("forecast_forecast", **{**forecast, **fields})

    def subscription(
        self, subject: str, url: str, secret: str | None = "secret", event: str = "ON_GGO_RECEIVED"
    ) -> Row:
        """Add a subscription of a subject, who need not be a user."""
        return self.add(
            "webhook_subscription", event=event, subject=subject, url=url, secret=secret
        )

    def trade(self, ggos: int, users: int = 20) -> None:
        """Add a random history of at least this many GGOs, of all states, and the rows around them.

        Two in ten GGOs are issued; the others are parts of up to four generations.
        """
        some = [self.user(f"user {self._first_id + number}") for number in range(users)]
        mills = [self.point(user, "production") for user in some]
        homes = {user["id"]: self.point(user, "consumption") for user in some}
        for user, other in itertools.pairwise(some):
            self.forecast(user, other, [1, 2, 3])
            self.subscription(user["sub"], "https://receiver.example/hook")
        hour = 0
        while len(self.rows["ggo_ggo"]) < ggos:
            mill = mills[hour % users]
            begin = BEGIN + timedelta(hours=hour // users)
            ggo = self.issue(mill, begin, self.random.randrange(100, 10_000))
            hour += 1
            if hour % 10 == 0:
                ggo["expire_time"] = begin + timedelta(days=30)
            if hour % 20 == 0:
                ggo["emissions"] = None
            self._trade_on(ggo, some, homes, generations=4)

    def _trade_on(
        self, ggo: Row, users: Sequence[Row], homes: Mapping[int, Row], generations: int
    ) -> None:
        chance = self.random.random()
        if generations == 0 or chance < 0.3:
            return
        state = "COMPLETED" if chance < 0.9 else self.random.choice(("PENDING", "SUBMITTED"))
        handle = None if state == "COMPLETED" and chance > 0.88 else ""
        home = homes[ggo["user_id"]]
        if chance > 0.8:
            self.compose(ggo, retires=[(ggo["amount"], home)], state=state, handle=handle)
            return
        half = ggo["amount"] // 2
        retires = [(half // 2, home)] if chance > 0.6 and half > 1 else []
        transfers = [(half, self.random.choice(users))] if half else []
        for part in self.compose(ggo, transfers, retires, state, handle):
            if not part["retired"] and not part["locked"]:
                self._trade_on(part, users, homes, generations - 1)

    def write(
        self, uri: str, schema: str = "public", *, constraints: bool = True, naive: bool = False
    ) -> None:
        """Create the schema's tables if they are missing, and append all rows.

        :param constraints: False: no primary keys, no unique, no foreign keys, NULL allowed,
            amounts of any size, and texts instead of enums.
        :param naive: Times are `timestamp` without time zone, in UTC.
        """
        with (
            closing(psycopg2.connect(uri)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SET TimeZone = 'UTC'")
            for statement in create_statements(schema, constraints=constraints, naive=naive):
                cursor.execute(statement)
            for table, found in self.rows.items():
                if found:
                    columns = ", ".join(f'"{name}"' for name in found[0])
                    text = io.StringIO("".join(_lines(found)))
                    cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", text)

    def _next_index(self, table: str, user_id: int) -> int:
        # Users are added together with their sequences, so both have the same place.
        sequence = self.rows[table][user_id - self._first_id]
        assert sequence["user_id"] == user_id
        sequence["index"] += 1
        return int(sequence["index"])

    def _point_branch(self, point: Row) -> Any:
        key = (point["user_id"], point["key_index"])
        if key not in self._branches:
            found = metering_point_key(self._masters[key[0]], key[1]).public_branch_key
            self._branches[key] = found
        return self._branches[key]

    def _trade_branch(self, user_id: int) -> Any:
        if (user_id, None) not in self._branches:
            found = trade_branch_key(self._masters[user_id]).public_branch_key
            self._branches[user_id, None] = found
        return self._branches[user_id, None]

    def _ledger_id(self) -> str:
        return _hash(f"batch {self._next_id['ledger_batch']}").hex()


def create_statements(schema: str, *, constraints: bool = True, naive: bool = False) -> list[str]:
    """Return the DDL of the original service; each statement may be repeated."""
    made = [f'CREATE SCHEMA IF NOT EXISTS "{schema}"', f'SET LOCAL search_path = "{schema}"']
    for name, values in _ENUMS.items():
        labels = ", ".join(f"'{value}'" for value in values)
        made.append(
            f"DO $$ BEGIN IF to_regtype('{schema}.{name}') IS NULL THEN "
            f"CREATE TYPE {name} AS ENUM ({labels}); END IF; END $$"
        )
    for table, columns in _TABLES.items():
        text = columns
        if naive:
            text = text.replace("timestamptz", "timestamp")
        if not constraints:
            text = _without_constraints(text)
        made.append(f"CREATE TABLE IF NOT EXISTS {table} ({text})")
    return made


def _without_constraints(columns: str) -> str:
    kept = []
    for each in columns.split(","):
        text = each.partition("REFERENCES")[0].replace("serial", "bigint")
        for constraint in _CONSTRAINTS:
            text = text.replace(constraint, "")
        text = text.replace("amount integer", "amount numeric").replace("integer", "bigint")
        kept.append(re.sub(r"(\S+) (batchstate|event|meteringpointtype)\s*$", r"\1 text", text))
    # What is left of constraints of several columns are bare lists of names.
    joined = ",".join(kept)
    for remains in (
        "(user_id, key_index)",
        "(technology_code, fuel_code)",
        "(subject, event, url)",
    ):
        joined = joined.replace(remains, "")
    return ",".join(each for each in joined.split(",") if each.strip())


def exported(uri: str, sealer: Sealer) -> OriginalDatabase:
    """Return the rows of this service's database as the original service would have them.

    Keys are opened. Batches keep their ids and states; those with a ledger's id get a handle.
    """
    original = OriginalDatabase()
    for user in read(uri, "SELECT * FROM users ORDER BY id"):
        key = sealer.open(user["master_key"], master_key_context(user["subject"]))
        made = original.user(user["subject"], disabled=user["disabled_at"] is not None, master=key)
        _renumber(original, made, user)
    _export(original, "accounts_meteringpoint", uri, _POINTS)
    _export(original, "ggo_ggo", uri, _GGOS)
    _export(
        original, "ggo_technology", uri, "SELECT row_number() OVER () AS id, * FROM technologies"
    )
    _export(original, "ledger_batch", uri, _BATCHES)
    for batch in original.rows["ledger_batch"]:
        batch["handle"] = batch["handle"] and STATUS_LINK + batch["handle"]
    _export(original, "ledger_transaction", uri, _TRANSACTIONS)
    _export(original, "ledger_split_target", uri, _TARGETS)
    return original


def _renumber(original: OriginalDatabase, made: Row, user: Row) -> None:
    """Give an exported user its id and its counters."""
    made["id"] = user["id"]
    for table, column in (
        ("accounts_meteringpoint_index_sequence", "next_metering_point_index"),
        ("ggo_ggo_index_sequence", "next_trade_index"),
    ):
        original.rows[table][-1].update(user_id=user["id"], index=user[column] - 1)


def _export(original: OriginalDatabase, table: str, uri: str, sql: str) -> None:
    for row in read(uri, sql):
        original.add(table, **row)


_POINTS = """
SELECT id, user_id, gsrn, sector, key_index, upper(type) AS type FROM metering_points ORDER BY id
"""
_GGOS = """
SELECT id, owner_id AS user_id, parent_id, address, key_index, issue_time, expire_time, begin,
    "end", amount, sector, technology_code, fuel_code, issue_gsrn IS NOT NULL AS issued, stored,
    retired, NOT locked AS synchronized, locked, issue_gsrn, retire_gsrn, retire_address, emissions
FROM ggos ORDER BY id
"""
_BATCHES = """
SELECT id, created_at AS created, state, user_id, ledger_batch_id AS handle, 0 AS poll_count,
    submitted_at AS submitted
FROM batches ORDER BY id
"""
_TRANSACTIONS = """
SELECT t.id, position AS "order", t.type, batch_id, ggo_id AS parent_ggo_id,
    CASE WHEN t.type = 'retire' THEN begin END AS begin, point.id AS meteringpoint_id,
    CASE WHEN t.type = 'retire' THEN retire_address END AS measurement_address
FROM transactions AS t JOIN ggos ON ggos.id = ggo_id
LEFT JOIN metering_points AS point ON point.gsrn = retire_gsrn AND t.type = 'retire'
ORDER BY t.id
"""
_TARGETS = """
SELECT row_number() OVER (ORDER BY parent_id, split_position) AS id, t.id AS transaction_id,
    ggos.id AS ggo_id, reference
FROM ggos JOIN transactions AS t ON t.ggo_id = parent_id AND t.type = 'split'
"""


def _flags(*, stored: bool = False, retired: bool = False, in_flight: bool = False) -> Row:
    """Return the contract's four flags; with neither stored nor retired: of a split's source."""
    return {
        "stored": stored,
        "retired": retired,
        "synchronized": not in_flight,
        "locked": in_flight,
    }


def _hash(text: str) -> bytes:
    return sha512(text.encode()).digest()


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    names = list(rows[0])
    for row in rows:
        yield "\t".join(_text(row[name]) for name in names) + "\n"


def _text(value: Any) -> str:
    """Return a value in the text format of COPY."""
    match value:
        case None:
            return "\\N"
        case bool():
            return "t" if value else "f"
        case datetime():
            return value.isoformat()
        case dict():
            text = json.dumps(value)
        case list():
            text = "{" + ",".join("NULL" if each is None else str(each) for each in value) + "}"
        case _:
            text = str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
