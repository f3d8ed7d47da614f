"""`flask operations show`."""

import json
from uuid import uuid4

from origin.operations.queries import writing
from origin.operations.rules import Kind
from tests.support.market import Market
from tests.support.operations import end, found, order, transfers


def run(market: Market, *arguments: str, status: int = 0) -> str:
    result = market.app.test_cli_runner().invoke(args=["operations", "show", *arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_it_shows_an_operation_with_its_items(market: Market):
    batches = transfers(market, [100, 200])
    operation_id = str(order(market, "order 7", batches=batches))
    end(market, batches[1], "DECLINED")
    shown = run(market, operation_id)
    assert f"Operation {operation_id}: pending" in shown
    assert "transfer of alice, by the client backend" in shown
    assert "Idempotency-Key: order 7" in shown
    assert "Wh: requested 1000, planned 300, pending 100, completed 0, declined 200" in shown
    table = [line.split() for line in shown.splitlines()[-2:]]
    assert [(line[0], line[1], line[2], line[-1]) for line in table] == [
        ("0", "pending", str(batches[0]), "-"),
        ("1", "declined", str(batches[1]), "No"),
    ]
    document = json.loads(run(market, operation_id, "--json"))
    assert document["planning"] is None
    assert [each["batch"] for each in document["items"]] == batches
    assert [each["parts"][0]["amount"] for each in document["items"]] == [100, 200]
    # The way from a batch to its operation.
    batch = market.app.test_cli_runner().invoke(args=["ledger", "batch", str(batches[0])])
    assert f"Operation: {operation_id}" in batch.output
    api = found(market, f"/v2/operations/{operation_id}")
    assert api.items() <= document.items()


def test_it_shows_how_planning_goes(market: Market):
    operation_id = str(order(market, "k", Kind.RETIREMENT))
    market.rows("UPDATE operations SET attempts = 3, last_error = 'DataHub is out of reach'")
    shown = run(market, operation_id)
    assert f"Operation {operation_id}: queued" in shown
    assert "DataHub is out of reach" in shown
    planning = json.loads(run(market, operation_id, "--json"))["planning"]
    assert planning["attempts"] == 3
    assert planning["nextAttemptAt"].endswith("Z")


def test_it_shows_the_words_of_users_in_one_line(market: Market):
    """A refusal may name an account as its order wrote it."""
    operation_id = order(market, "k")
    assert "requested -, planned 0" in run(market, str(operation_id))
    with market.runtime.database.raw_connection() as connection:
        detail = "Account unavailable (\x1b[2Jbob\nOperation x: completed)"
        assert writing.refuse(connection, operation_id, "account_unavailable", detail)
    shown = run(market, str(operation_id))
    assert "\x1b" not in shown
    assert (
        "Refused: account_unavailable: Account unavailable ( [2Jbob Operation x: completed)\n"
        in shown
    )


def test_an_unknown_operation_is_an_error(market: Market):
    unknown = str(uuid4())
    assert f"There is no operation {unknown}" in run(market, unknown, status=1)
    run(market, "no-id", status=2)
