"""What clients are told about a bulk order that is rejected."""

import pytest

from origin.bulk.rules.limits import TooMany
from origin.bulk.rules.plan import Insufficient, NothingSelected, PlanChanged
from origin.bulk.rules.transfers import PercentagesAbove100, SameAccount, TakesMixed
from origin.compose.rules import AccountUnavailable
from origin.errors import MeteringPointUnavailable
from origin.web.v2.problems import problem_of


@pytest.mark.parametrize(
    ("error", "status", "code", "members"),
    [
        (TooMany("parts", 20_001, 20_000), 422, "too_many", {"count": 20_001}),
        (Insufficient(5, 7), 422, "insufficient", {"available": 5, "requested": 7}),
        (NothingSelected(), 422, "nothing_selected", {}),
        (PlanChanged(), 409, "plan_changed", {}),
        (MeteringPointUnavailable(["1"]), 422, "metering_point_unavailable", {}),
    ],
)
def test_a_problem_has_its_facts_as_members(error, status, code, members):
    problem = problem_of(error)
    assert (problem.status, problem.code, problem.members) == (status, code, members)
    assert problem.body("id").items() >= members.items()


@pytest.mark.parametrize(
    ("error", "status", "pointers"),
    [
        (SameAccount([0, 2]), 422, ["/targets/0/account", "/targets/2/account"]),
        (AccountUnavailable("you", [1]), 422, ["/targets/1/account"]),
        (TakesMixed(), 400, ["/targets"]),
        (PercentagesAbove100(), 400, ["/targets"]),
    ],
)
def test_a_problem_points_to_the_wrong_members(error, status, pointers):
    problem = problem_of(error)
    assert problem.status == status
    assert [each["pointer"] for each in problem.errors] == pointers
