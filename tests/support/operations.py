"""Operations of version 2 in a market, for tests that need no planner."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import orjson
from werkzeug.test import TestResponse

from origin.operations.queries import writing
from origin.operations.rules import Hold, Kind, NewOperation
from origin.operations.service import idempotency
from tests.support.market import Market

BODY = b'{"select": {}, "targets": [{"account": "bob", "take": {"all": true}}]}'


def get(market: Market, path: str, subject: str = "alice", **headers: str) -> TestResponse:
    """Call the API."""
    headers = {"Authorization": f"Bearer {market.tokens[subject]}", **headers}
    return market.client().get(path, headers=headers)


def found(market: Market, path: str, subject: str = "alice", **headers: str) -> Any:
    """Return what the API answers, which must be 200."""
    answer = get(market, path, subject, **headers)
    assert answer.status_code == 200, answer.text
    return orjson.loads(answer.data)


def pages(market: Market, path: str, limit: int, subject: str = "alice") -> list[list[Any]]:
    """Return the results of each page of a list."""
    joint = "&" if "?" in path else "?"
    read: list[list[Any]] = []
    cursor = ""
    while cursor is not None:
        page = found(market, f"{path}{joint}limit={limit}&cursor={cursor}", subject)
        read.append(page["results"])
        cursor = page["nextCursor"]
    return read


def order(
    market: Market,
    key: str,
    kind: Kind = Kind.TRANSFER,
    body: bytes = BODY,
    *,
    batches: Collection[int] = (),
    user_id: int | None = None,
) -> UUID:
    """Order as a POST of version 2 does: queued, or accepted with these batches (by id).

    :returns: The operation's id, also if an earlier order with the key made it.
    """
    owner = market.alice if user_id is None else user_id
    hold = idempotency.take_for(market.runtime.database, owner, key, body, kind, 60)
    return hold if isinstance(hold, UUID) else carry_out(market, hold, kind, body, batches)


def carry_out(
    market: Market, hold: Hold, kind: Kind, body: bytes = BODY, batches: Collection[int] = ()
) -> UUID:
    """Write the operation of an order that holds its key."""
    new = NewOperation(hold.user_id, kind, "backend", body.decode())
    planned: Mapping[str, Any] = {}
    with market.runtime.database.raw_connection(transaction=True) as connection:
        if batches:
            ((at,),) = connection.rows("SELECT entry_time()", {})
            planned = {"accepted_at": at, "requested": 1000}
        operation_id = writing.insert(connection, new, hold, **planned)
        for sequence, batch_id in enumerate(batches):
            connection.rows(
                "UPDATE batches SET operation_id = %(id)s, sequence = %(sequence)s, "
                "created_at = %(at)s WHERE id = %(batch_id)s",
                {"id": str(operation_id), "sequence": sequence, "batch_id": batch_id, "at": at},
            )
        idempotency.answer_with(connection, hold, operation_id)
    return operation_id


def issue_next(market: Market, amount: int = 1000) -> str:
    """Issue a GGO of the next hour in which none is issued yet, and return its address."""
    issued = market.value("SELECT count(*) FROM ggos WHERE issue_gsrn IS NOT NULL")
    return market.issue(amount, market.hour(issued))


def transfers(market: Market, amounts: Collection[int]) -> list[int]:
    """Compose a transfer of each amount, of a GGO of 1,000 Wh; return the batches' ids."""
    for amount in amounts:
        answer = market.compose(issue_next(market), transfers=[(amount, "bob")])
        assert answer.status_code == 200, answer.text
    rows = market.rows("SELECT id FROM batches ORDER BY id DESC LIMIT :n", n=len(amounts))
    return sorted(row[0] for row in rows)


def end(market: Market, batch_id: int, state: str) -> None:
    """End a batch as the ledger's answer does."""
    from origin.batches.queries import outcomes

    with market.runtime.database.transaction() as session:
        if state == "COMPLETED":
            assert outcomes.complete_batches(session, [batch_id]) == [batch_id]
        else:
            assert outcomes.decline_batch(session, batch_id, "No")
