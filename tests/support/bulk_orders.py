"""Bulk orders as tests place them."""

from typing import Any
from uuid import uuid4

from werkzeug.test import TestResponse

from tests.support.market import CONSUMPTION, Market

DAY = {"from": "2020-01-01", "to": "2020-01-03"}


def take(amount: int | str | None) -> dict[str, Any]:
    """Return a take: Wh, a percentage as text, or all."""
    if amount is None:
        return {"all": True}
    return {"amount" if isinstance(amount, int) else "percentage": amount}


def target(amount: int | str | None, account: str = "bob", **more: Any) -> dict[str, Any]:
    """Return a target that gets so much."""
    return {"account": account, "take": take(amount), **more}


def transfer(*targets: int | str | dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """Return the body of an order that transfers so much to Bob, or to these targets."""
    select = more.pop("select", {})
    reference = {"reference": more.pop("reference")} if "reference" in more else {}
    shown = [each if isinstance(each, dict) else target(each, **reference) for each in targets]
    return {"select": select, "targets": shown, **more}


def retirement(amount: int | str | None, *gsrns: str, **more: Any) -> dict[str, Any]:
    """Return the body of an order that retires so much to these points of Alice's."""
    against = {"gsrn": list(gsrns) or [CONSUMPTION], "period": DAY}
    return {"select": {}, "against": against, "take": take(amount), **more}


def sent(
    market: Market, body: dict[str, Any], subject: str = "alice", **headers: str
) -> TestResponse:
    """Send an order with a new Idempotency-Key, or with the headers."""
    path = "/v2/retirements" if "against" in body else "/v2/transfers"
    if not body.get("dryRun"):
        headers = {"Idempotency-Key": str(uuid4()), **headers}
    return market.post(path, body, market.tokens[subject], **headers)


def order(market: Market, body: dict[str, Any], subject: str = "alice") -> dict[str, Any]:
    """Send an order that is accepted; return the operation."""
    answer = sent(market, body, subject)
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json
    assert answer.headers["Location"] == f"/v2/operations/{made['id']}"
    return made


def plan_of(market: Market, body: dict[str, Any], subject: str = "alice") -> dict[str, Any]:
    """Return the plan of a dry run."""
    answer = sent(market, {**body, "dryRun": True}, subject)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def rejected(
    market: Market, body: Any, status: int, code: str, subject: str = "alice", **headers: str
) -> dict[str, Any]:
    """Send an order that is rejected; check that nothing has changed; return the problem."""
    before = market.snapshot()
    answer = sent(market, body, subject, **headers)
    problem: dict[str, Any] = answer.json
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert market.snapshot() == before, "something has changed"
    return problem


def got(market: Market, path: str, subject: str = "alice") -> Any:
    """Return what the API answers to a GET."""
    headers = {"Authorization": f"Bearer {market.tokens[subject]}"}
    answer = market.client().get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def operation(market: Market, operation_id: str) -> dict[str, Any]:
    """Return an operation of Alice's as it stands."""
    found: dict[str, Any] = got(market, f"/v2/operations/{operation_id}")
    return found


def items(market: Market, operation_id: str) -> list[dict[str, Any]]:
    """Return the items of an operation of Alice's."""
    found: list[dict[str, Any]] = got(market, f"/v2/operations/{operation_id}/items?limit=1000")[
        "results"
    ]
    return found


def shown_items(market: Market, operation_id: str) -> list[list[tuple[Any, ...]]]:
    """Return kind, Wh, account or metering point, and reference of each part of each item."""
    return [shown_parts(item) for item in items(market, operation_id)]


def shown_parts(item: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return kind, Wh, account or metering point, and reference of each part."""
    return [
        (part["kind"], part["amount"], part["account"] or part["gsrn"], part["reference"])
        for part in item["parts"]
    ]
