"""An spending stands on the ledger if each part of it does; equal addresses prove nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement
from origin.batches.rules.standing import Spending, Target, spent_by
from origin.batches.rules.verdicts import SpentBy
from origin.keys.derivation import settlement_address

BEGIN = datetime(2020, 1, 1, 12, tzinfo=UTC)
SOURCE = "849c0b" + "0" * 64
MEASUREMENTS = ["5a9839" + digit * 64 for digit in "12"]
STRANGER = "849c0b" + "f" * 64


@dataclass
class State:
    """A ledger state in memory."""

    ggos: dict[str, LedgerGgo] = field(default_factory=dict)
    settlements: dict[str, LedgerSettlement] = field(default_factory=dict)

    def read_ggo(self, address: str) -> LedgerGgo | None:
        return self.ggos.get(address)

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        return self.settlements.get(address)


def executed(spending: Spending) -> State:
    """Return the state after the spending; another GGO is in the same settlements."""
    state = State()
    end = BEGIN + timedelta(hours=1)
    facts = LedgerGgo(SOURCE, "5a9839", spending.amount, BEGIN, end, "DK1", "T", "F")
    state.ggos[spending.source] = replace(facts, next=spending.leads_to)
    for target in spending.targets:
        state.ggos[target.address] = replace(
            facts, address=target.address, origin=spending.source, amount=target.amount
        )
    whole = Target(spending.source, spending.amount, spending.retired_to)
    for each in (whole, *spending.targets):
        if each.retired_to is not None:
            at = settlement_address(each.retired_to)
            record = state.ggos[each.address]
            state.ggos[each.address] = replace(record, next=LedgerNext("RETIRE", (at,)))
            known = state.settlements.get(at, LedgerSettlement(each.retired_to, {"another": 5}))
            amounts = {**known.amounts, each.address: each.amount}
            state.settlements[at] = LedgerSettlement(each.retired_to, amounts)
    return state


def judged(spending: Spending, state: State) -> SpentBy:
    return spent_by(spending, state.read_ggo(spending.source), state)


@st.composite
def spendings(draw: st.DrawFn) -> Spending:
    """A split into one to four parts, some of them retired; or the retirement of the whole."""
    retired_to = st.sampled_from([None, *MEASUREMENTS])
    if draw(st.booleans()):
        return Spending(SOURCE, draw(st.integers(1, 100)), draw(retired_to.filter(bool)), [])
    amounts = draw(st.lists(st.integers(1, 100), min_size=1, max_size=4))
    targets = [
        Target(f"849c0b{place:064}", amount, draw(retired_to))
        for place, amount in enumerate(amounts, 1)
    ]
    return Spending(SOURCE, sum(amounts), None, targets)


@given(spendings())
def test_an_executed_spending_stands(spending: Spending):
    assert judged(spending, executed(spending)) is SpentBy.THIS_BATCH


@given(spendings(), spendings())
def test_another_executed_spending_does_not_stand(ours: Spending, theirs: Spending):
    """Both have the same addresses; any other difference tells them apart."""
    expected = SpentBy.THIS_BATCH if ours == theirs else SpentBy.ANOTHER_OPERATION
    assert judged(ours, executed(theirs)) is expected


@given(spendings())
def test_an_unspent_or_missing_source_was_spent_by_nobody(spending: Spending):
    state = executed(spending)
    state.ggos[SOURCE] = replace(state.ggos[SOURCE], next=None)
    assert judged(spending, state) is SpentBy.NOBODY
    assert judged(spending, State()) is SpentBy.NOBODY


KEPT, RETIRED = "849c0b" + "1" * 64, "849c0b" + "2" * 64
OURS = Spending(SOURCE, 100, None, [Target(KEPT, 60), Target(RETIRED, 40, MEASUREMENTS[0])])
AT = settlement_address(MEASUREMENTS[0])


def _changed(address: str, **changes: Any) -> Callable[[State], None]:
    def change(state: State) -> None:
        state.ggos[address] = replace(state.ggos[address], **changes)

    return change


def _settles(measurement: str, *parts: tuple[str, int]) -> Callable[[State], None]:
    return lambda state: state.settlements.update({AT: LedgerSettlement(measurement, dict(parts))})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_changed(KEPT, amount=61), SpentBy.ANOTHER_OPERATION),
        (_changed(KEPT, origin=STRANGER), SpentBy.ANOTHER_OPERATION),
        (_changed(KEPT, sector="DK2"), SpentBy.ANOTHER_OPERATION),
        (_changed(KEPT, next=LedgerNext("RETIRE", (AT,))), SpentBy.ANOTHER_OPERATION),
        (_changed(KEPT, next=LedgerNext("SPLIT", (STRANGER,))), SpentBy.THIS_BATCH),
        (_changed(RETIRED, amount=39), SpentBy.ANOTHER_OPERATION),
        (_changed(RETIRED, next=None), SpentBy.ANOTHER_OPERATION),
        (_changed(SOURCE, amount=101), SpentBy.ANOTHER_OPERATION),
        (_changed(SOURCE, next=LedgerNext("TRANSFER", (STRANGER,))), SpentBy.ANOTHER_OPERATION),
        (_settles(MEASUREMENTS[0]), SpentBy.ANOTHER_OPERATION),
        (_settles(MEASUREMENTS[0], (RETIRED, 39)), SpentBy.ANOTHER_OPERATION),
        (_settles(MEASUREMENTS[1], (RETIRED, 40)), SpentBy.ANOTHER_OPERATION),
        (lambda state: state.settlements.clear(), SpentBy.ANOTHER_OPERATION),
        (lambda state: state.ggos.pop(KEPT), SpentBy.CONTRADICTION),
        (lambda _: None, SpentBy.THIS_BATCH),
    ],
)
def test_each_part_counts(change: Callable[[State], None], expected: SpentBy):
    state = executed(OURS)
    change(state)
    assert judged(OURS, state) is expected


@pytest.mark.parametrize("codes", [{"sector": "DK2"}, {"technology_code": "X", "fuel_code": "Y"}])
def test_facts_of_the_source_itself_say_nothing_about_who_spent_it(codes: dict[str, str]):
    state = executed(OURS)
    state.ggos = {address: replace(each, **codes) for address, each in state.ggos.items()}
    assert judged(OURS, state) is SpentBy.THIS_BATCH


def test_an_operation_that_retires_to_no_address_can_not_be_judged():
    whole = Spending(SOURCE, 100, MEASUREMENTS[0], [])
    with pytest.raises(ValueError, match="hex"):
        judged(replace(whole, retired_to="x"), executed(whole))
    targets = [Target(KEPT, 60), Target(RETIRED, 40, "x")]
    with pytest.raises(ValueError, match="hex"):
        judged(replace(OURS, targets=targets), executed(OURS))
