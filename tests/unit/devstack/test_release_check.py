"""What a release holds: one version everywhere, a changelog, safe workflows, the supported Pythons."""

import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.processes import ROOT
from devstack.release_check import named_versions, releases, unreleased
from origin.shared.release import VERSION

WORKFLOW = ROOT / ".github/workflows/ci.yml"
CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- More.

## [1.10.0] - 2027-01-31

- Much.

## [1.9.0] - 2026-11-30
"""


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
    return found


def supported_pythons() -> list[str]:
    """Return the versions that bin/bootstrap accepts."""
    found = re.search(r"^supported=\((.*)\)$", (ROOT / "bin/bootstrap").read_text(), re.MULTILINE)
    assert found
    return found[1].split()


def test_one_version_everywhere():
    assert named_versions() == dict.fromkeys(named_versions(), VERSION)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("deploy/chart/Chart.yaml", f"version: {VERSION}"),
        ("deploy/chart/Chart.yaml", f'appVersion: "{VERSION}"'),
        ("Dockerfile", f'image.version="{VERSION}"'),
        ("doc/openapi.json", f'"version": "{VERSION}"'),
        ("CHANGELOG.md", f"## [{VERSION}]"),
    ],
)
def test_a_place_with_another_version_is_found(tmp_path: Path, path: str, line: str):
    for each in ("deploy/chart/Chart.yaml", "Dockerfile", "doc/openapi.json", "CHANGELOG.md"):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / each, tmp_path / each)
    text = (tmp_path / path).read_text()
    assert line in text
    (tmp_path / path).write_text(text.replace(line, line.replace(VERSION, "0.9.9"), 1))
    named = named_versions(tmp_path)
    assert sum(version != VERSION for version in named.values()) == 1, named


def test_a_changelog_is_read():
    released = {"1.10.0": date(2027, 1, 31), "1.9.0": date(2026, 11, 30)}
    assert releases(CHANGELOG) == released
    assert unreleased(CHANGELOG) == "### Added\n\n- More."
    assert not unreleased(CHANGELOG.replace("### Added\n\n- More.\n", ""))
    with pytest.raises(ValueError, match="month"):
        releases("## [1.0.0] - 2026-13-01")


def test_the_workflow_tests_each_supported_python(workflow: dict[str, Any]):
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == supported_pythons()
    assert {"run": ".ci/run"}.items() <= job["steps"][-1].items()


def test_actions_are_pinned_to_commits():
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert used
    for each in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


def test_only_the_jobs_of_a_tag_may_write(workflow: dict[str, Any]):
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        writes = "write" in job["permissions"].values()
        assert writes == (job.get("if") == "github.ref_type == 'tag'"), name


def test_the_tools_check_code_for_the_oldest_python():
    oldest = supported_pythons()[0]
    text = (ROOT / "pyproject.toml").read_text()
    assert f'target-version = "py{oldest.replace(".", "")}"' in text
    assert f'python_version = "{oldest}"' in text


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_documents_name_the_supported_pythons(name: str):
    text = (ROOT / name).read_text()
    assert not [version for version in supported_pythons() if version not in text]
