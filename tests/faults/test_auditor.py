"""The auditor finds each kind of damage, and none in correct data."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.auditor import Books, audit
from tests.support.lost_data import LostData

ISSUED, SENT, KEPT, RETIRED, WHOLE = ("849c0b" + digit * 64 for digit in "12345")
MEASURED, SETTLED = "5a9839" + "6" * 64, "ba4817" + "6" * 64
OTHER = "849c0b" + "9" * 64


def ggo(number: int, address: str, amount: int, **more: Any) -> dict[str, Any]:
    """Return a row of `ggos`; stored unless changed."""
    row = {
        "id": number,
        "owner_id": 1,
        "address": address,
        "amount": amount,
        "sector": "DK1",
        "stored": True,
        "retired": False,
        "locked": False,
        "parent_id": None,
        "key_index": None,
        "retire_address": None,
        "key_mismatch": False,
        "spent_elsewhere": False,
    }
    return {**row, **more}


def batch(number: int, ggo_id: int, *addresses: str, state: str = "COMPLETED") -> dict[str, Any]:
    """Return a row of `batches`."""
    payload = b"\x0a\x46" + b'","'.join(address.encode() for address in addresses)
    standing = {"state": state, "ended": True, "due": False}
    return {"id": number, "ggo_id": ggo_id, "signed_batch": payload, **standing}


def record(amount: int, origin: str, action: str = "", *addresses: str) -> dict[str, Any]:
    """Return a ledger record of a GGO."""
    following = {"action": action, "addresses": list(addresses)} if action else None
    return {"amount": amount, "origin": origin, "sector": "DK1", "next": following}


@pytest.fixture
def books() -> Books:
    """100 Wh issued: 30 sent, 50 kept, 20 retired; and 7 Wh retired as a whole, after a refusal."""
    gone = {"stored": False, "retired": True, "retire_address": MEASURED}
    return Books(
        ggos=[
            ggo(1, ISSUED, 100, stored=False),
            ggo(2, SENT, 30, owner_id=2, parent_id=1, key_index=0),
            ggo(3, KEPT, 50, parent_id=1, key_index=0),
            ggo(4, RETIRED, 20, parent_id=1, key_index=1, **gone),
            ggo(5, WHOLE, 7, **gone),
        ],
        batches=[
            batch(1, 1, ISSUED, SENT, KEPT, RETIRED),
            batch(2, 5, WHOLE, OTHER, state="DECLINED"),
            batch(3, 5, WHOLE),
        ],
        users=[{"id": 1, "next_trade_index": 3}, {"id": 2, "next_trade_index": 1}],
        points=[
            {"user_id": 1, "gsrn": "1", "key_index": 0},
            {"user_id": 1, "gsrn": "2", "key_index": 1},
        ],
    )


@pytest.fixture
def state() -> dict[str, Any]:
    return {
        ISSUED: record(100, "5a9839", "SPLIT", SENT, KEPT, RETIRED),
        SENT: record(30, ISSUED),
        KEPT: record(50, ISSUED),
        RETIRED: record(20, ISSUED, "RETIRE", SETTLED),
        WHOLE: record(7, "5a9839", "RETIRE", SETTLED),
        MEASURED: {"amount": 27, "type": "CONSUMPTION", "sector": "DK1"},
        SETTLED: {
            "measurement": MEASURED,
            "parts": [{"ggo": RETIRED, "amount": 20}, {"ggo": WHOLE, "amount": 7}],
        },
    }


def test_correct_data_has_no_complaints(books: Books, state: dict[str, Any]):
    assert audit(books, state) == []


def test_ggos_issued_with_a_wrong_key_are_not_compared(books: Books, state: dict[str, Any]):
    books.ggos.append(ggo(6, OTHER, 5, key_mismatch=True))
    assert audit(books, state) == []


@pytest.mark.parametrize("source", [ISSUED, WHOLE])
def test_only_recovered_ggos_may_lack_their_batch(books: Books, state: dict[str, Any], source: str):
    spent = {1} if source == ISSUED else {5}
    books.batches = [each for each in books.batches if each["ggo_id"] not in spent]
    assert audit(books, state, recovered={source}) == []
    assert audit(books, state) == [f"{source} has 0 completed batches"]


def test_a_ggo_recovered_for_another_owner_is_reported(books: Books):
    lost_data = LostData(owners={SENT: 2, KEPT: 2, OTHER: 1})
    assert lost_data.wrong_owners(books.ggos) == [f"{KEPT} was user 2's, is user 1's"]


def _row(table: str, number: int, **changes: Any) -> Callable[[Books, Any], None]:
    return lambda books, _: getattr(books, table)[number - 1].update(changes)


def _ledger(address: str, **changes: Any) -> Callable[[Books, Any], None]:
    return lambda _, state: state[address].update(changes)


DAMAGES: dict[str, tuple[str, Callable[[Books, Any], Any]]] = {
    "a leaf holds less": ("80 Wh are held", _row("ggos", 2, amount=10)),
    "a part holds more": ("101 Wh are held", _row("ggos", 2, amount=31)),
    "parts and parent differ": ("don't sum", _row("ggos", 3, amount=51)),
    "a part has vanished": ("70 Wh are held", lambda books, _: books.ggos.pop(1)),
    "a part in no state": ("is in no state", _row("ggos", 3, stored=False)),
    "held and split": ("is stored and split", _row("ggos", 1, stored=True)),
    "held and retired": ("is stored and retired", _row("ggos", 4, stored=True)),
    "locked": ("is locked", _row("ggos", 3, locked=True)),
    "spent elsewhere": ("100 Wh at 849c0b1", _row("ggos", 1, spent_elsewhere=True)),
    "held and spent elsewhere": (
        "is stored and spent elsewhere",
        _row("ggos", 3, spent_elsewhere=True),
    ),
    "blocked, and unspent on the ledger": (
        "is blocked, but unspent on the ledger",
        _row("ggos", 3, spent_elsewhere=True, stored=False, locked=True),
    ),
    "a live batch": ("batch 1 is SUBMITTED", _row("batches", 1, state="SUBMITTED")),
    "an unended batch": ("not ended", _row("batches", 1, ended=False)),
    "a batch still due": ("not ended", _row("batches", 2, due=True)),
    "completed twice": ("has 2 completed", _row("batches", 2, state="COMPLETED")),
    "spent without a batch": ("has 0 completed", _row("batches", 3, state="DECLINED")),
    "a batch for nothing": (
        "a completed batch, but isn't spent",
        lambda books, _: books.batches.append(batch(4, 3, KEPT)),
    ),
    "not on the ledger": ("isn't on the ledger", lambda _, state: state.pop(SENT)),
    "another amount": ("on the ledger 31", _ledger(SENT, amount=31)),
    "another sector": ("on the ledger DK2", _ledger(SENT, sector="DK2")),
    "another origin": ("from another", _ledger(SENT, origin=WHOLE)),
    "spent on the ledger": (
        "should have become ('', set())",
        _ledger(KEPT, next={"action": "RETIRE", "addresses": [SETTLED]}),
    ),
    "unspent on the ledger": ("should have become ('SPLIT'", _ledger(ISSUED, next=None)),
    "split into others": (
        "should have become ('SPLIT'",
        _ledger(ISSUED, next={"action": "SPLIT", "addresses": [SENT, KEPT, WHOLE]}),
    ),
    "retired to another": (
        "should have become ('RETIRE'",
        _ledger(WHOLE, next={"action": "RETIRE", "addresses": ["ba4817"]}),
    ),
    "on the ledger only": (
        "on the ledger only",
        lambda _, state: state.update({OTHER: record(1, ISSUED)}),
    ),
    "more than measured": ("27 Wh retired", _ledger(MEASURED, amount=26)),
    "retired to a production": ("isn't a consumption", _ledger(MEASURED, type="PRODUCTION")),
    "no such measurement": ("isn't a consumption", lambda _, state: state.pop(MEASURED)),
    "a part not settled": (
        "differs from what was retired",
        lambda _, state: state[SETTLED]["parts"].pop(),
    ),
    "a settlement of another amount": (
        "differs from what was retired",
        lambda _, state: state[SETTLED]["parts"][0].update(amount=19),
    ),
    "settled twice": (
        "settled twice",
        lambda _, state: state[SETTLED]["parts"].append({"ggo": WHOLE, "amount": 7}),
    ),
    "a trade key used twice": ("uses key m/0/0 2 times", _row("ggos", 4, key_index=0)),
    "a point's key used twice": ("uses key m/1/0 2 times", _row("points", 2, key_index=0)),
    "a key beyond the counter": ("beyond the counter", _row("users", 2, next_trade_index=0)),
    "a key used again after a rollback": (
        "the target of 2 batches",
        lambda books, _: books.batches.append(batch(4, 3, KEPT, OTHER, state="DECLINED")),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(books: Books, state: dict[str, Any], damage: str):
    words, do = DAMAGES[damage]
    do(books, state)
    assert any(words in complaint for complaint in audit(books, state)), audit(books, state)
