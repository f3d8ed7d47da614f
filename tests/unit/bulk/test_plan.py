"""The digest of a plan."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from origin.bulk.rules.plan import PlanChanged, check_digest
from origin.bulk.rules.retirements import RetirementOrder, plan_retirements
from origin.bulk.rules.stock import GgoOrder
from origin.bulk.rules.takes import All, Shortfall
from origin.bulk.rules.transfers import Spread, plan_transfers
from tests.support.bulk import ggo, measured, to


def _transferred(candidates, *targets):
    return plan_transfers(
        candidates, targets, GgoOrder.OLDEST_FIRST, Spread.SEQUENTIAL, Shortfall.REFUSE
    )


def _retired(candidates, measurements):
    return plan_retirements(candidates, measurements, RetirementOrder(), All(), Shortfall.REFUSE)


def _sha256(canonical):
    text = json.dumps(canonical, separators=(",", ":"))
    return "sha256:" + sha256(text.encode()).hexdigest()


def test_the_digest_of_a_transfer_covers_each_part():
    plan = _transferred([ggo("a", 10)], to("you", 4, "Ølsted"), to("they", 5))
    canonical = [
        [
            "a",
            [
                ["transfer", 4, "you", "Ølsted", None, None],
                ["transfer", 5, "they", None, None, None],
                ["remainder", 1, None, None, None, None],
            ],
        ]
    ]
    assert plan.digest == _sha256(canonical)


def test_the_digest_of_a_retirement_covers_the_measurement():
    plan = _retired([ggo("a", 10)], [measured("p", 10)])
    assert plan.digest == _sha256([["a", [["retire", 10, None, None, "p", "p at 0"]]]])


def test_the_digest_does_not_depend_on_ids_or_on_what_else_is_selected():
    one, other = ggo("a", 10), ggo("b", 10, hour=1)
    plan = _transferred([one], to("you", 10))
    assert _transferred([other, replace(one, id=77)], to("you", 10)).digest == plan.digest


@pytest.mark.parametrize(
    "target", [to("you", 9), to("they", 10), to("you", 10, "x"), to("you", 10, "")]
)
def test_another_plan_has_another_digest(target):
    plan = _transferred([ggo("a", 10)], to("you", 10))
    other = _transferred([ggo("a", 10)], target)
    with pytest.raises(PlanChanged) as caught:
        check_digest(other, plan.digest)
    assert caught.value.code == "plan_changed"


def test_the_expected_plan_is_carried_out():
    plan = _transferred([ggo("a", 10)], to("you", 10))
    check_digest(plan, plan.digest)
    check_digest(plan, None)


def test_any_text_has_a_digest():
    assert _transferred([ggo("a", 10)], to("you", 10, "\ud800\x00 🌬")).digest.startswith("sha256:")
