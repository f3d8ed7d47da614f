"""An original database that this file writes itself, from the contract's schema and rules alone.

It shares no code with `tests.support.original_database` nor with our keys: BIP32 is by bip32utils, as in
the original service. What the service shows afterwards is compared, user by user and over HTTP, with
what the rows of the original say.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha224, sha512
from typing import Any

import bip32utils
import psycopg2
import pytest

from devstack.configured import Postgres
from tests.support.adopting import run
from tests.support.world import World

DDL = """
CREATE TYPE {0}.batchstate AS ENUM ('PENDING', 'SUBMITTED', 'DECLINED', 'COMPLETED');
CREATE TYPE {0}.event AS ENUM ('ON_GGO_RECEIVED', 'ON_FORECAST_RECEIVED');
CREATE TYPE {0}.meteringpointtype AS ENUM ('PRODUCTION', 'CONSUMPTION');
CREATE TABLE {0}.auth_user (
    id integer PRIMARY KEY, created timestamptz, sub varchar UNIQUE NOT NULL,
    master_extended_key varchar NOT NULL, access_token varchar NOT NULL, refresh_token varchar NOT NULL,
    token_expire timestamptz NOT NULL, last_login timestamptz, disabled boolean NOT NULL);
CREATE TABLE {0}.accounts_meteringpoint (
    id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES {0}.auth_user, gsrn varchar UNIQUE NOT NULL,
    sector varchar NOT NULL, key_index integer NOT NULL, type {0}.meteringpointtype,
    UNIQUE (user_id, key_index));
CREATE TABLE {0}.accounts_meteringpoint_index_sequence (
    id integer PRIMARY KEY, user_id integer UNIQUE NOT NULL REFERENCES {0}.auth_user, index integer NOT NULL);
CREATE TABLE {0}.ggo_ggo_index_sequence (
    id integer PRIMARY KEY, user_id integer UNIQUE NOT NULL REFERENCES {0}.auth_user, index integer NOT NULL);
CREATE TABLE {0}.ggo_ggo (
    id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES {0}.auth_user,
    parent_id integer REFERENCES {0}.ggo_ggo, address varchar UNIQUE NOT NULL, key_index integer,
    issue_time timestamptz NOT NULL, expire_time timestamptz NOT NULL, begin timestamptz NOT NULL,
    "end" timestamptz NOT NULL, amount integer NOT NULL, sector varchar NOT NULL,
    technology_code varchar NOT NULL, fuel_code varchar NOT NULL, issued boolean NOT NULL,
    stored boolean NOT NULL, retired boolean NOT NULL, synchronized boolean NOT NULL,
    locked boolean NOT NULL, issue_gsrn varchar REFERENCES {0}.accounts_meteringpoint (gsrn),
    retire_gsrn varchar REFERENCES {0}.accounts_meteringpoint (gsrn), retire_address varchar,
    emissions jsonb, UNIQUE (user_id, key_index));
CREATE TABLE {0}.ggo_technology (
    id integer PRIMARY KEY, technology varchar NOT NULL, technology_code varchar NOT NULL,
    fuel_code varchar NOT NULL, UNIQUE (technology_code, fuel_code));
CREATE TABLE {0}.ledger_batch (
    id integer PRIMARY KEY, created timestamptz, state {0}.batchstate NOT NULL,
    user_id integer NOT NULL REFERENCES {0}.auth_user, handle varchar, poll_count integer NOT NULL,
    submitted timestamptz);
CREATE TABLE {0}.ledger_transaction (
    id integer PRIMARY KEY, "order" integer NOT NULL, type varchar NOT NULL,
    batch_id integer NOT NULL REFERENCES {0}.ledger_batch,
    parent_ggo_id integer UNIQUE NOT NULL REFERENCES {0}.ggo_ggo, begin timestamptz,
    meteringpoint_id integer REFERENCES {0}.accounts_meteringpoint, measurement_address varchar);
CREATE TABLE {0}.ledger_split_target (
    id integer PRIMARY KEY, transaction_id integer REFERENCES {0}.ledger_transaction,
    ggo_id integer UNIQUE REFERENCES {0}.ggo_ggo, reference varchar);
CREATE TABLE {0}.forecast_forecast (
    id integer PRIMARY KEY, public_id varchar UNIQUE NOT NULL, created timestamptz,
    begin timestamptz NOT NULL, "end" timestamptz NOT NULL, sector varchar NOT NULL,
    reference varchar NOT NULL, forecast integer[] NOT NULL, resolution integer NOT NULL,
    user_id integer NOT NULL REFERENCES {0}.auth_user,
    recipient_id integer NOT NULL REFERENCES {0}.auth_user);
CREATE TABLE {0}.webhook_subscription (
    id integer PRIMARY KEY, event {0}.event NOT NULL, subject varchar NOT NULL, url varchar NOT NULL,
    secret varchar, UNIQUE (subject, event, url));
CREATE TABLE {0}.alembic_version (version_num varchar(32) NOT NULL);
INSERT INTO {0}.alembic_version VALUES ('dd6130a7a463');
"""
PREFIXES = {"GGO": "849c0b", "MEASUREMENT": "5a9839"}
CATEGORIES = ("issued", "stored", "retired", "expired")
NEW_YEAR = datetime(2021, 1, 1, tzinfo=UTC)
FAR = datetime(2099, 1, 1, tzinfo=UTC)
LINK = "https://ledger.example:8008/batch_statuses?wait=0&id={}&limit=1"
WIND, SUN = ("T020001", "F01050100"), ("T010000", "F01040100")


def address(kind: str, key: bip32utils.BIP32Key) -> str:
    """The contract's formula (domain, Keys and addresses)."""
    public = sha512(key.PublicKey()).digest()
    head = sha512(kind.encode()).digest()[:3] + sha224(public).digest()
    found = (head + sha512(sha512(head).digest()).digest()[:4]).hex()
    assert found.startswith(PREFIXES[kind])
    return found


class Original:
    """What the original service did, statement by statement."""

    def __init__(self, uri: str, schema: str = "public") -> None:
        self.connection = psycopg2.connect(uri)
        self.schema = schema
        self.masters: dict[str, bip32utils.BIP32Key] = {}
        self.next: Counter[str] = Counter()
        self.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        self.execute(DDL.format(schema))

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(f'SET search_path = "{self.schema}"')
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, **values: Any) -> int:
        """Insert a row with an id that leaves gaps."""
        self.next[table] += 3
        row = {"id": 1000 + self.next[table], **values}
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join(["%s"] * len(row))
        self.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", *row.values())  # noqa: S608
        return int(row["id"])

    def user(self, sub: str, *, disabled: bool = False) -> int:
        self.masters[sub] = bip32utils.BIP32Key.fromEntropy(sha512(sub.encode()).digest())
        return self.insert(
            "auth_user",
            created=None if sub == "old" else NEW_YEAR,
            sub=sub,
            master_extended_key=self.masters[sub].ExtendedKey(),
            access_token=f"secret access of {sub}",
            refresh_token=f"secret refresh of {sub}",
            token_expire=NEW_YEAR,
            last_login=None,
            disabled=disabled,
        )

    def id_of(self, sub: str) -> int:
        return int(self.execute("SELECT id FROM auth_user WHERE sub = %s", sub)[0][0])

    def take_index(self, table: str, user_id: int) -> int:
        """The next index, as the original gave them out: the table has the last one."""
        taken = f"UPDATE {table} SET index = index + 1 WHERE user_id = %s RETURNING index"  # noqa: S608
        found = self.execute(taken, user_id)
        if not found:
            self.insert(table, user_id=user_id, index=0)
            return 0
        return int(found[0][0])

    def point(self, sub: str, gsrn: str, kind: str | None, sector: str = "DK1") -> str:
        user_id = self.id_of(sub)
        self.insert(
            "accounts_meteringpoint",
            user_id=user_id,
            gsrn=gsrn,
            sector=sector,
            key_index=self.take_index("accounts_meteringpoint_index_sequence", user_id),
            type=kind,
        )
        return gsrn

    def point_address(self, kind: str, gsrn: str, begin: datetime) -> str:
        ((sub, index),) = self.execute(
            "SELECT sub, key_index FROM accounts_meteringpoint AS p JOIN auth_user AS u "
            "ON u.id = user_id WHERE gsrn = %s",
            gsrn,
        )
        path = self.masters[sub].ChildKey(1).ChildKey(index)
        return address(kind, path.ChildKey(int(begin.timestamp())))

    def issue(self, gsrn: str, hour: int, amount: int, **changes: Any) -> int:
        begin = NEW_YEAR + timedelta(hours=hour)
        ((user_id, sector),) = self.execute(
            "SELECT user_id, sector FROM accounts_meteringpoint WHERE gsrn = %s", gsrn
        )
        technology, fuel = SUN if hour % 2 else WIND
        row = {
            "user_id": user_id,
            "parent_id": None,
            "address": self.point_address("GGO", gsrn, begin),
            "key_index": None,
            "issue_time": begin + timedelta(days=1),
            "expire_time": FAR,
            "begin": begin,
            "end": begin + timedelta(hours=1),
            "amount": amount,
            "sector": sector,
            "technology_code": technology,
            "fuel_code": fuel,
            "issued": True,
            "stored": True,
            "retired": False,
            "synchronized": True,
            "locked": False,
            "issue_gsrn": gsrn,
            "emissions": json.dumps({"CO2": 0.25, "SO2": 1}),
        }
        return self.insert("ggo_ggo", **{**row, **changes})

    def batch(self, ggo: int, state: str, handle: str | None = "given") -> int:
        ((user_id,),) = self.execute("SELECT user_id FROM ggo_ggo WHERE id = %s", ggo)
        sent = state != "PENDING"
        number = self.next["ledger_batch"]
        if handle == "given":
            handle = LINK.format(sha512(b"%d" % number).hexdigest()) if sent else None
        return self.insert(
            "ledger_batch",
            created=None if number % 2 else NEW_YEAR,
            state=state,
            user_id=user_id,
            handle=handle,
            poll_count=number,
            submitted=NEW_YEAR if sent else None,
        )

    def retire(self, batch: int, order: int, ggo: int, gsrn: str, *, settled: bool) -> None:
        ((begin,),) = self.execute("SELECT begin FROM ggo_ggo WHERE id = %s", ggo)
        measurement = self.point_address("MEASUREMENT", gsrn, begin)
        ((point_id,),) = self.execute("SELECT id FROM accounts_meteringpoint WHERE gsrn = %s", gsrn)
        self.insert(
            "ledger_transaction",
            order=order,
            type="retire",
            batch_id=batch,
            parent_ggo_id=ggo,
            begin=begin,
            meteringpoint_id=point_id,
            measurement_address=measurement,
        )
        self.execute(
            "UPDATE ggo_ggo SET stored = false, retired = true, synchronized = %s, locked = %s, "
            "retire_gsrn = %s, retire_address = %s WHERE id = %s",
            settled,
            not settled,
            gsrn,
            measurement,
            ggo,
        )

    def retire_whole(self, ggo: int, gsrn: str, state: str = "COMPLETED", **batch: Any) -> None:
        """Retire a GGO without a split; this service's orders begin with 7."""
        number = self.batch(ggo, state, **batch)
        self.retire(number, 7, ggo, gsrn, settled=state == "COMPLETED")

    def split(
        self,
        ggo: int,
        parts: list[tuple[str, int, str | None]],
        state: str = "COMPLETED",
        first_order: int = 0,
        **batch: Any,
    ) -> list[int]:
        """Split a GGO into (subject, amount, reference); "retire:GSRN" retires the part.

        Parts get their ids from the last to the first, and targets from the first to the last.
        """
        settled = state == "COMPLETED"
        number = self.batch(ggo, state, **batch)
        (source,) = self.execute("SELECT * FROM ggo_ggo WHERE id = %s", ggo)
        columns = self.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'ggo_ggo' "
            "AND table_schema = %s ORDER BY ordinal_position",
            self.schema,
        )
        parent = dict(zip((name for (name,) in columns), source, strict=True))
        split = self.insert(
            "ledger_transaction",
            order=first_order,
            type="split",
            batch_id=number,
            parent_ggo_id=ggo,
        )
        self.execute(
            "UPDATE ggo_ggo SET stored = false, synchronized = %s, locked = %s WHERE id = %s",
            settled,
            not settled,
            ggo,
        )
        made: list[int] = []
        for owner, amount, _ in reversed(parts):
            sub = owner if not owner.startswith("retire:") else ""
            user_id = self.id_of(sub) if sub else parent["user_id"]
            ((owner_sub,),) = self.execute("SELECT sub FROM auth_user WHERE id = %s", user_id)
            index = self.take_index("ggo_ggo_index_sequence", user_id)
            key = self.masters[owner_sub].ChildKey(0).ChildKey(index)
            emissions = parent["emissions"]
            part = {
                **{name: value for name, value in parent.items() if name != "id"},
                "user_id": user_id,
                "parent_id": ggo,
                "address": address("GGO", key),
                "key_index": index,
                "amount": amount,
                "issued": False,
                "stored": True,
                "synchronized": settled,
                "locked": not settled,
                "issue_gsrn": None,
                "emissions": None if emissions is None else json.dumps(emissions),
            }
            made.insert(0, self.insert("ggo_ggo", **part))
        for place, (part_id, (owner, _, reference)) in enumerate(zip(made, parts, strict=True)):
            self.insert(
                "ledger_split_target", transaction_id=split, ggo_id=part_id, reference=reference
            )
            if owner.startswith("retire:"):
                gsrn = owner.removeprefix("retire:")
                self.retire(number, first_order + 1 + place, part_id, gsrn, settled=settled)
        return made


def write_history(original: Original) -> None:
    """A dozen users; GGOs of 1000 Wh by the hour."""
    for sub in ("anna", "bert", "carl", "dora", "emil", "fine", "gorm", "old", "empty", "lone"):
        original.user(sub)
    original.user("gone", disabled=True)
    original.user("ære-ø@example.com | 'x'")
    for sub in ("anna", "bert", "carl", "dora", "gone", "old"):
        original.point(sub, f"mill-{sub}", "PRODUCTION")
        original.point(sub, f"home-{sub}", "CONSUMPTION")
    original.point("emil", "home-emil", None, "DK2")
    original.point("emil", "mill-emil", None, "DK2")
    original.point("lone", "shy-lone", None)
    original.insert("ggo_technology", technology="Wind", technology_code=WIND[0], fuel_code=WIND[1])
    original.insert("ggo_technology", technology="Solar", technology_code=SUN[0], fuel_code=SUN[1])

    for hour in range(12):
        original.issue("mill-bert", hour, 1000)
        ggo = original.issue("mill-anna", hour, 1000 + hour)
        # Three generations: Anna to Bert, Bert to Carl, Carl retires.
        first = original.split(
            ggo, [("bert", 600, "a-b"), ("anna", 300 + hour, None), ("retire:home-anna", 100, None)]
        )
        second = original.split(
            first[0], [("carl", 400, "b-c"), ("bert", 50, ""), ("bert", 150, None)], first_order=3
        )
        if hour % 3 == 0:
            original.retire_whole(second[0], "home-carl")
        elif hour % 3 == 1:
            original.split(second[0], [("dora", 1, "c-d"), ("retire:home-carl", 399, None)])
    # Two retires of one split, and one retire that goes to another home of the same user.
    original.point("anna", "home-anna-2", "CONSUMPTION")
    ggo = original.issue("mill-anna", 40, 500)
    original.split(
        ggo,
        [("anna", 200, None), ("retire:home-anna", 100, None), ("retire:home-anna-2", 200, None)],
    )
    original.retire_whole(original.issue("mill-emil", 1, 77), "home-emil")
    # In each state that has not ended, split and whole.
    for hour, state in ((50, "PENDING"), (52, "SUBMITTED")):
        ggo = original.issue("mill-dora", hour, 900)
        original.split(
            ggo, [("fine", 500, "d-f"), ("dora", 300, None), ("retire:home-dora", 100, None)], state
        )
        original.retire_whole(original.issue("mill-dora", hour + 1, 900), "home-dora", state)
    # Never sent, with a part of a part.
    ggo = original.issue("mill-old", 60, 700)
    parts = original.split(ggo, [("gorm", 400, "o-g"), ("old", 300, None)], handle=None)
    parts = original.split(parts[0], [("old", 150, "g-o"), ("gorm", 250, None)], handle="")
    original.split(parts[1], [("gorm", 250, None)], handle=" ")
    # Declined. The original can have kept its transaction only if the GGO was left alone since
    # (parent_ggo_id is unique): else it must have deleted it, before the next compose.
    kept, composed = original.issue("mill-carl", 70, 800), original.issue("mill-carl", 71, 800)
    declined = original.batch(kept, "DECLINED")
    split = original.insert(
        "ledger_transaction", order=0, type="split", batch_id=declined, parent_ggo_id=kept
    )
    for _ in range(2):
        # The parts are deleted, which sets their targets' ggo_id NULL.
        original.insert("ledger_split_target", transaction_id=split, ggo_id=None, reference="x")
    original.batch(composed, "DECLINED")
    original.split(composed, [("bert", 800, "again")])
    whole = original.issue("mill-carl", 72, 800)
    original.insert(
        "ledger_transaction",
        order=0,
        type="retire",
        batch_id=original.batch(whole, "DECLINED"),
        parent_ggo_id=whole,
    )
    # Of a disabled user, and from one.
    ggo = original.issue("mill-gone", 80, 600)
    original.split(ggo, [("anna", 250, "farewell"), ("gone", 350, None)])
    # Expired; JSON null and SQL NULL; a quarter of an hour; the largest integer.
    original.issue("mill-anna", 90, 5, expire_time=NEW_YEAR + timedelta(days=9))
    original.issue("mill-anna", 91, 6, emissions="null")
    original.issue("mill-anna", 92, 7, emissions=None)
    quarter = NEW_YEAR + timedelta(hours=93, minutes=15)
    original.issue("mill-anna", 93, 8, end=quarter)
    original.issue("mill-anna", 94, 2**31 - 1)
    for number, (sender, recipient) in enumerate((("anna", "bert"), ("bert", "gone"))):
        original.insert(
            "forecast_forecast",
            public_id=f"6f1e{number}c3e-9f4b-4a32-8a56-0123456789ab",
            begin=NEW_YEAR,
            end=NEW_YEAR + timedelta(hours=3),
            sector="DK1",
            reference="",
            forecast=[0, 5, 2**31 - 1],
            resolution=3600,
            user_id=original.id_of(sender),
            recipient_id=original.id_of(recipient),
        )
    for sub in ("anna", "gone", "stranger"):
        original.insert(
            "webhook_subscription",
            event="ON_GGO_RECEIVED",
            subject=sub,
            url="https://hooks.example/x?a=b",
            secret=f"whsec of {sub}",
        )


Totals = dict[Any, int]


def shown_by_the_original(original: Original, sub: str) -> Totals:
    """What the rows say, by the contract's words (domain, GGO; http-api, Filters and Transfers)."""
    found = {}
    conditions = {
        "issued": "issued",
        "stored": "stored AND expire_time > now()",
        "retired": "retired",
        "expired": "stored AND expire_time <= now()",
    }
    for category, condition in conditions.items():
        query = f"SELECT coalesce(sum(amount), 0) FROM ggo_ggo WHERE user_id = %s AND {condition}"  # noqa: S608
        found[category] = original.execute(query, original.id_of(sub))[0][0]
    for column in ("retire_gsrn", "retire_address"):
        for value, amount in original.execute(
            f"SELECT {column}, sum(amount) FROM ggo_ggo WHERE retired AND user_id = %s GROUP BY 1",  # noqa: S608
            original.id_of(sub),
        ):
            found[column, value] = amount
    for direction, column in (("outbound", "parent"), ("inbound", "part")):
        for reference, amount in original.execute(
            "SELECT reference, sum(part.amount) FROM ledger_split_target "  # noqa: S608
            "JOIN ggo_ggo AS part ON part.id = ggo_id JOIN ggo_ggo AS parent ON parent.id = "
            "part.parent_id WHERE part.user_id <> parent.user_id "
            f"AND {column}.user_id = %s GROUP BY 1",
            original.id_of(sub),
        ):
            found[direction, reference] = amount
    listed = original.execute(
        "SELECT address FROM ggo_ggo WHERE user_id = %s AND stored AND synchronized "
        "AND expire_time > now() ORDER BY address",
        original.id_of(sub),
    )
    found["listed"] = sum(int(row[0][-8:], 16) for row in listed)
    return found


def shown_here(world: World, sub: str, keys: Any) -> Totals:
    """The same, asked of our API."""
    token = world.token(sub)

    def ask(path: str, body: Any) -> Any:
        answer = world.post(path, body, token)
        assert answer.status_code == 200, answer.text
        return answer.json

    found: Totals = {}
    for key in keys:
        match key:
            case "listed":
                listed = ask("/ggo", {"filters": {"category": "stored"}})["results"]
                found[key] = sum(int(ggo["address"][-8:], 16) for ggo in listed)
            case str():
                body = {"filters": {"category": key}}
                found[key] = ask("/ggo/get-total-amount", body)["amount"]
            case ("retire_gsrn" | "retire_address" as column, value):
                name = {"retire_gsrn": "retireGsrn", "retire_address": "retireAddress"}[column]
                body = {"filters": {"category": "retired", name: [value]}}
                found[key] = ask("/ggo/get-total-amount", body)["amount"]
            case (direction, reference):
                filters = {"reference": [reference]} if reference is not None else {}
                body = {"filters": filters, "direction": direction}
                found[key] = ask("/transfer/get-total-amount", body)["amount"]
    return found


@pytest.fixture
def original(postgres: Postgres) -> Iterator[Original]:
    uri = postgres.create_database("by_hand")
    made = Original(uri)
    with closing(made.connection):
        made.uri = uri
        yield made
    postgres.drop_database("by_hand")


def adopt(world: World, original: Original, *arguments: str, status: int) -> Any:
    return json.loads(run(world, "--from", original.uri, "--json", *arguments, status=status))


def test_each_user_sees_what_the_original_showed(
    original: Original, new_world: Callable[..., World]
):
    write_history(original)
    world = new_world()
    dry = adopt(world, original, "--dry-run", status=1)
    report = adopt(world, original, status=1)
    assert {**dry, "dryRun": False} == report
    # A declined batch whose transaction is gone names no GGO.
    assert [(each["kind"], each["reason"]) for each in report["rejections"]] == [
        ("batch", "No transaction tells its GGO")
    ]
    for (sub,) in original.execute("SELECT sub FROM auth_user WHERE NOT disabled"):
        wanted = shown_by_the_original(original, sub)
        assert shown_here(world, sub, wanted) == wanted, sub
    assert world.value("SELECT count(*) FROM ggos WHERE key_mismatch") == 0
    assert report["notes"]["GGOs never sent to the ledger"] == 6
    check_energy(world, original)


def check_energy(world: World, original: Original) -> None:
    """Nothing is made or lost: of each issued GGO, in each split, and altogether."""
    ((issued,),) = original.execute("SELECT sum(amount) FROM ggo_ggo WHERE issued")
    held = world.value("SELECT sum(amount) FROM ggos WHERE stored OR retired")
    assert held == issued
    unequal = world.rows(
        "SELECT parent.id FROM ggos AS parent LEFT JOIN ggos AS part ON part.parent_id = parent.id "
        "WHERE NOT parent.stored AND NOT parent.retired GROUP BY parent.id "
        "HAVING coalesce(sum(part.amount), 0) <> parent.amount"
    )
    assert unequal == []
    parts = world.rows(
        "SELECT DISTINCT parent_id FROM ggos WHERE parent_id IN "
        "(SELECT id FROM ggos WHERE stored OR retired)"
    )
    assert parts == []
