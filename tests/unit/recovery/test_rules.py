"""Plans from the ledger alone restore what trade had left, whatever the database lost of it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement
from origin.batches.rules.standing import Spending, Target
from origin.intake.rules.key_indexes import LOST_RECOVERIES
from origin.keys.derivation import settlement_address
from origin.recovery.rules import (
    AddressOwner,
    DatabaseGgo,
    GgoState,
    LedgerTree,
    Restoration,
    RetiredTo,
    TradeIndexSearch,
    compare,
    plan,
    stands,
)

USERS = (1, 2, 3)
BEGIN = datetime(2020, 1, 1, 12, tzinfo=UTC)


def on_ledger(
    address: str, origin: str, amount: int, became: LedgerNext | None = None
) -> LedgerGgo:
    """A GGO on the ledger; its period and codes do not matter here."""
    return LedgerGgo(address, origin, amount, BEGIN, BEGIN, "DK1", "T", "F", became)


@dataclass
class Line:
    """A GGO in the books."""

    owner: int
    amount: int
    parent: str | None = None
    key_index: int | None = None
    place: int | None = None
    standing: str = "stored"


@dataclass
class Oracle:
    """Trade that is recorded in books and on a ledger at the same time."""

    books: dict[str, Line] = field(default_factory=dict)
    ledger: dict[str, LedgerGgo] = field(default_factory=dict)
    settlements: dict[str, LedgerSettlement] = field(default_factory=dict)
    following: dict[int, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))

    def issue(self, name: str, owner: int, amount: int) -> None:
        self.books[name] = Line(owner, amount)
        self.ledger[name] = on_ledger(name, "measurement", amount)

    def split(self, name: str, parts: list[tuple[int, int, bool]]) -> None:
        """Parts: (owner, Wh, whether it is retired)."""
        source = self.books[name]
        addresses = []
        for place, (owner, amount, is_retired) in enumerate(parts):
            k = self.following[owner]
            self.following[owner] += 1
            address = f"{owner}/{k}"
            standing = f"retired to point of {owner}" if is_retired else "stored"
            self.books[address] = Line(owner, amount, name, k, place, standing)
            self.ledger[address] = on_ledger(address, name, amount)
            if is_retired:
                self._settle(address, owner)
            addresses.append(address)
        source.standing = "split"
        self.ledger[name] = replace(self.ledger[name], next=LedgerNext("SPLIT", tuple(addresses)))

    def retire(self, name: str) -> None:
        owner = self.books[name].owner
        self.books[name].standing = f"retired to point of {owner}"
        self._settle(name, owner)

    def _settle(self, name: str, owner: int) -> None:
        there = self.ledger[name]
        address = f"settlement of {owner}"
        known = self.settlements.get(address, LedgerSettlement(f"point of {owner}", {}))
        self.settlements[address] = replace(known, amounts={**known.amounts, name: there.amount})
        self.ledger[name] = replace(there, next=LedgerNext("RETIRE", (address,)))

    def unspent(self) -> list[str]:
        return [name for name, line in self.books.items() if line.standing == "stored"]

    def tree(self, root: str) -> LedgerTree:
        found, waiting = LedgerTree(root), [root]
        while waiting:
            there = found.ggos[name] = self.ledger[name := waiting.pop()]
            if there.action == "SPLIT":
                waiting += there.next_addresses
            elif there.action == "RETIRE":
                [address] = there.next_addresses
                found.settlements[address] = self.settlements[address]
        return found

    def restore(self, wanted: Restoration) -> None:
        """Write a planned restoration into the books."""
        source = self.books[wanted.source.address]
        assert not wanted.problem
        source.standing = "split"
        if wanted.retired_to is not None:
            source.standing = f"retired to {wanted.retired_to.gsrn}"
        for part in wanted.parts:
            standing = "stored" if part.is_unspent else "split"
            if part.retired_to is not None:
                standing = f"retired to {part.retired_to.gsrn}"
            self.books[part.address] = Line(
                part.owner_id,
                part.amount,
                wanted.source.address,
                part.key_index,
                part.position,
                standing,
            )


def trade(data: st.DataObject, oracle: Oracle, steps: int) -> None:
    for _ in range(steps):
        unspent = oracle.unspent()
        if not unspent:
            return
        name = data.draw(st.sampled_from(unspent))
        line = oracle.books[name]
        if data.draw(st.integers(0, 4)) == 0:
            oracle.retire(name)
            continue
        # Composes that failed.
        for owner in USERS:
            oracle.following[owner] += data.draw(st.integers(0, 3))
        sizes = []
        left = line.amount
        while left and len(sizes) < 4:
            sizes.append(data.draw(st.integers(1, left)) if len(sizes) < 3 else left)
            left -= sizes[-1]
        parts = []
        for size in sizes:
            owner = data.draw(st.sampled_from(USERS))
            parts.append((owner, size, owner == line.owner and data.draw(st.booleans())))
        oracle.split(name, parts)


@given(data=st.data(), before=st.integers(0, 6), after=st.integers(0, 10))
def test_what_the_database_lost_is_planned_as_it_was(data: st.DataObject, before: int, after: int):
    oracle = Oracle()
    for number, owner in enumerate((1, 1, 2)):
        oracle.issue(f"issued {number}", owner, data.draw(st.integers(1, 1000)))
    trade(data, oracle, before)
    backup = {name: replace(line) for name, line in oracle.books.items()}
    trade(data, oracle, after)
    expected = oracle.books
    oracle.books = {name: replace(line) for name, line in backup.items()}
    holders = {name: AddressOwner(line.owner, line.key_index) for name, line in expected.items()}
    for name, line in backup.items():
        standing = compare(_here(name, line, backup), oracle.ledger[name])
        if line.standing == expected[name].standing:
            assert standing is GgoState.IN_STEP
            continue
        assert standing is GgoState.LOST
        tree = oracle.tree(name)
        retired_to = {
            ggo.address: RetiredTo(settlement.measurement, settlement.measurement)
            for ggo, settlement in tree.retirements()
        }
        for wanted in plan(tree, holders, retired_to):
            # Sources come before their parts.
            assert wanted.source.address in oracle.books
            oracle.restore(wanted)
    assert oracle.books == expected


def _here(name: str, line: Line, books: dict[str, Line]) -> DatabaseGgo:
    return DatabaseGgo(
        address=name,
        amount=line.amount,
        stored=line.standing == "stored",
        retired=line.standing.startswith("retired"),
        settlement=f"settlement of {line.owner}" if line.standing.startswith("retired") else None,
        parts={part: each.amount for part, each in books.items() if each.parent == name},
        is_live=False,
    )


HERE = DatabaseGgo("a", 10, True, False, None, {}, False, False)  # noqa: FBT003 - positions of a literal
SPLIT = on_ledger("a", "m", 10, LedgerNext("SPLIT", ("b", "c")))
RETIRED = on_ledger("a", "m", 10, LedgerNext("RETIRE", ("s",)))
SPENT: dict[str, Any] = {"stored": False}
NEVER_SENT = replace(HERE, **SPENT, parts={"b": 9, "c": 1}, never_sent=True)


@pytest.mark.parametrize(
    ("here", "on_ledger", "state"),
    [
        (HERE, None, GgoState.ABSENT),
        (replace(HERE, is_live=True, stored=False), None, GgoState.UNDER_WAY),
        (HERE, on_ledger("a", "m", 10), GgoState.IN_STEP),
        (HERE, on_ledger("a", "m", 11), GgoState.WRONG_AMOUNT),
        (replace(HERE, is_live=True, stored=False), on_ledger("a", "m", 10), GgoState.UNDER_WAY),
        (replace(HERE, **SPENT), on_ledger("a", "m", 10), GgoState.SPENT_HERE_ALONE),
        (HERE, SPLIT, GgoState.LOST),
        (HERE, RETIRED, GgoState.LOST),
        (HERE, replace(RETIRED, next=LedgerNext("TRANSFER", ("s",))), GgoState.LOST),
        (replace(HERE, **SPENT), SPLIT, GgoState.LOST),
        (replace(HERE, **SPENT, is_live=True), SPLIT, GgoState.SPENT_UNDER_WAY),
        (replace(HERE, **SPENT, parts={"b": 10}), SPLIT, GgoState.LOST),
        (replace(HERE, **SPENT, parts={"b": 9, "c": 1}), SPLIT, GgoState.IN_STEP),
        (replace(HERE, **SPENT, parts={"b": 9, "d": 1}), SPLIT, GgoState.SPENT_OTHERWISE),
        (replace(HERE, **SPENT, parts={"b": 10}), RETIRED, GgoState.SPENT_OTHERWISE),
        (replace(HERE, **SPENT, retired=True, settlement="s"), RETIRED, GgoState.IN_STEP),
        (replace(HERE, **SPENT, retired=True, settlement="t"), RETIRED, GgoState.SPENT_OTHERWISE),
        (replace(HERE, **SPENT, retired=True, settlement="s"), SPLIT, GgoState.SPENT_OTHERWISE),
        (replace(HERE, never_sent=True), None, GgoState.NEVER_SENT),
        (NEVER_SENT, on_ledger("a", "m", 10), GgoState.NEVER_SENT),
        (replace(NEVER_SENT, parts={}, retired=True), on_ledger("a", "m", 10), GgoState.NEVER_SENT),
        (NEVER_SENT, on_ledger("a", "m", 11), GgoState.WRONG_AMOUNT),
        (replace(HERE, never_sent=True), on_ledger("a", "m", 10), GgoState.SPENT_OTHERWISE),
        (NEVER_SENT, SPLIT, GgoState.SPENT_OTHERWISE),
    ],
)
def test_how_a_ggo_compares_with_the_ledger(
    here: DatabaseGgo, on_ledger: LedgerGgo | None, state: GgoState
):
    assert compare(here, on_ledger) is state


def test_parts_without_an_owner_are_reported_and_the_others_restored():
    tree = LedgerTree("a", {"a": SPLIT, "b": on_ledger("b", "a", 7), "c": on_ledger("c", "a", 3)})
    [wanted] = plan(tree, {"a": AddressOwner(1, None), "c": AddressOwner(2, 5)}, {})
    assert wanted.unmatched == {"b": 7}
    assert [(part.address, part.owner_id, part.position) for part in wanted.parts] == [("c", 2, 1)]
    assert "7 Wh" in wanted.problem


def test_records_that_the_split_did_not_make_are_not_taken_for_its_parts():
    """The processor accepts repeated targets and negative amounts; a part has one origin."""
    tree = LedgerTree(
        "a",
        {
            "a": replace(SPLIT, next=LedgerNext("SPLIT", ("b", "b", "c", "d"))),
            "b": on_ledger("b", "a", 12),
            "c": on_ledger("c", "a", -2),
            "d": on_ledger("d", "another", 4),
        },
    )
    holders = {name: AddressOwner(1, place) for place, name in enumerate("bcd")}
    [wanted] = plan(tree, {"a": AddressOwner(1, None), **holders}, {})
    assert [part.address for part in wanted.parts] == ["b"]
    assert wanted.problem


MEASUREMENT, OTHER_MEASUREMENT = ("5a9839" + digit * 64 for digit in "12")
SETTLEMENT = settlement_address(MEASUREMENT)


def retired(address: str, origin: str, amount: int) -> LedgerGgo:
    return on_ledger(address, origin, amount, LedgerNext("RETIRE", (SETTLEMENT,)))


def settling(**amounts: int) -> dict[str, LedgerSettlement]:
    return {SETTLEMENT: LedgerSettlement(MEASUREMENT, amounts)}


@pytest.mark.parametrize(
    ("ours", "measurement", "same"),
    [
        ({"b": (7, None), "c": (3, MEASUREMENT)}, None, True),
        ({"b": (6, None), "c": (4, MEASUREMENT)}, None, False),
        ({"b": (7, None), "c": (3, OTHER_MEASUREMENT)}, None, False),
        ({"b": (7, MEASUREMENT), "c": (3, MEASUREMENT)}, None, False),
        # Kept by the compose, retired since.
        ({"b": (7, None), "c": (3, None)}, None, True),
        ({"b": (7, None)}, None, False),
        ({"b": (7, None), "c": (3, MEASUREMENT), "d": (1, None)}, None, False),
        ({}, MEASUREMENT, False),
    ],
)
def test_a_batch_of_ours_stands_if_each_part_of_it_does(
    ours: dict[str, tuple[int, str | None]], measurement: str | None, same: bool
):
    ggos = {"a": SPLIT, "b": on_ledger("b", "a", 7), "c": retired("c", "a", 3)}
    tree = LedgerTree("a", ggos, settling(c=3))
    wanted, *_ = plan(
        tree,
        {"a": AddressOwner(1, None), "b": AddressOwner(1, 0), "c": AddressOwner(1, 1)},
        {"c": RetiredTo("gsrn", MEASUREMENT)},
    )
    targets = [Target(name, wh, to) for name, (wh, to) in ours.items()]
    assert stands(wanted, Spending("a", 10, measurement, targets), tree) is same
    assert not stands(replace(wanted, unmatched={"b": 7}), Spending("a", 10, None, targets), tree)


@pytest.mark.parametrize("action", ["SPLIT", "RETIRE", "TRANSFER"])
def test_a_split_of_ours_stands_whatever_became_of_its_parts_later(action: str):
    """The batch is completed, so that its reference and the part's owner are kept."""
    part = on_ledger("b", "a", 7, LedgerNext(action, (SETTLEMENT,)))
    ggos = {"a": SPLIT, "b": part, "c": on_ledger("c", "a", 3)}
    tree = LedgerTree("a", ggos, settling(b=7))
    wanted, *_ = plan(tree, {name: AddressOwner(1, place) for place, name in enumerate("abc")}, {})
    assert stands(wanted, Spending("a", 10, None, [Target("b", 7), Target("c", 3)]), tree)


def test_a_batch_that_retires_the_whole_stands_if_the_measurement_is_the_same():
    tree = LedgerTree("a", {"a": retired("a", "m", 10)}, settling(a=10))
    [wanted] = plan(tree, {"a": AddressOwner(1, None)}, {"a": RetiredTo("gsrn", MEASUREMENT)})
    whole = Spending("a", 10, MEASUREMENT, [])
    assert stands(wanted, whole, tree)
    assert not stands(wanted, Spending("a", 10, OTHER_MEASUREMENT, []), tree)
    assert not stands(wanted, Spending("a", 10, None, [Target("b", 10)]), tree)
    assert not stands(wanted, Spending("a", 10, "no address", []), tree)
    assert not stands(replace(wanted, is_read=False), whole, tree)


def test_a_ggo_that_can_not_be_read_completely_is_left_as_it_is():
    """Otherwise an unexpected answer would make a batch of ours look like another's."""
    tree = LedgerTree("a", {"a": SPLIT, "b": on_ledger("b", "a", 7)}, unread={"a"})
    [wanted] = plan(tree, {"a": AddressOwner(1, None), "b": AddressOwner(1, 0)}, {})
    assert not wanted.is_read
    assert wanted.parts == ()


def test_a_part_that_was_retired_to_no_point_of_its_sender_is_reported():
    split = replace(SPLIT, next=LedgerNext("SPLIT", ("b",)))
    tree = LedgerTree("a", {"a": split, "b": retired("b", "a", 10)}, settling(b=10))
    holders = {"a": AddressOwner(1, None), "b": AddressOwner(1, 0)}
    whole, part = plan(tree, holders, {"b": RetiredTo(None, MEASUREMENT)})
    assert not whole.parts[0].is_retired
    assert not whole.parts[0].is_unspent
    spending = Spending("a", 10, None, [Target("b", 10, MEASUREMENT)])
    assert stands(whole, spending, tree)
    assert "measurement" in part.problem


@given(
    known=st.integers(0, 50),
    ahead=st.integers(0, 60),
    reach=st.integers(1, 20),
    margin=st.integers(0, 40),
    window=st.integers(1, 7),
    wanted=st.sets(st.integers(0, 400), max_size=12),
)
def test_the_index_search_finds_all_within_reach_and_ends(
    known: int, ahead: int, reach: int, margin: int, window: int, wanted: set[int]
):
    counter = known + ahead
    search = TradeIndexSearch(known, counter, reach=reach, margin=margin, window=window)
    seen: list[int] = []
    while (part := search.next_window()) is not None:
        assert 1 <= len(part) <= window
        seen += part
        for index in wanted & set(part):
            search.matched(index)
    assert len(seen) == len(set(seen))
    # All that was handed out before the backup, and gaps of `reach` beyond it and each match.
    starts = [counter, *(index + 1 for index in wanted & set(seen))]
    for start in starts:
        assert set(range(start + reach)[start:]) <= set(seen)
    assert set(range(counter)) <= set(seen)
    # And where earlier recoveries would have moved the counter to.
    last = max([counter, *(index + 1 for index in wanted if index in seen)])
    jumps = {counter + margin * number for number in range(LOST_RECOVERIES + 1)}
    assert jumps <= set(seen) or last > counter
