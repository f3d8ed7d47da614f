"""The auditor of operations finds each kind of damage, and none in correct answers."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.auditor import Books
from tests.support.auditor_operations import Account, audit_operations

FIRST, SECOND, SENT, KEPT, OTHER = ("849c0b" + digit * 64 for digit in "12345")
MEASURED, SETTLED = "5a9839" + "6" * 64, "ba4817" + "6" * 64
TIME = "2026-01-01T00:00:00+00:00"


def part(kind: str, amount: int, address: str, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("account", "reference", "gsrn", "measurementAddress"))
    return {"kind": kind, "amount": amount, "address": address, **nothing, **more}


def item(sequence: int, status: str, source: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "status": status,
        "source": {"address": source, "amount": sum(each["amount"] for each in parts)},
        "parts": list(parts),
        "ledger": {"endedAt": TIME},
        "refusal": {"code": "ledger_refused"} if status == "declined" else None,
    }


def operation(name: str, status: str, request: dict[str, Any], **totals: int) -> dict[str, Any]:
    return {
        "id": name,
        "kind": "compose" if "transfers" in request else "retirement",
        "status": status,
        "acceptedAt": TIME if totals else None,
        "completedAt": TIME,
        "request": request,
        "totals": {"pending": 0, "completed": 0, "declined": 0, "planned": 0, "ggos": 0, **totals},
        "refusal": None,
    }


@pytest.fixture
def account() -> Account:
    """A compose of 30 of 100 Wh that was declined, then done; and two retirements of the rest and 7 Wh."""
    compose = {
        "address": FIRST,
        "transfers": [{"amount": 30, "account": "bo", "reference": "r"}],
        "retires": [],
    }
    retirement: dict[str, Any] = {"against": {}, "take": {"amount": 80}}
    to_bo = {"account": "bo", "reference": "r"}
    retired = {"gsrn": "2", "measurementAddress": MEASURED}
    rest = part("retire", 70, KEPT, **retired)
    return Account(
        "anna",
        [
            operation("declined", "declined", compose, planned=30, declined=30, ggos=1),
            operation("done", "completed", compose, planned=30, completed=30, ggos=1),
            operation(
                "half",
                "partially_completed",
                retirement,
                planned=77,
                completed=70,
                declined=7,
                ggos=2,
            ),
            operation("again", "declined", retirement, planned=70, declined=70, ggos=1),
            {**operation("refused", "refused", retirement), "refusal": {"code": "insufficient"}},
        ],
        {
            "declined": [
                item(
                    *(0, "declined", FIRST),
                    part("transfer", 30, OTHER, **to_bo),
                    part("remainder", 70, OTHER),
                )
            ],
            "done": [
                item(
                    *(0, "completed", FIRST),
                    part("transfer", 30, SENT, **to_bo),
                    part("remainder", 70, KEPT),
                )
            ],
            "half": [
                item(0, "completed", KEPT, rest),
                item(1, "declined", SECOND, part("retire", 7, SECOND, **retired)),
            ],
            # The ledger's records don't tell which of two equal retirements it was.
            "again": [item(0, "declined", KEPT, rest)],
            "refused": [],
        },
    )


@pytest.fixture
def books() -> Books:
    ended = (("DECLINED", 1), ("COMPLETED", 1), ("COMPLETED", 2), ("DECLINED", 3), ("DECLINED", 2))
    return Books(
        ggos=[
            {"id": 1, "address": FIRST},
            {"id": 2, "address": KEPT},
            {"id": 3, "address": SECOND},
        ],
        batches=[{"ggo_id": ggo_id, "state": state} for state, ggo_id in ended],
        users=[],
        points=[],
    )


@pytest.fixture
def state() -> dict[str, Any]:
    return {
        FIRST: {"amount": 100, "next": {"action": "SPLIT", "addresses": [SENT, KEPT]}},
        SENT: {"amount": 30, "next": None},
        KEPT: {"amount": 70, "next": {"action": "RETIRE", "addresses": [SETTLED]}},
        SECOND: {"amount": 7, "next": None},
        SETTLED: {"measurement": MEASURED, "parts": []},
    }


def test_correct_answers_have_no_complaints(account: Account, books: Books, state: dict[str, Any]):
    assert audit_operations([account], books, state) == []


def test_a_retirement_may_be_declined_and_its_source_split_later(
    account: Account, books: Books, state: dict[str, Any]
):
    state[SECOND]["next"] = {"action": "SPLIT", "addresses": [OTHER]}
    state[OTHER] = {"amount": 7, "next": None}
    assert audit_operations([account], books, state) == []


def test_what_became_of_recovered_ggos_is_not_compared(
    account: Account, books: Books, state: dict[str, Any]
):
    state[SECOND]["next"] = {"action": "SPLIT", "addresses": [OTHER]}
    state[FIRST]["next"] = None
    assert audit_operations([account], books, state)
    assert audit_operations([account], books, state, recovered={FIRST, SECOND}) == []


Damage = Callable[[Account, Books, dict[str, Any]], object]


def _operation(place: int, **changes: Any) -> Damage:
    return lambda account, _, __: account.operations[place].update(changes)


def _totals(**changes: int) -> Damage:
    return lambda account, _, __: account.operations[2]["totals"].update(changes)


def _item(**changes: Any) -> Damage:
    return lambda account, _, __: account.items["half"][1].update(changes)


def _part(**changes: Any) -> Damage:
    return lambda account, _, __: account.items["done"][0]["parts"][0].update(changes)


DAMAGES: dict[str, tuple[str, Damage]] = {
    "another status": ("the auditor says partially_completed", _operation(2, status="completed")),
    "a declined one that is completed": (
        "the auditor says declined",
        _operation(0, status="completed"),
    ),
    "no end": ("lacks a time", _operation(1, completedAt=None)),
    "never accepted": ("lacks a time", _operation(1, acceptedAt=None)),
    "nothing planned": ("is completed without items", _operation(4, status="completed")),
    "refused without a reason": ("refused with the refusal None", _operation(4, refusal=None)),
    "an item that the ledger refused": (
        "item 1 is completed, on the ledger declined",
        _item(status="completed"),
    ),
    "committed on the ledger": (
        "item 1 is declined, on the ledger completed",
        lambda _, __, state: state[SECOND].update(
            next={"action": "RETIRE", "addresses": [SETTLED]}
        ),
    ),
    "split otherwise on the ledger": (
        "item 0 is completed, on the ledger declined",
        lambda _, __, state: state[FIRST].update(next={"action": "SPLIT", "addresses": [SENT]}),
    ),
    "retired to another measurement": (
        "item 0 is completed, on the ledger declined",
        lambda _, __, state: state[SETTLED].update(measurement="another"),
    ),
    "an item in flight": ("has not ended", _item(status="submitted")),
    "an item without an end": ("has not ended", _item(ledger={"endedAt": None})),
    "no refusal": ("declined with the refusal None", _item(refusal=None)),
    "a gap": ("gaps in its sequence", _item(sequence=2)),
    "parts that are too small": ("don't sum to its source", _part(amount=29)),
    "another amount on the ledger": (
        "on the ledger 31",
        lambda _, __, state: state[SENT].update(amount=31),
    ),
    "two remainders": ("several remainders", _part(kind="remainder")),
    "a recipient of a remainder": ("a remainder to the account bo", _part(kind="remainder")),
    "a retirement to nothing": ("a retire to the point None", _part(kind="retire")),
    "another recipient": ("does {", _part(account="carl")),
    "another reference": ("does {", _part(reference=None)),
    "planned too little": ("has the totals", _totals(planned=70)),
    "completed too much": ("has the totals", _totals(completed=77)),
    "still pending": ("has the totals", _totals(pending=7)),
    "too many GGOs": ("has the totals", _totals(ggos=3)),
    "more than ordered": (
        "ordered were 76",
        _operation(2, request={"against": {}, "take": {"amount": 76}}),
    ),
    "a batch without an operation": (
        "are no items of operations",
        lambda _, books, __: books.batches.append({"ggo_id": 3, "state": "DECLINED"}),
    ),
    "an item without a batch": ("have no batches", lambda _, books, __: books.batches.pop()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(account: Account, books: Books, state: dict[str, Any], damage: str):
    words, do = DAMAGES[damage]
    do(account, books, state)
    complaints = audit_operations([account], books, state)
    assert any(words in complaint for complaint in complaints), complaints
