"""doc/operations/capacity.md and the tables of doc/bench.md are what the script makes of the result."""

import copy

import orjson
import pytest

from bench.capacity import RESULT, Costs, page
from bench.tables import with_tables
from devstack.processes import ROOT

_RESULT = orjson.loads(RESULT.read_bytes())


def test_the_page_is_what_the_script_computes():
    assert (ROOT / "doc/operations/capacity.md").read_text() == page(_RESULT)


def test_the_benchs_tables_are_those_of_the_result():
    document = (ROOT / "doc/bench.md").read_text()
    assert with_tables(document, _RESULT) == document


def test_the_result_has_all_groups():
    assert set(_RESULT) >= {"paths", "settlement", "growth", "machine", "when"}


def test_a_slower_machine_needs_more_cores():
    """Twice the CPU time of each path halves what a core answers."""
    slower = copy.deepcopy(_RESULT)
    for each in slower["paths"]["paths"]:
        each["ours"]["per_cpu_second"] /= 2
    fast, slow = Costs.of(_RESULT), Costs.of(slower)
    assert slow.paths["/accounts"].ms == pytest.approx(2 * fast.paths["/accounts"].ms)
    assert slow.paths["/accounts"].cores(100) == pytest.approx(
        2 * fast.paths["/accounts"].cores(100)
    )
    assert page(slower) != page(_RESULT)


def test_a_document_without_a_marker_is_an_error():
    with pytest.raises(ValueError, match="paths"):
        with_tables("# A document", _RESULT)
