"""The previous release's code works on the schema of this one, and each migration can be taken back."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text
from sqlalchemy.orm import Session

from devstack.processes import ROOT
from origin.db.compatibility import oldest_usable_revision
from origin.migrate import alembic_config, upgrade
from tests.support.schema_changes import contractions, read_schema

Contents = dict[str, list[dict[str, Any]]]

FIRST = "0014"
"""The first revision that names the oldest usable one."""
BASE = "0011"
"""From here on, migrations may only add."""


def _scripts() -> list[Script]:
    """Return all migrations, oldest first."""
    script = ScriptDirectory.from_config(alembic_config("postgresql://"))
    return list(script.walk_revisions())[::-1]


def _engine(uri: str) -> Engine:
    return create_engine(make_url(uri).set(drivername="postgresql+psycopg2"))


@pytest.fixture
def connection(database_uri: str) -> Iterator[Connection]:
    engine = _engine(database_uri)
    with engine.connect() as connected:
        yield connected
    engine.dispose()


def test_each_migration_names_the_oldest_code_that_works_with_it():
    revisions = [each.revision for each in _scripts()]
    since = revisions.index(FIRST)
    usable = [revisions.index(each.module.usable_from) for each in _scripts()[since:]]
    assert usable[0] == since
    assert usable == sorted(usable), "a later migration never makes older code usable again"
    for place, oldest in enumerate(usable[1:], since + 1):
        assert oldest < place, "the release before has not got this migration"


def test_the_database_says_what_the_newest_migration_says(connection: Connection):
    assert connection.scalar(text("SELECT usable_from FROM schema_compatibility")) == (
        _scripts()[-1].module.usable_from
    )


def test_each_migration_only_adds(empty_database_uri: str):
    """Code of before can read and write as before. A migration lists exceptions, with the reason."""
    scripts = _scripts()
    since = [each.revision for each in scripts].index(BASE)
    config = alembic_config(empty_database_uri)
    command.upgrade(config, BASE)
    engine = _engine(empty_database_uri)
    with engine.connect() as connected:
        before = read_schema(connected)
    for script in scripts[since + 1 :]:
        command.upgrade(config, script.revision)
        with engine.connect() as connected:
            after = read_schema(connected)
        accepted = getattr(script.module, "contractions", {})
        assert contractions(before, after) == sorted(accepted), script.revision
        before = after
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DROP TABLE forecasts", "forecasts is gone"),
        ("ALTER TABLE ggos DROP COLUMN reference", "ggos.reference is gone"),
        ("ALTER TABLE ggos RENAME COLUMN reference TO label", "ggos.reference is gone"),
        ("ALTER TABLE ggos ALTER reference SET NOT NULL", "ggos.reference must not be NULL"),
        ("ALTER TABLE ggos ALTER amount TYPE numeric", "ggos.amount has another type"),
        ("ALTER TABLE users ALTER next_trade_index DROP DEFAULT", "has no default any more"),
        ("ALTER TABLE users ADD nickname text NOT NULL", "users.nickname is new and required"),
        ("ALTER TABLE ggos ADD CHECK (amount < 1000)", "ggos has a new rule: CHECK"),
        (
            "ALTER TABLE ggos ADD later text, ADD CHECK (later = 'x' OR amount < 1000)",
            "ggos has a new rule: CHECK",
        ),
        ("CREATE UNIQUE INDEX ON ggos (issue_gsrn)", "ggos has a new rule: UNIQUE"),
        ("ALTER TABLE ggos ADD FOREIGN KEY (sector) REFERENCES users (subject)", "REFERENCES"),
    ],
)
def test_what_takes_something_away_is_noticed(connection: Connection, change: str, found: str):
    before = read_schema(connection)
    connection.execute(text(change))
    complaints = contractions(before, read_schema(connection))
    assert any(found in each for each in complaints), complaints
    connection.rollback()


def test_additions_are_no_contractions(connection: Connection):
    before = read_schema(connection)
    for change in (
        "ALTER TABLE ggos ADD later text",
        "ALTER TABLE ggos ADD later_count bigint NOT NULL DEFAULT 7",
        "ALTER TABLE ggos ADD CHECK (later IS NULL OR later_count > 0)",
        "CREATE UNIQUE INDEX ON ggos (later)",
        "CREATE TABLE later_things (id bigint PRIMARY KEY, ggo_id bigint REFERENCES ggos)",
        "ALTER TABLE ggos ALTER amount DROP NOT NULL",
    ):
        connection.execute(text(change))
    assert contractions(before, read_schema(connection)) == []
    connection.rollback()


_ROWS = """
INSERT INTO users (subject, master_key) VALUES ('a', 'v1.00000000.x'), ('b', 'v1.00000000.y');
INSERT INTO metering_points (user_id, gsrn, type, sector, key_index)
VALUES (1, 'g', 'production', 'DK1', 0), (1, 'c', 'consumption', 'DK1', 1);
INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
  issue_time, expire_time, issue_gsrn, stored, retired, locked, parent_id, key_index, sender_id,
  split_position, retire_gsrn, retire_address)
SELECT 1, address, amount, now(), now() + interval '1 hour', 'DK1', 't', 'f', now(), now(), gsrn,
  stored, retired, locked, parent, index, parent, index, retire_gsrn, retire_gsrn
FROM (VALUES ('issued', 9, 'g', false, false, false, NULL::bigint, NULL::int, NULL),
             ('part', 4, NULL, true, false, true, 1, 0, NULL),
             ('retired', 5, NULL, false, true, true, 1, 1, 'c'))
  AS each (address, amount, gsrn, stored, retired, locked, parent, index, retire_gsrn);
INSERT INTO batches (user_id, ggo_id, state, ended_at, next_attempt_at, never_sent)
VALUES (1, 1, 'COMPLETED', now(), NULL, true), (1, 2, 'PENDING', NULL, now(), false);
INSERT INTO transactions (batch_id, position, type, ggo_id) VALUES (1, 0, 'split', 1);
INSERT INTO webhook_subscriptions (user_id, event, url, host, secret)
VALUES (1, 'ON_GGO_RECEIVED', 'https://a.example', 'a.example:443', 'v1.00000000.z');
INSERT INTO early_subscriptions (subject, event, url, host, secret)
VALUES ('c', 'ON_GGO_RECEIVED', 'https://a.example', 'a.example:443', 'v1.00000000.z');
INSERT INTO recoveries (margin) VALUES (5);
INSERT INTO operations (id, user_id, kind, origin, accepted_at, request)
VALUES ('01234567-89ab-7def-8123-456789abcdef', 1, 'compose', 'legacy', now(), '{}');
UPDATE batches SET operation_id = '01234567-89ab-7def-8123-456789abcdef', sequence = 0, moved = 5;
INSERT INTO rollbacks (batch_id, user_id, ggo_id, accepted_at, declined_at, undone)
VALUES (1, 1, 1, now(), now(), '{"parts": []}');
INSERT INTO process_secrets (process, prefixes, kind, clock_skew_seconds, works_until)
VALUES ('web on a', '{p}', 'web', 0.5, now());
"""


def _contents(engine: Engine) -> Contents:
    """Return all rows by table."""
    with engine.connect() as connected:
        return {
            name: [row[0] for row in connected.execute(text(f"SELECT to_jsonb(t) FROM {name} t"))]  # noqa: S608 - ours
            for name in inspect(engine).get_table_names()
            if name not in {"alembic_version", "schema_compatibility"}
        }


def _kept(before: Contents, after: Contents) -> bool:
    """Return whether the tables that are in both have the same rows, in the columns that are in both."""
    for name in before.keys() & after.keys():
        if len(before[name]) != len(after[name]):
            return False
        for old, new in zip(before[name], after[name], strict=True):
            if any(old[column] != new[column] for column in old.keys() & new.keys()):
                return False
    return True


def test_each_migration_can_be_taken_back_with_data(database_uri: str):
    """Down, up and down again, one migration after the other; the rows of tables that stay are kept."""
    engine = _engine(database_uri)
    with engine.begin() as connected:
        connected.exec_driver_sql(_ROWS)
    config = alembic_config(database_uri)
    for script in reversed(_scripts()[1:]):
        before = _contents(engine)
        command.downgrade(config, "-1")
        assert _kept(before, _contents(engine))
        command.upgrade(config, script.revision)
        command.downgrade(config, "-1")
        assert _kept(before, _contents(engine))
    upgrade(database_uri)
    with engine.connect() as connected:
        assert connected.scalar(text("SELECT count(*) FROM ggos")) == 3
    engine.dispose()


def test_the_page_about_downgrades_says_what_each_loses():
    page = (ROOT / "doc/operations/upgrade.md").read_text()
    told = re.findall(r"^\| (\d{4})(?: and older)? \|", page, re.MULTILINE)
    revisions = [each.revision for each in _scripts()]
    assert told == [each for each in reversed(revisions) if each >= told[-1]]
    assert f"alembic downgrade {BASE}" in page


def test_a_downgrade_also_takes_back_what_older_code_may_use(database_uri: str):
    command.downgrade(alembic_config(database_uri), BASE)
    engine = _engine(database_uri)
    with Session(engine) as session:
        assert oldest_usable_revision(session) is None
    engine.dispose()
