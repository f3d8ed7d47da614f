"""Lists of operators' commands: filters, pages, and JSON for programs."""

import json
from datetime import datetime
from typing import Any

from tests.support.market import Market
from tests.support.world import World

SUBJECTS = ["alice", "bob", "carol", "dave", "erin"]
HOOK = "https://8.8.8.8/hook?key=hidden"


def called(world: World, *command: str, status: int = 0) -> Any:
    result = world.app.test_cli_runner().invoke(args=list(command))
    assert result.exit_code == status, result.output
    return result


def objects(world: World, *command: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a list, one in each line of standard output."""
    return [json.loads(line) for line in called(world, *command, "--json").stdout.splitlines()]


def one(world: World, *command: str, status: int = 0) -> dict[str, Any]:
    """Return the only JSON object that a command prints."""
    [line] = called(world, *command, "--json", status=status).stdout.splitlines()
    return dict(json.loads(line))


def paged(world: World, *command: str, key: str) -> list[Any]:
    """Return the keys of a list that is read in pages of two, as the hints say."""
    keys: list[Any] = []
    after: list[str] = []
    while True:
        result = called(world, *command, "--limit", "2", "--json", *after)
        page = [json.loads(line)[key] for line in result.stdout.splitlines()]
        keys += page
        if not result.stderr:
            return keys
        assert len(page) == 2
        assert result.stderr == f"There are more: --after {page[-1]}\n"
        after = ["--after", str(page[-1])]


def issue_three(market: Market) -> list[str]:
    return [market.issue(1000, begin=market.hour(number)) for number in range(3)]


def batch_ids(market: Market, *options: str) -> list[int]:
    return [each["id"] for each in objects(market, "ledger", "batches", *options)]


def test_batches_are_listed_newest_first_by_state_user_and_time(market: Market):
    for address in issue_three(market):
        assert market.compose(address, transfers=[(1, "bob")]).status_code == 200
    market.settle()
    received = market.listed("bob")[0]
    market.compose(received["address"], transfers=[(1, "alice")], subject="bob")
    market.rows("UPDATE batches SET created_at = now() - interval '2 days' WHERE id = 1")
    assert batch_ids(market) == [4, 3, 2, 1]
    assert batch_ids(market, "--user", "bob") == [4]
    assert batch_ids(market, "--state", "pending") == [4]
    assert batch_ids(market, "--state", "Under-Way", "--user", "alice") == []
    assert batch_ids(market, "--state", "COMPLETED") == [3, 2, 1]
    assert batch_ids(market, "--state", "completed", "--state", "pending") == [4, 3, 2, 1]
    assert batch_ids(market, "--state", "stuck") == []
    assert batch_ids(market, "--since", "24h") == [4, 3, 2]
    assert batch_ids(market, "--since", "3d") == [4, 3, 2, 1]
    composed = objects(market, "ledger", "batches")[1]["created_at"]
    assert batch_ids(market, "--since", composed) == [4, 3]
    assert batch_ids(market, "--since", "2100-01-01") == []
    market.rows("UPDATE batches SET created_at = now() - interval '7 hours' WHERE id = 4")
    assert batch_ids(market, "--state", "stuck") == [4]
    assert batch_ids(market, "--state", "stuck", "--state", "completed") == [4, 3, 2, 1]
    assert paged(market, "ledger", "batches", key="id") == [4, 3, 2, 1]
    [line] = [
        each
        for each in called(market, "ledger", "batches").output.splitlines()
        if each.startswith("4 ")
    ]
    assert line.split()[1:4] == ["PENDING", "bob", "1"]


def test_the_ledgers_words_stay_in_one_line(market: Market):
    market.compose(market.issue(1000), transfers=[(1, "bob")])
    words = "Invalid\nbatch \x1b[31mred"
    market.rows("UPDATE batches SET last_error = :words", words=words)
    assert objects(market, "ledger", "batches")[0]["last_error"] == words
    [_, line] = called(market, "ledger", "batches").stdout.splitlines()
    assert line.endswith("Invalid batch  [31mred")


def test_a_listed_batch_has_integers_and_times_in_utc(market: Market):
    market.compose(market.issue(1000), transfers=[(1, "bob")])
    [found] = objects(market, "ledger", "batches")
    assert found["amount"] == 1000
    assert found["subject"] == "alice"
    assert found["created_at"].endswith("Z")
    assert datetime.fromisoformat(found["created_at"]).utcoffset() is not None
    assert found["ended_at"] is None
    shown = one(market, "ledger", "batch", "1")
    assert {name: shown[name] for name in found} == found
    assert [each["amount"] for each in shown["parts"]] == [1, 999]


WRONG_OPTIONS = {
    ("--state", "lost"): "'lost' is not one of",
    ("--since", "yesterday"): "'yesterday' is neither a time such as",
    ("--since", "24"): "'24' is neither a time such as",
    ("--since", "999999w"): "'999999w' is neither a time such as",
    ("--limit", "0"): "0 is not in the range",
    ("--limit", "9" * 20): "is not in the range",
    ("--after", "x"): "'x' is not a valid integer",
}


def test_wrong_options_are_told(world: World):
    for options, said in WRONG_OPTIONS.items():
        assert said in called(world, "ledger", "batches", *options, status=2).output
    said = called(world, "ledger", "batches", "--user", "nobody", status=1).output
    assert "No account has the subject nobody" in said


def test_users_are_read_in_pages(world: World):
    for subject in SUBJECTS:
        world.new_user(subject)
    assert paged(world, "users", "list", key="subject") == SUBJECTS
    assert [each["subject"] for each in objects(world, "users", "list")] == SUBJECTS
    world.point("alice", "571313180400000012")
    shown = one(world, "users", "show", "alice")
    assert shown["stored_wh"] == 0
    assert shown["state"] == "active"
    assert [each["gsrn"] for each in shown["metering_points"]] == ["571313180400000012"]
    assert "send_key" in [each["kind"] for each in shown["jobs"]]
    assert "No account" in called(world, "users", "list", "--after", "nobody", status=1).output
    status = one(world, "keys", "status")
    assert status["rows_to_rotate"] == 0
    assert status["processes"] == []


def test_subscriptions_and_deliveries_are_read_in_pages(market: Market):
    for number in range(3):
        body = {"url": f"{HOOK}{number}", "secret": "s" * 20}
        answer = market.post("/webhook/on-ggo-received/subscribe", body, market.tokens["bob"])
        assert answer.status_code == 200, answer.text
    assert paged(market, "webhooks", "list", key="id") == [1, 2, 3]
    [first, *_] = objects(market, "webhooks", "list", "--subject", "bob")
    assert first["url"] == "https://8.8.8.8/hook"
    for address in issue_three(market):
        market.compose(address, transfers=[(1, "bob")])
    market.settle()
    shown = one(market, "webhooks", "show", "1")
    assert "hidden" not in json.dumps(shown)
    deliveries = [each["id"] for each in shown["deliveries"]]
    assert len(deliveries) == shown["waiting"] == 3
    assert deliveries == sorted(deliveries, reverse=True)
    rest = one(market, "webhooks", "show", "1", "--after", str(deliveries[0]), "--limit", "1")
    assert [each["id"] for each in rest["deliveries"]] == deliveries[1:2]


def test_differences_are_read_in_pages_and_by_kind(market: Market):
    issue_three(market)
    market.rows("UPDATE ggos SET amount = amount - 1")
    clean = called(market, "ledger", "reconcile", "--rate", "10000", "--json", status=1)
    report = json.loads(clean.stdout)
    assert report["complete"] is True
    found = objects(market, "ledger", "differences", "--kind", "wrong_amount")
    assert [each["id"] for each in found] == [each["id"] for each in report["differences"]]
    assert paged(market, "ledger", "differences", key="id") == [each["id"] for each in found]
    assert objects(market, "ledger", "differences", "--kind", "stranded") == []
    status = one(market, "ledger", "status", status=1)
    assert [each["kind"] for each in status["differences"]] == ["wrong_amount"] * 3
    [run] = status["runs"]
    assert run["ggos"] == 3
