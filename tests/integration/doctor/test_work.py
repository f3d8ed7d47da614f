"""The doctor's checks of what processes do, and the command itself."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import flask.cli
import pytest
from click.testing import CliRunner, Result

from devstack.valkey import EmbeddedValkey
from origin.doctor.rules import Check, Finding, Level, ok
from origin.doctor.service.doctor import Doctor
from origin.doctor.service.environment import with_stand_ins
from sandbox.running import Sandbox
from tests.integration.doctor.conftest import NewRuntime, only, settings_of_servers
from tests.support.market import Market
from tests.support.scripted_peer import ScriptedPeer, http_answer

HOOK = "https://8.8.8.8/hook"


OF_MARKET = (
    "secret",
    "energy_type_service_url",
    "redis_host",
    "redis_port",
    "redis_username",
    "redis_password",
)


@pytest.fixture(scope="module")
def shared_market(
    module_database_uri: str, sandbox: Sandbox, redis_server: EmbeddedValkey
) -> Iterator[Market]:
    """A market with the Redis and the secrets of the doctor's tests."""
    sandbox.reset()
    of_servers = settings_of_servers(module_database_uri, sandbox, redis_server)
    market = Market(module_database_uri, sandbox, **{name: of_servers[name] for name in OF_MARKET})
    yield market
    market.close()
    sandbox.reset()


@pytest.fixture
def market(shared_market: Market) -> Market:
    """The module's market, emptied, on days of its own."""
    emptied = "ggos, webhook_subscriptions, ledger_walks, ledger_differences, process_secrets"
    shared_market.rows(f"TRUNCATE {emptied} CASCADE")
    shared_market.begin += timedelta(days=2)
    return shared_market


def found_in(market: Market, check: str) -> Finding:
    return only(market.runtime, check)


def announce(market: Market, kind: str) -> None:
    """Let a process of this kind have worked just now."""
    market.runtime.secret_announcer.announce(f"{kind} of a test", kind)
    market.rows(
        "UPDATE process_secrets SET works_until = now() + interval '1 hour' WHERE kind = :kind",
        kind=kind,
    )


def test_the_ledger_is_asked_for_a_known_ggo(market: Market):
    market.issue(1000)
    assert (
        found_in(market, "ledger state").text
        == "The ledger has the latest GGO, with the same amount."
    )
    market.rows("UPDATE ggos SET amount = 999")
    differing = found_in(market, "ledger state")
    assert differing.level is Level.WARN
    assert "has 1000 Wh on the ledger, and 999 Wh here" in differing.text
    known = market.value("SELECT address FROM ggos")
    address = f"{known[:-8]}00000000"
    market.rows("UPDATE ggos SET address = :address", address=address)
    unknown = found_in(market, "ledger state")
    assert unknown.level is Level.FAIL
    assert f"nothing at {address}" in unknown.text


def test_rows_of_another_secret_fail(market: Market, new_runtime: NewRuntime):
    uri = market.settings.database_uri.get_secret_value()
    other = new_runtime(database_uri=uri, key_encryption_secrets="another secret of this test")
    found = only(other, "secrets")
    assert found.level is Level.FAIL
    assert "another secret of this test" not in found.text
    own = market.settings.secret.get_secret_value()
    rotating = new_runtime(database_uri=uri, key_encryption_secrets=f"a new long secret,{own}")
    found = only(rotating, "secrets")
    assert found.level is Level.WARN
    assert "A rotation isn't finished" in found.text
    assert found_in(market, "secrets").level is Level.OK


def test_somebody_must_work(market: Market):
    assert "No worker and no beat has worked" in found_in(market, "processes").text
    announce(market, "worker")
    nobody = found_in(market, "processes")
    assert nobody.level is Level.FAIL
    assert "No beat has worked" in nobody.text
    announce(market, "beat")
    assert found_in(market, "processes").level is Level.WARN
    announce(market, "web")
    assert (
        found_in(market, "processes").text == "These have worked lately: 1 web, 1 worker, 1 beat."
    )
    market.rows("UPDATE process_secrets SET works_until = now() - interval '1 second'")
    assert found_in(market, "processes").level is Level.FAIL


def test_overdue_work_is_warned_of(market: Market):
    market.compose(market.issue(1000), transfers=[(1, "bob")])
    assert found_in(market, "queues").level is Level.OK
    market.rows("UPDATE batches SET next_attempt_at = now() - interval '20 minutes'")
    late = found_in(market, "queues")
    assert late.level is Level.WARN
    assert "batches for 20 min" in late.text


def test_failing_webhooks_are_warned_of(market: Market):
    body = {"url": HOOK, "secret": "s" * 20}
    market.post("/webhook/on-ggo-received/subscribe", body, market.tokens["bob"])
    market.compose(market.issue(1000), transfers=[(1, "bob")])
    market.settle()
    assert found_in(market, "webhooks").level is Level.OK
    market.rows("UPDATE webhook_subscriptions SET failures = 3")
    assert "Failing subscriptions: 1;" in found_in(market, "webhooks").text
    market.rows("UPDATE webhook_subscriptions SET failures = 0")
    market.rows(
        "UPDATE webhook_deliveries SET state = 'GIVEN_UP', ended_at = now(), next_attempt_at = NULL"
    )
    given_up = found_in(market, "webhooks")
    assert given_up.level is Level.WARN
    assert "given up in the last day: 1." in given_up.text


def test_old_reconciliation_and_differences_are_warned_of(market: Market):
    market.issue(1000)
    assert found_in(market, "reconciliation").text == "No run has been completed yet."
    list(market.runtime.reconciliation.run(calls_per_second=10000))
    assert found_in(market, "reconciliation").level is Level.OK
    market.rows("UPDATE ledger_walks SET finished_at = now() - interval '3 days'")
    old = found_in(market, "reconciliation")
    assert old.level is Level.WARN
    assert "72 hours ago" in old.text
    market.rows("UPDATE ggos SET amount = 999")
    list(market.runtime.reconciliation.run(calls_per_second=10000))
    differing = found_in(market, "reconciliation")
    assert differing.level is Level.WARN
    assert "Known differences from the ledger: 1." in differing.text


def test_without_a_ledger_nothing_may_be_under_way(market: Market, new_runtime: NewRuntime):
    uri = market.settings.database_uri.get_secret_value()
    off = new_runtime(database_uri=uri, ledger_enabled=0)
    assert not {"ledger state", "reconciliation"} & {each.name for each in off.doctor.checks}
    assert only(off, "ledger").level is Level.WARN
    market.compose(market.issue(1000), transfers=[(1, "bob")])
    found = only(off, "ledger")
    assert found.level is Level.FAIL
    assert "batches are under way" in found.text


def test_risky_settings_are_warned_of(new_runtime: NewRuntime):
    assert only(new_runtime(), "settings").level is Level.OK
    runtime = new_runtime(secret="short", tls_verify=0)
    [check] = [each for each in runtime.doctor.checks if each.name == "settings"]
    found = list(check.run())
    assert {each.level for each in found} == {Level.WARN}
    told = " ".join(each.text for each in found)
    assert "SECRET has fewer than 16 characters" in told
    assert "TLS_VERIFY=0" in told


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set at the end of the test, so that nothing hangs any longer."""
    event = threading.Event()
    yield event
    event.set()


def test_a_check_that_hangs_or_breaks_is_a_failure_of_its_own(over: threading.Event):
    def hang() -> list[Finding]:
        over.wait()
        return []

    def break_down() -> list[Finding]:
        raise RuntimeError("a secret")

    checks = [
        Check("hanging", hang),
        Check("broken", break_down),
        Check("well", lambda: [ok("well", "All is well.")]),
    ]
    begun = time.monotonic()
    found = list(Doctor(checks, time_limit_s=2).examine())
    assert time.monotonic() - begun < 60
    assert [(each.check, each.level) for each in found] == [
        ("hanging", Level.FAIL),
        ("broken", Level.FAIL),
        ("well", Level.OK),
    ]
    assert "a secret" not in str(found)


def test_the_command_tells_all_in_one_line_each(market: Market):
    """As JSON, and as text; the exit status is 0 if nothing fails."""
    for kind in ("web", "worker", "beat"):
        announce(market, kind)
    runner = market.app.test_cli_runner()
    result = runner.invoke(args=["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {each["level"] for each in found} <= {"ok", "warn"}
    names = [each["check"] for each in found]
    assert names[0] == "settings"
    assert {"schema", "redis", "hydra", "ledger state", "secrets", "reconciliation"} <= set(names)
    for name in ("secret", "webhook_secret", "redis_password", "hydra_client_secret"):
        assert getattr(market.settings, name).get_secret_value() not in result.output
    market.rows("DELETE FROM process_secrets")
    result = runner.invoke(args=["doctor"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert len(lines) == len(names)
    [failed] = [each for each in lines if each.startswith("fail")]
    assert failed.split()[:2] == ["fail", "processes"]


def called(market: Market, *arguments: str, **variables: str) -> Result:
    """Call `flask` with the market's variables and these."""
    command = ["--app", "origin.app:create_app()", *arguments]
    return CliRunner().invoke(flask.cli.cli, command, env={**market.environment(), **variables})


@pytest.mark.parametrize(
    ("variables", "unchecked"),
    [
        ({"SECRET": "", "LOG_LEVEL": "loud"}, {"secrets"}),
        (
            {"DATABASE_URI": "mysql://me:hidden@nowhere/x"},
            {
                *("database", "database settings", "schema", "database role", "processes"),
                *("database connections", "database clock", "ledger state", "secrets"),
                *("queues", "webhooks", "reconciliation"),
            },
        ),
        ({"REDIS_PORT": "many"}, {"redis", "redis memory"}),
        ({"REDIS_HOST": "rediss://r:6380", "REDIS_PORT": "6379"}, {"redis", "redis memory"}),
        ({"HYDRA_CLIENT_ID": "", "SECRET_FILE": "/x"}, {"hydra", "hydra introspection", "secrets"}),
        ({"LEDGER_URL": "nowhere", "TLS_VERIFY": "1"}, {"ledger", "ledger state"}),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, dict) else "",
)
def test_wrong_settings_are_a_finding(
    market: Market, variables: dict[str, str], unchecked: set[str]
):
    """What doesn't need them is looked at all the same."""
    done = called(market, "doctor", "--json", **variables)
    assert (done.exit_code, done.stderr) == (1, ""), done.output
    found = {each["check"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert found["settings"]["level"] == "fail"
    for name, value in variables.items():
        assert name == "TLS_VERIFY" or f"{name}" in found["settings"]["text"]
        assert len(value) < 3 or value not in found["settings"]["text"]
    told = {name for name, each in found.items() if "its settings are wrong" in each["text"]}
    assert told == unchecked
    checked = {"schema", "redis", "hydra", "datahub"} - unchecked
    assert {found[name]["level"] for name in checked} == {"ok"}


def test_a_peers_words_stay_in_one_line(market: Market):
    error = {"code": 10, "title": "one\ntwo", "message": "three"}
    response = http_answer(json.dumps({"error": error}).encode(), "503 Service Unavailable")
    with closing(ScriptedPeer()) as peer:
        peer.scripts = [lambda connection: connection.sendall(response)] * 9
        done = called(market, "doctor", LEDGER_URL=f"http://{peer.address}")
    [line] = [each for each in done.stdout.splitlines() if "one" in each.split()]
    assert "one two: three" in line


def test_other_commands_end_with_one_line_if_settings_are_wrong(market: Market):
    for arguments in (("users", "list"), ("--help",), ("routes",)):
        other = called(market, *arguments, SECRET="")
        assert other.exit_code == 1
        [line] = other.output.splitlines()
        assert "SECRET: Field required" in line


def test_all_settings_without_a_default_have_a_stand_in():
    settings, wrong = with_stand_ins({})
    assert len(wrong) > 10
    assert settings.database_url.host == "stand-in.invalid"
