"""Runs of `flask adopt`: dry, repeated, concurrent, refused, interrupted and killed."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import click
import psycopg2
import pytest

from devstack.configured import Postgres
from origin.adoption.queries import connections, publishing, record, staged_rows, tables
from origin.adoption.service import adopt as adopt_service
from origin.adoption.service import staging
from origin.app import create_app
from origin.db.models import Base
from origin.webhooks.service.early_subscriptions import keep
from tests.support.adopting import adopt, run, service, uri_of, write
from tests.support.database import rows
from tests.support.original_database import BEGIN, OriginalDatabase
from tests.support.world import World, ggo_of

PASSWORD = "the source's password"


@pytest.fixture(scope="module")
def history() -> OriginalDatabase:
    """A history whose user 5 can't be adopted."""
    original = OriginalDatabase(7)
    original.trade(300, users=5)
    original.rows["auth_user"][4]["master_extended_key"] = "no key"
    return original


def contents(world: World) -> dict[str, list[str]]:
    """Return all rows of all tables but what differs between two adoptions of the same source."""
    found = {}
    for table in Base.metadata.sorted_tables:
        columns = [
            f'"{column.name}"'
            for column in table.columns
            if column.name
            not in {
                "master_key",
                "access_token",
                "refresh_token",
                "secret",
                "created_at",
                "published_at",
                "finished_at",
                "adopted_at",
                "history_from",
                "key_sent_at",
                "next_attempt_at",
                "last_post_at",
                "adoption_id",
            }
            and not (table.name in {"adoptions", "adoption_rejections"} and column.name == "id")
        ]
        query = f"SELECT ({', '.join(columns)})::text FROM {table.name} ORDER BY 1"  # noqa: S608
        found[table.name] = [row[0] for row in world.rows(query)]
    return found


def relations(world: World) -> list[str]:
    """Return the names of all tables and indexes, temporary ones included."""
    found = world.rows("SELECT relname FROM pg_class WHERE relname LIKE '%adopt%' ORDER BY 1")
    return [row.relname for row in found]


def test_a_dry_run_reports_as_the_run_does_and_changes_nothing(
    world: World, history: OriginalDatabase
):
    write(world, history, constraints=False)
    before, names = contents(world), relations(world)
    sequence = "SELECT last_value, is_called FROM ggos_id_seq"
    position = world.rows(sequence)
    dry = adopt(world, "--dry-run", status=1)
    assert (contents(world), relations(world), world.rows(sequence)) == (before, names, position)
    real = adopt(world, status=1)
    assert (dry.pop("dryRun"), real.pop("dryRun")) == (True, False)
    assert dry == real
    assert relations(world) == names


def test_a_second_run_says_so_and_changes_nothing(world: World, history: OriginalDatabase):
    write(world, history, constraints=False)
    first = adopt(world, status=1)
    before = contents(world)
    result = world.app.test_cli_runner().invoke(args=["adopt", "--schema", "original", "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (1, first)
    assert "Nothing was changed" in result.stderr
    assert contents(world) == before
    # Neither is the source needed any more.
    assert adopt(world, schema="nowhere", status=1) == first
    # What is left to do after the publication is no matter of a dry run.
    world.rows("UPDATE adoptions SET finished_at = NULL")
    assert adopt(world, "--dry-run", status=1) == first
    assert world.value("SELECT finished_at FROM adoptions") is None
    assert adopt(world, status=1) == first
    assert world.value("SELECT finished_at FROM adoptions") is not None


def test_a_report_goes_to_a_file(world: World, history: OriginalDatabase, tmp_path: Any):
    write(world, history, constraints=False)
    path = tmp_path / "report.json"
    text = run(world, "--schema", "original", "--dry-run", "--json", str(path), status=1)
    report = json.loads(path.read_text())
    assert "user 5: Its master key is not" in text
    assert {"kind": "user", "id": 5}.items() <= report["rejections"][-1].items()
    by_user = {(row["userId"], row["state"]): row for row in report["energyByUser"]}
    assert by_user[5, "stored"]["rejected"] == by_user[5, "stored"]["source"] > 0


def test_a_report_that_cannot_be_written_is_known_at_once(world: World, history: OriginalDatabase):
    write(world, history, constraints=False)
    message = refusal(world, "--schema", "original", "--json", "/nowhere/report.json")
    assert message == "Error: /nowhere/report.json: No such file or directory"
    assert world.value("SELECT count(*) FROM adoptions") == 0


def test_another_database_is_read_by_its_uri(
    world: World, history: OriginalDatabase, postgres: Postgres
):
    source = postgres.create_database("adopted_from_elsewhere")
    try:
        history.write(source, constraints=False)
        here = adopt_from(world, source)
        assert here["kinds"]["user"] == {"source": 5, "adopted": 4, "rejected": 1}
        assert postgres_password(source) not in json.dumps(here)
    finally:
        postgres.drop_database("adopted_from_elsewhere")


def adopt_from(world: World, source: str) -> Any:
    return json.loads(run(world, "--from", source, "--json", status=1))


def postgres_password(uri: str) -> str:
    return uri.rpartition("@")[0].rpartition(":")[2]


def test_only_one_adoption_runs_at_a_time(
    world: World, history: OriginalDatabase, monkeypatch: pytest.MonkeyPatch
):
    write(world, history, constraints=False)
    monkeypatch.setattr(connections, "_LOCK_PATIENCE_S", 0.0)
    with connections.target_connection(world.settings.database_url):
        message = run(world, "--schema", "original", status=2)
    assert message.splitlines()[-1] == "Error: Another adoption is running"


def refusal(world: World, *arguments: str) -> str:
    return run(world, *arguments, status=2).splitlines()[-1]


def test_the_target_must_be_empty(world: World):
    world.rows("INSERT INTO users (subject, master_key) VALUES ('x', 'x')")
    write(world, OriginalDatabase())
    assert refusal(world, "--schema", "original") == (
        "Error: This service's database holds users or GGOs already: adopt into an empty one"
    )


def test_the_target_must_be_migrated(empty_database_uri: str):
    world = service(empty_database_uri)
    assert refusal(world, "--schema", "original") == (
        "Error: The database isn't as it should be (UndefinedTable): is it migrated?"
    )
    world.runtime.database.dispose()


def test_what_a_source_lacks_is_named(world: World):
    assert "lacks table auth_user, table webhook_subscription, " in refusal(
        world, "--schema", "original"
    )
    write(world, OriginalDatabase())
    world.rows("ALTER TABLE original.ggo_ggo DROP COLUMN amount")
    world.rows("DROP TABLE original.forecast_forecast")
    assert refusal(world, "--schema", "original").endswith(
        "It lacks column ggo_ggo.amount, table forecast_forecast"
    )


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"postgresql://u:{PASSWORD}@127.0.0.1:9/x", "The source can't be reached: "),
        (f"mysql://u:{PASSWORD}@127.0.0.1:9/x", "--from is not the URI of a PostgreSQL database"),
        (f"u:{PASSWORD}@127.0.0.1", "--from is not a database URI (postgresql://…)"),
        (f"postgresql://u:it@{PASSWORD}@127.0.0.1:9/x", "--from has more than one @: "),
        (f"postgresql://u:%00{PASSWORD}@127.0.0.1:9/x", "The source can't be reached: "),
    ],
)
def test_a_wrong_uri_is_refused_in_one_line_without_its_password(
    world: World, uri: str, reason: str
):
    message = refusal(world, "--from", uri)
    assert message.startswith(f"Error: {reason}")
    assert PASSWORD not in message


def test_another_schema_version_is_told(world: World, history: OriginalDatabase):
    write(world, history, constraints=False)
    world.rows("CREATE TABLE original.alembic_version AS SELECT '0123456789ab' AS version_num")
    arguments = ["adopt", "--schema", "original", "--dry-run"]
    result = world.app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Warning: the source's Alembic head is 0123456789ab, not dd6130a7a463\n"
    )
    world.rows("ALTER TABLE original.ggo_ggo DROP COLUMN amount")
    assert refusal(world, *arguments[1:]).endswith(
        "It lacks column ggo_ggo.amount. Its Alembic head is 0123456789ab, not dd6130a7a463"
    )
    world.rows("UPDATE original.alembic_version SET version_num = 'dd6130a7a463'")
    assert refusal(world, *arguments[1:]).endswith("It lacks column ggo_ggo.amount")


@pytest.mark.parametrize("gone", ["source", "target"])
def test_a_lost_connection_is_told_in_one_line_with_its_database(
    world: World, history: OriginalDatabase, monkeypatch: pytest.MonkeyPatch, gone: str
):
    write(world, history, constraints=False)
    check = adopt_service.KeyCheck.run
    of = {"source": "account-service adopt", "target": "account-service"}

    def cut(self: Any) -> None:
        check(self)
        # The target's is the one that holds the lock of adoptions.
        rows(
            uri_of(world),
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = %s "
            "AND (%s OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))",
            of[gone],
            gone == "source",
        )

    monkeypatch.setattr(adopt_service.KeyCheck, "run", cut)
    words = {"source": "The source: ", "target": "This service's database: "}
    assert refusal(world, "--schema", "original").startswith(f"Error: {words[gone]}")
    assert world.value("SELECT count(*) FROM ggos") == 0


def test_a_bug_does_not_look_like_an_adoption(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write(world, OriginalDatabase())

    def fail(_: Any) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(publishing, "publish", fail)
    run(world, "--schema", "original", status=2)
    assert "a bug" in caplog.text


@pytest.mark.parametrize(
    ("statement", "words", "others", "kind"),
    [
        ("_TECHNOLOGIES", "SELECT technology_code", "SELECT 'x' || technology_code", "technology"),
        ("_USERS", "1 + greatest(", "0 + greatest(", "metering point index"),
        ("_TRANSACTIONS", "SELECT t.id,", "SELECT t.id + 1000,", "transaction"),
        ("_GGOS", "target.reference", "NULL", "split target"),
        ("_LIVE_SUBSCRIPTIONS", "USING (subject)", "ON false", "subscription"),
    ],
)
def test_rows_that_get_lost_while_publishing_are_noticed(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    words: str,
    others: str,
    kind: str,
):
    original = OriginalDatabase(7)
    original.trade(40, users=3)
    original.rows["auth_user"][0]["disabled"] = True
    original.technology("Wind", "T020001", "F01050100")
    write(world, original)
    text = getattr(publishing, statement)
    assert words in text
    monkeypatch.setattr(publishing, statement, text.replace(words, others))
    assert f"Error: source ≠ adopted + rejected: {kind} " in refusal(world, "--schema", "original")
    assert world.value("SELECT count(*) FROM users") == 0


def test_logs_of_a_command_leave_its_report_alone(world: World):
    """Standard output holds the JSON of `--json`, and nothing else."""
    with click.Context(click.Command("adopt")):
        create_app(world.settings)
    try:
        assert [handler.stream for handler in logging.getLogger().handlers] == [sys.stderr]
    finally:
        create_app(world.settings)
    assert [handler.stream for handler in logging.getLogger().handlers] == [sys.stdout]


def test_a_source_is_asked_for(world: World):
    assert "Give --from URI, or --schema NAME" in run(world, status=2)


def test_a_source_that_changes_meanwhile_is_not_adopted(
    world: World, history: OriginalDatabase, monkeypatch: pytest.MonkeyPatch
):
    write(world, history, constraints=False)
    check = adopt_service.KeyCheck.run

    def change(self: Any) -> None:
        check(self)
        rows(uri_of(world), "UPDATE original.ggo_ggo SET amount = amount + 1 WHERE id = 1")

    with monkeypatch.context() as patched:
        patched.setattr(adopt_service.KeyCheck, "run", change)
        assert refusal(world, "--schema", "original") == (
            "Error: The source changed while it was read: "
            "stop the original service, and run this again"
        )
    assert world.value("SELECT count(*) FROM ggos") == 0
    # What was staged is outdated; the next run starts over.
    report = adopt(world, status=1)
    changed = world.value("SELECT sum(amount) FROM original.ggo_ggo")
    assert report["energy"]["source"] == changed


class PowerCut(BaseException):
    """Ends a run between two statements."""


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(staging, "SEALED_AT_ONCE", 2)


POINTS_OF_TIME = [
    (tables, "record_origin", 1),
    *((staged_rows, "copy_in", number) for number in (1, 3, 12)),
    (tables, "index_staging", 1),
    (staged_rows, "add_mismatches", 1),
    (publishing, "publish", 1),
    (record, "record_publication", 1),
    (publishing, "advance_identities", 1),
    (record, "finish", 1),
]


@pytest.mark.usefixtures("small_steps")
def test_a_run_that_ends_anywhere_is_continued(
    world: World, history: OriginalDatabase, monkeypatch: pytest.MonkeyPatch
):
    write(world, history, constraints=False)
    for module, name, count in POINTS_OF_TIME:
        calls = iter(range(1, count))
        whole = getattr(module, name)

        def cut(*arguments: Any, calls: Iterator[int] = calls, whole: Any = whole) -> Any:
            if next(calls, None) is None:
                raise PowerCut
            return whole(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(module, name, cut)
            with pytest.raises(PowerCut):
                run(world, "--schema", "original")
        published = world.value("SELECT count(*) FROM adoptions")
        assert published == (1 if name == "finish" else 0), name
        assert world.value("SELECT count(*) > 0 FROM ggos") == bool(published)
    report = adopt(world, status=1)
    assert world.value("SELECT finished_at IS NOT NULL FROM adoptions")
    continued = contents(world)
    world.rows(f"TRUNCATE {', '.join(table.name for table in Base.metadata.sorted_tables)}")
    assert adopt(world, status=1) == report
    assert contents(world) == continued


@pytest.mark.usefixtures("small_steps")
def test_a_run_that_goes_on_reads_only_what_is_left(
    world: World,
    history: OriginalDatabase,
    monkeypatch: pytest.MonkeyPatch,
):
    write(world, history, constraints=False)
    whole, copied = staged_rows.copy_in, []

    def counting(cursor: Any, table: Any, text: Any) -> int:
        copied.append(table.name)
        if copied.count("ggo_ggo") == 3:
            raise PowerCut
        return whole(cursor, table, text)

    monkeypatch.setattr(staged_rows, "copy_in", counting)
    with pytest.raises(PowerCut):
        run(world, "--schema", "original")
    adopt(world, status=1)
    # The first range of a table holds the rows without an id.
    ranges = 1 + -(-len(history.rows["ggo_ggo"]) // 100)
    assert copied.count("ggo_ggo") == ranges + 1
    assert copied.count("auth_user") == 1 + 3


def test_a_killed_process_leaves_all_or_nothing(world: World, history: OriginalDatabase):
    write(world, history, constraints=False)
    for moment in ("Reading ggo_ggo", "Publishing"):
        _kill_at(world, moment)
        ggos, adoptions = world.rows(
            "SELECT (SELECT count(*) FROM ggos) > 0, (SELECT count(*) FROM adoptions) > 0"
        )[0]
        assert ggos == adoptions
    report = adopt(world, status=1)
    assert report["energy"]["source"] == report["energy"]["adopted"] + report["energy"]["rejected"]
    assert world.value("SELECT count(*) FROM ggos") == report["kinds"]["GGO"]["adopted"]
    assert relations_of_staging(world) == 0


def relations_of_staging(world: World) -> int:
    return world.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'adoption\\_staged\\_%'")


def _kill_at(world: World, moment: str) -> None:
    """Start `flask adopt` and kill it when it tells that this has begun."""
    command = [sys.executable, "-m", "flask", "--app", "origin.app:create_app()"]
    process = subprocess.Popen(
        [*command, "adopt", "--schema", "original"],
        env={**os.environ, **world.environment(), "PYTHONPATH": "src"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if line.startswith(moment):
                process.kill()
        assert process.wait() == -9


def test_no_secret_is_stored_or_shown(
    world: World, history: OriginalDatabase, caplog: pytest.LogCaptureFixture
):
    write(world, history, constraints=False)
    secrets = [
        row[name]
        for row in history.rows["auth_user"]
        for name in ("master_extended_key", "access_token", "refresh_token")
    ]
    secrets += [row["secret"] for row in history.rows["webhook_subscription"]]

    def all_texts() -> str:
        """Return all rows of all tables, staging included, except the source's."""
        names = world.rows(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND "
            "relnamespace = 'public'::regnamespace"
        )
        with closing(psycopg2.connect(uri_of(world))) as connection, connection.cursor() as cursor:
            texts = []
            for (name,) in names:
                cursor.execute(f"SELECT {name}::text FROM {name}")  # noqa: S608
                texts += [text for (text,) in cursor]
        return "\n".join(texts)

    with pytest.MonkeyPatch.context() as patched:

        def fail(_: Any) -> None:
            raise PowerCut

        patched.setattr(publishing, "publish", fail)
        with pytest.raises(PowerCut):
            run(world, "--schema", "original")
    staged = all_texts()
    assert "user 1" in staged
    result = world.app.test_cli_runner().invoke(args=["adopt", "--schema", "original"])
    for text in (staged, all_texts(), result.output, caplog.text):
        assert not [secret for secret in secrets if secret in text]


def test_what_came_before_the_adoption_is_applied(world: World):
    """Events and subscriptions of a user whom only the original service knew."""
    original = OriginalDatabase()
    anna = original.user("anna")
    mill = original.point(anna, "production")
    original.subscription("anna", "https://receiver.example/hook", "old secret")
    write(world, original)
    begin = BEGIN + timedelta(hours=9)
    early = original.issue(mill, begin, 77)
    event = ggo_of(
        mill["gsrn"],
        address=early["address"],
        begin=begin.isoformat(),
        end=early["end"].isoformat(),
        amount=77,
    )
    # Both are kept; DataHub learns that Anna has no account yet.
    answer = world.webhook("on-ggo-issued", {"sub": "anna", "ggo": event})
    assert answer.json == {"success": False}
    assert world.point("anna", "5713131").json == {"success": False}
    for url, secret in (("https://receiver.example/hook", "new"), ("https://other.example/", "s")):
        _subscribe_early(world, "anna", url, secret)
    adopt(world)
    found = world.rows("SELECT amount, stored, issue_gsrn FROM ggos")
    assert [tuple(row) for row in found] == [(77, True, mill["gsrn"])]
    points = world.rows("SELECT gsrn, key_index FROM metering_points ORDER BY key_index")
    assert [tuple(row) for row in points] == [(mill["gsrn"], 0), ("5713131", 1)]
    # The key of the new point goes to DataHub; the adopted one's was sent by the original service.
    assert world.value("SELECT count(*) FROM datahub_jobs WHERE kind = 'send_key'") == 1
    live = world.rows("SELECT url, secret FROM webhook_subscriptions ORDER BY url DESC")
    context = "webhook_subscriptions.secret:1:ON_GGO_RECEIVED:"
    opened = [world.runtime.sealer.open(row.secret, context + row.url) for row in live]
    assert opened == ["new", "s"]
    # The subscribers hear of the GGO that was applied.
    assert world.value("SELECT count(*) FROM webhook_deliveries") == 2
    assert world.value("SELECT count(*) FROM kept_events") == 0
    assert world.value("SELECT count(*) FROM early_subscriptions") == 0


def _subscribe_early(world: World, subject: str, url: str, secret: str) -> None:
    with world.runtime.database.transaction() as session:
        host = url.split("/")[2] + ":443"
        keep(session, world.runtime.sealer, subject, "ON_GGO_RECEIVED", url, host, secret)
