"""The page of version 2's errors lists what the code answers."""

from devstack.processes import ROOT
from devstack.v2_errors import catalogue, renewed
from origin.errors import OriginError, PeerMisbehaved, PeerUnreachable
from origin.web.errors import OLD_API, TABLE, V2
from origin.web.v2.problems import MEMBER_CODES, problem_of

_PAGE = (ROOT / "doc/integrating/v2-errors.md").read_text()


def test_the_page_is_up_to_date():
    assert renewed(_PAGE) == _PAGE, "run `make openapi`"


def test_it_lists_each_code_once():
    codes = [line.split("`")[1] for line in catalogue().splitlines()[2:]]
    assert len(codes) == len(set(codes))
    assert {each.code for each in V2} <= set(codes)


def test_errors_that_are_worded_as_their_base_are_listed_by_their_own_code():
    for error in (PeerMisbehaved("Hydra", ""), PeerUnreachable("Hydra", "")):
        problem = problem_of(error)
        assert f"| `{problem.code}` | {problem.status} | " in catalogue()


def test_it_leaves_out_what_the_old_api_alone_answers():
    only_old = [each.code for each in OLD_API.keys() - V2.keys()]
    assert len(only_old) > 20
    assert [code for code in only_old if f"| `{code}` |" in catalogue()] == []


def test_each_error_is_of_one_api_or_both():
    assert TABLE.keys() == OLD_API.keys() | V2.keys()
    assert all(issubclass(each, OriginError) for each in TABLE)


def test_the_codes_of_members_are_explained():
    section = _PAGE.partition("## Wrong members")[2].partition("\n## ")[0]
    assert [code for code in MEMBER_CODES if f"| `{code}` | " not in section] == []
