"""Bulk orders on the running system: planned by its web or its worker, and taken to the ledger."""

import json
from collections import Counter
from typing import Any
from uuid import uuid4

import requests

from tests.support.live_system import Household, LiveSystem, hour
from tests.support.waiting import eventually


def call(system: LiveSystem, home: Household, method: str, path: str, body: Any = None) -> Any:
    """Call the API; a POST has a new key and waits for the end."""
    token = system.sandbox.hydra.tokens(home.subject).access
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=25"}
    if method == "POST":
        headers["Idempotency-Key"] = str(uuid4())
    url = f"{system.stack.url}{path}"
    answer = requests.request(method, url, json=body, headers=headers, timeout=60)
    assert answer.status_code in {200, 202}, answer.text
    return answer.json()


def test_bulks_are_carried_out_and_announced(system: LiveSystem):
    anna, bo = system.households("anna", "bo")
    system.subscribe(bo)
    for number in range(4):
        system.issue(anna, number, 1000)
        system.publish_consumption(anna, number, 300)
    select = {"period": {"from": hour(0).isoformat(), "to": hour(4).isoformat()}}
    targets = [{"account": bo.subject, "reference": "PPA 7", "take": {"percentage": "50"}}]
    order = {"select": select, "targets": targets}
    plan = call(system, anna, "POST", "/v2/transfers", {**order, "dryRun": True})
    assert plan["totals"]["planned"] == 2000
    expect = {"planDigest": plan["planDigest"]}
    made = call(system, anna, "POST", "/v2/transfers", {**order, "expect": expect})
    assert (made["status"], made["totals"]["completed"]) == ("completed", 2000)
    received = call(system, bo, "GET", "/v2/transfers?direction=in&reference=PPA%207")["results"]
    assert [line["amount"] for line in received] == [500] * 4
    addresses = {line["ggo"]["address"] for line in received}
    eventually(
        lambda: addresses <= system.announced_addresses(bo), "each received GGO is announced"
    )

    against = {"period": select["period"]}
    retired = call(
        system,
        anna,
        "POST",
        "/v2/retirements",
        {"select": select, "against": against, "take": {"all": True}},
    )
    assert (retired["status"], retired["totals"]["completed"]) == ("completed", 1200)
    lines = call(system, anna, "GET", f"/v2/retirements?operation={retired['id']}")["results"]
    assert Counter(line["amount"] for line in lines) == {300: 4}


def test_a_worker_plans_what_is_queued(system: LiveSystem):
    """The order is queued as a web queues a large one: its wake-up is lost, and Beat finds it."""
    anna, bo = system.households("anna", "bo")
    system.wait_until_settled()
    system.issue(anna, 0, 1000)
    small = {"targets": [{"account": bo.subject, "take": {"amount": 10}}], "select": {}}
    [user] = system.rows("SELECT id FROM users WHERE subject = %s", anna.subject)
    queued = uuid4()
    system.rows(
        "INSERT INTO operations (id, user_id, kind, origin, request, next_attempt_at) "
        "VALUES (%s, %s, 'transfer', 'api', %s, now()) RETURNING id",
        str(queued),
        user["id"],
        json.dumps(small),
    )
    made = call(system, anna, "GET", f"/v2/operations/{queued}")
    assert (made["status"], made["totals"]["completed"]) == ("completed", 10)
    assert [ggo["amount"] for ggo in bo.stored()] == [10]
