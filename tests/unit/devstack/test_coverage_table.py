"""The table of branch coverage that `make test` ends with."""

import pytest

from devstack.coverage_table import table


def _file(
    branches: int, all_branches: int, lines: int, all_lines: int
) -> dict[str, dict[str, int]]:
    return {
        "summary": {
            "covered_branches": branches,
            "num_branches": all_branches,
            "covered_lines": lines,
            "num_statements": all_lines,
        }
    }


@pytest.mark.parametrize("root", ["", "/somewhere/"])
def test_packages_are_summed(root: str):
    files = {
        f"{root}src/origin/ggos/rules/listing.py": _file(1, 4, 10, 10),
        f"{root}src/origin/ggos/schemas.py": _file(0, 0, 5, 10),
        f"{root}src/origin/app.py": _file(0, 0, 1, 3),
    }
    _, *rows, _ = [line.split() for line in table({"files": files}).splitlines()]
    assert rows == [
        ["package", "branches", "lines"],
        ["(modules)", "-", "33", "%"],
        ["ggos", "25", "%", "75", "%"],
        ["all", "25", "%", "69", "%"],
    ]


def test_nothing_measured_is_no_error():
    assert "all" in table({"files": {}})
