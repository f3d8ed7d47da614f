"""The auditor of version 2: compares what the API tells of operations with the ledger and the database.

It gives its own verdict on each order, from the ledger's records alone: what became of its source there. It
needs an idle system, as `tests.support.auditor` does.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.auditor import Books, State

Json = dict[str, Any]
_NOTHING_HAPPENED = {"refused", "cancelled"}


@dataclass(frozen=True)
class Account:
    """What the API tells an account of its operations.

    - `operations`: all of them
    - `items`: of each operation, by its id, in order of `sequence`
    """

    subject: str
    operations: list[Json]
    items: dict[str, list[Json]]


def audit_operations(
    accounts: Iterable[Account], books: Books, state: State, *, recovered: Collection[str] = ()
) -> list[str]:
    """Return a complaint for each error found.

    `recovered`: addresses of GGOs that were recovered from the ledger after a loss of the database: what
    spent them is lost, so nothing is compared with the ledger.
    """
    told = list(accounts)
    return [
        *(complaint for account in told for complaint in _account(account, state, recovered)),
        *_every_batch_is_an_item(told, books),
    ]


def verdict_on(item: Json, state: State) -> str:
    """Return what the ledger made of an item's batch: completed or declined."""
    source, parts = item["source"]["address"], item["parts"]
    following = state.get(source, {}).get("next")
    if not following:
        return "declined"
    after = set(following["addresses"])
    if [part["address"] for part in parts] == [source]:
        settlements = after & state.keys() if following["action"] == "RETIRE" else set()
        retired_to = {state[address]["measurement"] for address in settlements}
        is_done = retired_to == {parts[0]["measurementAddress"]}
    else:
        is_done = following["action"] == "SPLIT" and after == {part["address"] for part in parts}
    return "completed" if is_done else "declined"


def status_of(verdicts: Collection[str]) -> str:
    """Return the status of an operation whose batches ended like this."""
    found = set(verdicts)
    return found.pop() if len(found) == 1 else "partially_completed"


def _account(account: Account, state: State, recovered: Collection[str]) -> Iterator[str]:
    once = _completed_retirements(account)
    for operation in account.operations:
        name = f"operation {operation['id']} ({operation['kind']})"
        items = account.items[operation["id"]]
        verdicts = []
        for item in items:
            is_known = item["source"]["address"] not in recovered
            verdict = verdict_on(item, state) if is_known else item["status"]
            # Of equal retirements of one GGO, the ledger's records don't tell which one it was.
            if verdict == "completed" and item["status"] == "declined" and once[_whole(item)] == 1:
                verdict = "declined"
            if item["status"] != verdict:
                yield f"{name}: item {item['sequence']} is {item['status']}, on the ledger {verdict}"
            verdicts.append(verdict)
            yield from (f"{name}: item {item['sequence']} {each}" for each in _item(item, state))
        yield from (f"{name} {each}" for each in _operation(operation, items, verdicts))
        # A recovery takes batches that do something else on the ledger out of their operation.
        numbers = [item["sequence"] for item in items]
        if numbers != list(range(len(items))) and not recovered:
            yield f"{name} has gaps in its sequence"


def _whole(item: Json) -> tuple[str, str] | None:
    """Return source and measurement of a retirement of a whole GGO."""
    source, parts = item["source"]["address"], item["parts"]
    is_whole = [part["address"] for part in parts] == [source]
    return (source, parts[0]["measurementAddress"]) if is_whole else None


def _completed_retirements(account: Account) -> Counter[tuple[str, str] | None]:
    return Counter(
        whole
        for items in account.items.values()
        for item in items
        if item["status"] == "completed" and (whole := _whole(item)) is not None
    )


def _item(item: Json, state: State) -> Iterator[str]:
    parts, source = item["parts"], item["source"]
    if sum(part["amount"] for part in parts) != source["amount"]:
        yield "has parts that don't sum to its source"
    if sum(part["kind"] == "remainder" for part in parts) > 1:
        yield "has several remainders"
    for part in parts:
        if (part["kind"] == "retire") != (part["gsrn"] is not None):
            yield f"has a {part['kind']} to the point {part['gsrn']}"
        if (part["kind"] == "transfer") != (part["account"] is not None):
            yield f"has a {part['kind']} to the account {part['account']}"
        record = state.get(part["address"])
        if item["status"] == "completed" and record and record["amount"] != part["amount"]:
            yield f"has {part['amount']} Wh at {part['address']}, on the ledger {record['amount']}"
    if item["status"] not in {"completed", "declined"} or not item["ledger"]["endedAt"]:
        yield "has not ended"
    if (item["refusal"] is not None) != (item["status"] == "declined"):
        yield f"is {item['status']} with the refusal {item['refusal']}"


def _operation(operation: Json, items: list[Json], verdicts: Collection[str]) -> Iterator[str]:
    status, totals = operation["status"], operation["totals"]
    if not items:
        if status not in _NOTHING_HAPPENED:
            yield f"is {status} without items"
        if (status == "refused") != (operation["refusal"] is not None):
            yield f"is {status} with the refusal {operation['refusal']}"
    elif status != status_of(verdicts):
        yield f"is {status}, the auditor says {status_of(verdicts)}"
    if operation["completedAt"] is None or (operation["acceptedAt"] is None) != (not items):
        yield f"is {status}, but lacks a time"
    wh: Counter[str] = Counter()
    for item in items:
        wh[item["status"]] += _moved(item["parts"])
    wanted = {name: wh[name] for name in ("pending", "completed", "declined")}
    wanted |= {"planned": wh.total(), "ggos": len(items)}
    if {name: totals[name] for name in wanted} != wanted:
        yield f"has the totals {totals}, its items make {wanted}"
    yield from _as_ordered(operation, items)


def _moved(parts: Iterable[Json]) -> int:
    return sum(part["amount"] for part in parts if part["kind"] != "remainder")


def _as_ordered(operation: Json, items: list[Json]) -> Iterator[str]:
    """An operation does what its request says, as far as that needs no planner."""
    request, parts = operation["request"], [part for item in items for part in item["parts"]]
    if operation["kind"] == "compose":
        ordered = _ordered(request)
        done = Counter(
            (part["kind"], part["amount"], part["account"] or part["gsrn"], part["reference"])
            for part in parts
            if part["kind"] != "remainder"
        )
        if done != ordered or [item["source"]["address"] for item in items] != [request["address"]]:
            yield f"does {dict(done)} for {request}"
    else:
        for target in _targets(request):
            moved = sum(part["amount"] for part in parts if target.items() <= part.items())
            most = _most(request, target)
            if most is not None and moved > most:
                yield f"moves {moved} Wh to {target}, ordered were {most}"


def _ordered(request: Json) -> Counter[tuple[Any, ...]]:
    transfers = (
        ("transfer", each["amount"], each["account"], each.get("reference"))
        for each in request["transfers"]
    )
    retires = (("retire", each["amount"], each["gsrn"], None) for each in request["retires"])
    return Counter([*transfers, *retires])


def _targets(request: Json) -> list[Json]:
    """Return what the parts for each target of a bulk order have in common."""
    if "against" in request:
        return [{"kind": "retire"}]
    return [
        {"kind": "transfer", "account": each["account"], "reference": each.get("reference")}
        for each in request["targets"]
    ]


def _most(request: Json, target: Json) -> int | None:
    """Return the Wh that these targets of an order get at most; None: that depends on the GGOs."""
    takes = (
        [request["take"]]
        if "against" in request
        else [
            each["take"]
            for each in request["targets"]
            if (each["account"], each.get("reference")) == (target["account"], target["reference"])
        ]
    )
    return (
        sum(take["amount"] for take in takes) if all("amount" in take for take in takes) else None
    )


def _every_batch_is_an_item(accounts: Iterable[Account], books: Books) -> Iterator[str]:
    """Each batch of the database is an item of one operation, in the same state."""
    addresses = {ggo["id"]: ggo["address"] for ggo in books.ggos}
    in_books = Counter((addresses[each["ggo_id"]], each["state"].lower()) for each in books.batches)
    told: Counter[tuple[str, str]] = Counter(
        (item["source"]["address"], item["status"])
        for account in accounts
        for items in account.items.values()
        for item in items
    )
    for (address, state), count in (in_books - told).items():
        yield f"{count} batches of {address} that are {state} are no items of operations"
    for (address, state), count in (told - in_books).items():
        yield f"{count} items of {address} that are {state} have no batches"
