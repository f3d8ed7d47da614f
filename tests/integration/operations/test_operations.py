"""What the API tells of operations."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest

from origin.batches.queries import outcomes
from origin.operations.queries import writing
from origin.operations.rules import Kind
from tests.support.concurrency import at_once
from tests.support.market import BOBS_CONSUMPTION, CONSUMPTION, Market
from tests.support.operations import (
    BODY,
    carry_out,
    end,
    found,
    get,
    issue_next,
    order,
    pages,
    transfers,
)


def location(answer) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.headers["Location"])


def test_a_compose_leads_to_its_operation(market: Market):
    address, measurement = market.issue(1000), market.consume()
    sent = {
        "address": address,
        "transfers": [{"amount": 100, "account": "bob", "reference": "øre"}],
        "retires": [{"amount": 60, "gsrn": CONSUMPTION}],
    }
    raw = orjson.dumps(sent, option=orjson.OPT_INDENT_2)
    headers = {"Authorization": f"Bearer {market.tokens['alice']}", "Idempotency-Key": "order 7"}
    answer = market.client().post("/ggo/compose", data=raw, headers=headers)
    assert answer.json == {"success": True, "message": None}
    path = location(answer)

    shown = get(market, path)
    operation = orjson.loads(shown.data)
    assert path == f"/v2/operations/{operation['id']}"
    assert raw in shown.data, "the body as it was sent"
    [created] = market.rows("SELECT created_at FROM batches")[0]
    assert operation == {
        "id": operation["id"],
        "kind": "compose",
        "origin": "legacy",
        "status": "pending",
        "createdAt": created.isoformat(),
        "acceptedAt": created.isoformat(),
        "completedAt": None,
        "actor": {"subject": "alice", "client": "account-service"},
        "idempotencyKey": "order 7",
        "request": sent,
        "totals": {
            "requested": 160,
            "planned": 160,
            "pending": 160,
            "completed": 0,
            "declined": 0,
            "ggos": 1,
        },
        "refusal": None,
        "links": {"self": path, "items": f"{path}/items", "statement": None},
    }
    version = UUID(operation["id"])
    assert version.version == 7
    assert version.int >> 80 == int(created.timestamp() * 1000)

    market.settle()
    [item] = found(market, f"{path}/items")["results"]
    kinds = [(part["kind"], part["amount"], part["account"]) for part in item["parts"]]
    assert kinds == [("transfer", 100, "bob"), ("remainder", 840, None), ("retire", 60, None)]
    assert [part["reference"] for part in item["parts"]] == ["øre", None, None]
    assert item["parts"][2]["gsrn"] == CONSUMPTION
    assert item["parts"][2]["measurementAddress"] == measurement
    assert item["source"]["address"] == address
    assert item["source"]["amount"] == 1000
    assert (item["sequence"], item["status"], item["refusal"]) == (0, "completed", None)
    assert item["ledger"]["batchId"] == market.value("SELECT ledger_batch_id FROM batches")
    # The split, the retirement, and its settlement.
    assert len(set(item["ledger"]["transactionIds"])) == 3
    assert item["ledger"]["posts"] == 1
    assert item["ledger"]["submittedAt"] <= item["ledger"]["endedAt"]
    operation = found(market, path)
    assert operation["status"] == "completed"
    assert operation["completedAt"] == item["ledger"]["endedAt"]
    assert operation["totals"]["completed"] == 160


def test_a_whole_retirement_has_its_source_as_its_part(market: Market):
    address = market.issue(500)
    market.consume()
    path = location(market.compose(address, retires=[(500, CONSUMPTION)]))
    [item] = found(market, f"{path}/items")["results"]
    [part] = item["parts"]
    assert (part["kind"], part["amount"], part["address"]) == ("retire", 500, address)


def test_a_declined_compose_tells_what_it_was_to_do_and_why_not(market: Market):
    market.consume()
    paths = [
        location(market.compose(issue_next(market), retires=[(1000, CONSUMPTION)])),
        location(market.compose(issue_next(market), transfers=[(1000, "bob")])),
    ]
    before = [found(market, f"{path}/items")["results"][0]["parts"] for path in paths]
    for [batch] in market.rows("SELECT id FROM batches"):
        end(market, batch, "DECLINED")
    for path, parts in zip(paths, before, strict=True):
        operation = found(market, path)
        assert operation["status"] == "declined"
        assert operation["totals"]["declined"] == operation["totals"]["planned"]
        [item] = found(market, f"{path}/items")["results"]
        assert item["parts"] == parts
        assert item["refusal"] == {"code": "ledger_refused", "ledgerMessage": "No"}


def test_the_effects_of_a_later_compose_are_not_those_of_a_declined_one(market: Market):
    address = market.issue(1000)
    first = location(market.compose(address, transfers=[(100, "bob")]))
    market.sandbox.ledger.refuse_next()
    market.settle()
    second = location(market.compose(address, transfers=[(700, "bob")]))
    amounts = [
        [part["amount"] for part in found(market, f"{path}/items")["results"][0]["parts"]]
        for path in (first, second)
    ]
    assert amounts == [[100, 900], [700, 300]]


def test_a_part_that_is_retired_later_stays_what_it_was(market: Market):
    """The retirement has an operation of its own. A sender must not learn of what a recipient does."""
    measured_at = [market.consume(), market.consume(BOBS_CONSUMPTION)]
    path = location(market.compose(market.issue(1000), transfers=[(100, "bob")]))
    market.settle()
    before = found(market, f"{path}/items")
    [item] = before["results"]
    owners = (("alice", CONSUMPTION, "remainder"), ("bob", BOBS_CONSUMPTION, "transfer"))
    for subject, gsrn, kind in owners:
        [part] = [each for each in item["parts"] if each["kind"] == kind]
        answer = market.compose(part["address"], retires=[(part["amount"], gsrn)], subject=subject)
        assert answer.status_code == 200, answer.text
        assert found(market, f"{path}/items") == before
        market.settle()
        assert found(market, f"{path}/items") == before
    assert market.rows("SELECT count(*) FROM ggos WHERE retire_address = ANY(:a)", a=measured_at)[
        0
    ] == (2,)
    # Rows that earlier versions wrote have no times.
    market.rows("UPDATE ggos SET spent_at = NULL, retired_at = NULL, settled_at = NULL")
    assert found(market, f"{path}/items") == before


def test_a_transfer_to_oneself_is_no_remainder(market: Market):
    path = location(market.compose(issue_next(market), transfers=[(400, "alice")]))
    whole = location(market.compose(issue_next(market), transfers=[(1000, "alice")]))
    [item] = found(market, f"{path}/items")["results"]
    kinds = [(part["kind"], part["account"]) for part in item["parts"]]
    assert kinds == [("transfer", "alice"), ("remainder", None)]
    [item] = found(market, f"{whole}/items")["results"]
    assert [part["kind"] for part in item["parts"]] == ["transfer"]


def test_without_a_ledger_an_operation_is_completed_at_once(new_market):
    market = new_market(ledger_enabled=False)
    path = location(market.compose(market.issue(1000), transfers=[(400, "bob")]))
    operation = found(market, path)
    assert operation["status"] == "completed"
    assert operation["completedAt"] == operation["acceptedAt"]
    [item] = found(market, f"{path}/items")["results"]
    assert item["ledger"] == {
        "batchId": None,
        "transactionIds": [],
        "submittedAt": None,
        "endedAt": operation["completedAt"],
        "posts": 0,
    }


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["COMPLETED", "COMPLETED"], "completed"),
        (["COMPLETED", "DECLINED"], "partially_completed"),
        (["DECLINED", "DECLINED"], "declined"),
        (["COMPLETED", None], "pending"),
        (["DECLINED", None], "pending"),
    ],
)
def test_the_status_follows_from_the_batches(market: Market, ends: list[str | None], status: str):
    batches = transfers(market, [100, 700])
    operation_id = order(market, "k", batches=batches)
    for batch_id, state in zip(batches, ends, strict=True):
        if state:
            end(market, batch_id, state)
    path = f"/v2/operations/{operation_id}"
    operation = found(market, path)
    assert operation["status"] == status
    assert (operation["completedAt"] is None) == (status == "pending")
    wh = {
        state: sum(amount for amount, ended in zip((100, 700), ends, strict=True) if ended == state)
        for state in ("COMPLETED", "DECLINED", None)
    }
    assert operation["totals"] == {
        "requested": 1000,
        "planned": 800,
        "pending": wh[None],
        "completed": wh["COMPLETED"],
        "declined": wh["DECLINED"],
        "ggos": 2,
    }
    items = found(market, f"{path}/items")["results"]
    assert [item["status"] for item in items] == [(each or "pending").lower() for each in ends]
    assert [item["sequence"] for item in items] == [0, 1]
    # The same status whichever way it is asked for.
    for wanted in ("completed", "partially_completed", "declined", "pending", "queued"):
        listed = found(market, f"/v2/operations?kind=transfer&status={wanted}")["results"]
        assert [each["status"] for each in listed] == ([status] if wanted == status else [])


def test_a_batch_that_is_done_again_changes_the_operation(market: Market):
    [batch] = transfers(market, [100])
    path = f"/v2/operations/{order(market, 'k', batches=[batch])}"
    end(market, batch, "DECLINED")
    assert found(market, path)["status"] == "declined"
    with market.runtime.database.transaction() as session:
        assert outcomes.redo_batch(session, batch)
        assert outcomes.complete_batches(session, [batch])
    operation = found(market, path)
    assert operation["status"] == "completed"
    assert operation["totals"]["completed"] == 100
    assert operation["totals"]["declined"] == 0


def test_a_queued_operation_is_refused_or_cancelled_and_then_final(market: Market):
    queued, refused = order(market, "a"), order(market, "b", Kind.RETIREMENT)
    path = f"/v2/operations/{queued}"
    operation = found(market, path)
    assert (operation["status"], operation["origin"]) == ("queued", "api")
    assert operation["acceptedAt"] is None
    assert operation["completedAt"] is None
    assert operation["request"] == orjson.loads(BODY)
    assert operation["totals"] == {
        "requested": None,
        "planned": 0,
        "pending": 0,
        "completed": 0,
        "declined": 0,
        "ggos": 0,
    }
    assert found(market, f"{path}/items") == {"results": [], "nextCursor": None}
    with market.runtime.database.raw_connection() as connection:
        assert writing.refuse(connection, refused, "insufficient", "Only 5 of 10 Wh")
        assert not writing.refuse(connection, refused, "other", "later")
    operation = found(market, f"/v2/operations/{refused}")
    assert operation["status"] == "refused"
    assert operation["refusal"] == {"code": "insufficient", "detail": "Only 5 of 10 Wh"}
    assert operation["completedAt"] is not None

    cancelled = market.post(f"{path}/cancel", token=market.tokens["alice"])
    assert cancelled.status_code == 200
    assert cancelled.json["status"] == "cancelled"
    assert cancelled.json == found(market, path)
    with market.runtime.database.raw_connection() as connection:
        now = datetime.fromisoformat(operation["createdAt"])
        assert not writing.accept(connection, queued, now, 10), "it can't be planned any more"
    for status, expected in (("refused", refused), ("cancelled", queued)):
        [listed] = found(market, f"/v2/operations?status={status}")["results"]
        assert listed["id"] == str(expected)


def test_only_a_queued_operation_can_be_cancelled(market: Market):
    [batch] = transfers(market, [100])
    path = f"/v2/operations/{order(market, 'k', batches=[batch])}/cancel"
    token = market.tokens["alice"]
    assert market.post(path, token=token).json["code"] == "already_planned"
    end(market, batch, "COMPLETED")
    answer = market.post(path, token=token)
    assert (answer.status_code, answer.json["code"]) == (409, "already_final")
    cancelled = f"/v2/operations/{order(market, 'other')}/cancel"
    assert market.post(cancelled, token=token).status_code == 200
    assert market.post(cancelled, token=token).json["code"] == "already_final"


@pytest.mark.parametrize(
    ("kind", "scope"), [(Kind.TRANSFER, "ggo.transfer"), (Kind.RETIREMENT, "ggo.retire")]
)
def test_cancelling_needs_the_scope_of_its_kind(market: Market, kind: Kind, scope: str):
    path = f"/v2/operations/{order(market, 'k', kind)}/cancel"
    other = ({"ggo.transfer", "ggo.retire"} - {scope}).pop()
    for granted in ("ggo.read", other):
        answer = market.post(path, token=market.token("alice", granted))
        assert (answer.status_code, answer.json["code"]) == (403, "scope_missing")
    assert market.post(path, token=market.token("alice", scope)).status_code == 200


def test_cancelling_takes_no_members(market: Market):
    path = f"/v2/operations/{order(market, 'k')}/cancel"
    client, headers = market.client(), {"Authorization": f"Bearer {market.tokens['alice']}"}
    for body, code in (
        (b'{"reason": "late"}', "schema_violated"),
        (b"[]", "schema_violated"),
        (b"{", "body_not_json"),
    ):
        answer = client.post(path, data=body, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (400, code)
    answer = client.post(f"{path}?force=1", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (400, "schema_violated")
    assert client.post(path, data=b" {} ", headers=headers).json["status"] == "cancelled"
    assert client.post(path, headers=headers).json["code"] == "already_final"


def test_an_unknown_operation_and_another_accounts_are_alike(market: Market):
    path = location(market.compose(market.issue(1000), transfers=[(100, "bob")]))
    market.settle()

    def body(wanted: str, call=get) -> bytes:
        answer = call(market, wanted, "bob")
        assert answer.status_code == 404
        request_id = answer.json["requestId"]
        return answer.data.replace(request_id.encode(), b"")

    def cancel(_: Market, wanted: str, subject: str):
        return market.post(f"{wanted}/cancel", token=market.tokens[subject])

    for ending in ("", "/items"):
        known = body(path + ending)
        assert known == body(f"/v2/operations/{uuid4()}{ending}")
        assert known == body(f"/v2/operations/no-id{ending}")
    assert body(path, cancel) == body(f"/v2/operations/{uuid4()}", cancel)
    assert found(market, "/v2/operations", "bob") == {"results": [], "nextCursor": None}


def test_a_list_has_each_operation_once_newest_first(market: Market):
    made = [order(market, f"k{number}") for number in range(5)]
    # Some at the same moment.
    market.rows(
        "UPDATE operations SET created_at = (SELECT min(created_at) FROM operations) "
        "WHERE idempotency_key IN ('k0', 'k1', 'k2')"
    )
    same = sorted(map(str, made[:3]), reverse=True)
    read = pages(market, "/v2/operations", 2)
    assert [len(page) for page in read] == [2, 2, 1]
    assert [each["id"] for page in read for each in page] == [str(made[4]), str(made[3]), *same]
    filtered = pages(market, "/v2/operations?status=queued,completed&kind=transfer", 2)
    assert filtered == read
    cursor = found(market, "/v2/operations?limit=2")["nextCursor"]
    for path, subject in (
        (f"/v2/operations?status=queued&cursor={cursor}", "alice"),
        (f"/v2/operations?cursor={cursor}", "bob"),
        (f"/v2/operations/{made[0]}/items?cursor={cursor}", "alice"),
        (f"/v2/operations?cursor={cursor}x", "alice"),
    ):
        answer = get(market, path, subject)
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_cursor")


def test_lists_are_filtered(market: Market):
    transfer, retirement = order(market, "a b"), order(market, "b", Kind.RETIREMENT)
    compose = UUID(
        location(market.compose(market.issue(1000), transfers=[(1, "bob")])).split("/")[-1]
    )
    for name, day in ((transfer, 1), (retirement, 2), (compose, 3)):
        market.rows(
            "UPDATE operations SET created_at = :at WHERE id = :id",
            at=datetime(2026, 3, day, 12, tzinfo=UTC),
            id=str(name),
        )

    def ids(query: str) -> list[UUID]:
        return [UUID(each["id"]) for each in found(market, f"/v2/operations?{query}")["results"]]

    assert ids("") == [compose, retirement, transfer]
    assert ids("kind=transfer") == [transfer]
    assert ids("kind=transfer,compose") == [compose, transfer]
    assert ids("idempotencyKey=a%20b") == [transfer]
    assert ids("idempotencyKey=c") == []
    assert ids("from=2026-03-02") == [compose, retirement]
    assert ids("from=2026-03-01&to=2026-03-03&timeZone=Europe/Copenhagen") == [retirement, transfer]
    assert ids("to=2026-03-02T12:00:00Z") == [transfer]
    assert ids("status=queued,pending") == [compose, retirement, transfer]
    for query in (
        "kind=other",
        "status=PENDING",
        "limit=0",
        "limit=1001",
        "page=2",
        "kind=a&kind=b",
    ):
        assert get(market, f"/v2/operations?{query}").status_code == 400, query


def test_items_come_in_order_and_by_status(market: Market):
    batches = transfers(market, [1, 2, 3, 4, 5])
    path = f"/v2/operations/{order(market, 'k', batches=batches[::-1])}/items"
    end(market, batches[1], "COMPLETED")
    end(market, batches[3], "DECLINED")

    def amounts(query: str = "?", limit: int = 2) -> list[int]:
        read = pages(market, f"{path}{query}", limit)
        return [item["parts"][0]["amount"] for page in read for item in page]

    assert amounts() == [5, 4, 3, 2, 1]
    assert amounts("?status=pending", 1) == [5, 3, 1]
    assert amounts("?status=completed,declined") == [4, 2]
    assert amounts("?status=submitted") == []


def test_an_operation_needs_the_scope_to_read(market: Market):
    market.tokens["alice"] = market.token("alice", "ggo.transfer ggo.retire")
    for path in ("/v2/operations", f"/v2/operations/{uuid4()}", f"/v2/operations/{uuid4()}/items"):
        assert get(market, path).status_code == 403


def test_the_key_of_an_operation_is_written_with_it(market: Market):
    from origin.operations.service import idempotency

    hold = idempotency.take_for(market.runtime.database, market.alice, "k", BODY, Kind.TRANSFER, 60)
    operation_id = carry_out(market, hold, Kind.TRANSFER)
    [[key_of]] = market.rows("SELECT operation_id FROM idempotency_keys")
    assert str(key_of) == str(operation_id)


def test_a_page_ends_where_its_requests_are_long(market: Market):
    made = [order(market, f"k{number}") for number in range(5)]
    market.rows("UPDATE operations SET request = to_json(repeat('x', 4000000))")
    read = pages(market, "/v2/operations", 1000)
    assert [len(page) for page in read] == [3, 2]
    assert [each["id"] for page in read for each in page] == [str(each) for each in made[::-1]]
    assert [len(page) for page in pages(market, "/v2/operations", 2)] == [2, 2, 1]
    market.rows("UPDATE operations SET request = to_json(repeat('x', 9000000))")
    read = pages(market, "/v2/operations?status=queued", 1000)
    assert [len(page) for page in read] == [1, 1, 1, 2]


def test_an_operation_is_either_cancelled_or_planned(market: Market):
    """Both at the same moment."""
    now = datetime.now(UTC)
    for number in range(8):
        operation_id = order(market, f"k{number}")

        def cancel(wanted: UUID = operation_id) -> bool:
            path = f"/v2/operations/{wanted}/cancel"
            return market.post(path, token=market.tokens["alice"]).status_code == 200

        def plan(wanted: UUID = operation_id) -> bool:
            with market.runtime.database.raw_connection(transaction=True) as connection:
                return writing.accept(connection, wanted, now, 10)

        is_cancelled, is_planned = at_once(cancel, plan)
        assert is_cancelled != is_planned
        status = found(market, f"/v2/operations/{operation_id}")["status"]
        assert (status == "cancelled") == is_cancelled
