"""What became of an order, as a client of the running system learns it."""

from typing import Any

import requests

from tests.support.live_system import Household, LiveSystem
from tests.support.waiting import eventually


def get(system: LiveSystem, home: Household, path: str, **headers: str) -> Any:
    token = system.sandbox.hydra.tokens(home.subject).access
    headers = {"Authorization": f"Bearer {token}", **headers}
    answer = requests.get(f"{system.stack.url}{path}", headers=headers, timeout=40)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_compose_is_followed_to_its_end(system: LiveSystem):
    anna, bo = system.households("anna", "bo")
    address = system.issue(anna, 0, 1000)
    system.publish_consumption(anna, 0, 300)
    made = anna.compose(address, transfers=[(400, bo)], retires=[300])
    path = made.headers["Location"]
    operation = get(system, anna, path, Prefer="wait=25")
    assert operation["status"] == "completed"
    assert operation["totals"]["completed"] == 700
    assert operation["actor"]["subject"] == anna.subject
    assert operation["actor"]["client"], "the client that Hydra named"
    [item] = get(system, anna, operation["links"]["items"])["results"]
    assert [part["kind"] for part in item["parts"]] == ["transfer", "remainder", "retire"]
    ledger = {batch["id"] for batch in system.sandbox.ledger.batches()}
    assert item["ledger"]["batchId"] in ledger
    source = get(system, anna, f"/v2/ggos/{address}")
    assert (source["status"], source["operation"]) == ("split", operation["id"])
    assert get(system, bo, "/v2/operations")["results"] == []
    [received] = bo.stored()
    assert get(system, bo, f"/v2/ggos/{received['address']}")["lineage"]["root"] == address


def test_workers_make_the_operations_that_earlier_versions_lack(system: LiveSystem):
    """As a web of an earlier version writes them during a rolling update."""
    anna, bo = system.households("anna", "bo")
    system.wait_until_settled()
    anna.compose(system.issue(anna, 0, 1000), transfers=[(400, bo)])
    [operation] = get(system, anna, "/v2/operations")["results"]
    system.rows(
        "WITH gone AS (DELETE FROM operations WHERE id = %s RETURNING id) "
        "UPDATE batches SET operation_id = NULL, sequence = NULL, moved = NULL "
        "FROM gone WHERE operation_id = gone.id RETURNING batches.id",
        operation["id"],
    )
    found = eventually(
        lambda: [
            each
            for each in get(system, anna, "/v2/operations")["results"]
            if each["id"] != operation["id"]
        ],
        "a worker makes the operation",
    )
    assert found[0]["totals"]["requested"] == 400
    assert found[0]["createdAt"] == operation["createdAt"]
