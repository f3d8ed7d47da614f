"""The comparison of a GGO with the ledger finds each kind of difference."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from origin.batches.rules.differences import DifferenceKind as Kind
from origin.batches.rules.ledger_state import LedgerGgo, LedgerNext, LedgerSettlement
from origin.reconciliation.rules import Holding, differences

BEGIN = datetime(2020, 1, 1, 12, tzinfo=UTC)
HERE = Holding(
    id=1,
    address="A",
    amount=100,
    begin=BEGIN,
    end=BEGIN + timedelta(hours=1),
    sector="DK1",
    technology_code="T",
    fuel_code="F",
    stored=True,
    retired=False,
    locked=False,
    parts={},
    parent_address="P",
    settlement=None,
    retired_alongside={},
    key_holds=True,
)
THERE = LedgerGgo("A", "P", 100, HERE.begin, HERE.end, "DK1", "T", "F")
SPLIT = replace(HERE, stored=False, parts={"B": 60, "C": 40})
SPLIT_THERE = replace(THERE, next=LedgerNext("SPLIT", ("B", "C")))
RETIRED = replace(
    HERE, stored=False, retired=True, settlement="S", retired_alongside={"A": 100, "Z": 1}
)
RETIRED_THERE = replace(THERE, next=LedgerNext("RETIRE", ("S",)))
RETIRED_ELSEWHERE = replace(THERE, next=LedgerNext("RETIRE", ("T",)))


ELSEWHERE = replace(HERE, stored=False, locked=True, spent_elsewhere=True)


@pytest.mark.parametrize(
    ("holding", "record", "settled", "kinds"),
    [
        (HERE, THERE, None, []),
        (SPLIT, SPLIT_THERE, None, []),
        (RETIRED, RETIRED_THERE, {"A": 100}, []),
        (RETIRED, RETIRED_THERE, {"A": 100, "Z": 1}, []),
        (HERE, None, None, [Kind.NOT_ON_LEDGER]),
        (HERE, SPLIT_THERE, None, [Kind.SPENT_THERE]),
        (SPLIT, THERE, None, [Kind.UNSPENT_THERE]),
        (RETIRED, THERE, None, [Kind.UNSPENT_THERE]),
        (SPLIT, RETIRED_THERE, None, [Kind.SPENT_OTHERWISE]),
        (RETIRED, RETIRED_ELSEWHERE, None, [Kind.SPENT_OTHERWISE]),
        (
            replace(SPLIT, parts={"B": 60}),
            SPLIT_THERE,
            None,
            [Kind.MISSING_REMAINDER, Kind.NOT_HERE],
        ),
        (
            replace(SPLIT, parts={"B": 60, "D": 40}),
            SPLIT_THERE,
            None,
            [Kind.SPENT_OTHERWISE],
        ),
        (RETIRED, RETIRED_THERE, None, [Kind.WRONG_SETTLEMENT]),
        (RETIRED, RETIRED_THERE, {"A": 99}, [Kind.WRONG_SETTLEMENT]),
        (RETIRED, RETIRED_THERE, {"A": 100, "Y": 1}, [Kind.WRONG_SETTLEMENT]),
        (replace(HERE, parent_address="Q"), THERE, None, [Kind.WRONG_ORIGIN]),
        (replace(HERE, end=BEGIN), THERE, None, [Kind.WRONG_FACTS]),
        (replace(HERE, amount=99, key_holds=False), THERE, None, None),
        (replace(HERE, locked=True), THERE, None, [Kind.STRANDED]),
        (ELSEWHERE, SPLIT_THERE, None, [Kind.SPENT_ELSEWHERE]),
        (ELSEWHERE, THERE, None, [Kind.SPENT_ELSEWHERE]),
        (ELSEWHERE, None, None, [Kind.SPENT_ELSEWHERE, Kind.NOT_ON_LEDGER]),
    ],
)
def test_each_kind_of_difference(
    holding: Holding, record: LedgerGgo | None, settled: dict[str, int] | None, kinds: list[Kind]
):
    settlement = None if settled is None else LedgerSettlement("M", settled)
    found = [each.kind for each in differences(holding, record, settlement)]
    assert found == (kinds if kinds is not None else [Kind.WRONG_OWNER, Kind.WRONG_AMOUNT])
