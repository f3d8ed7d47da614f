"""redocly and spectral lint doc/openapi.json: no error, no warning."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devstack.environment import inherited
from devstack.processes import ROOT
from tests.integration.oidc.packages import node

_HERE = Path(__file__).parent
_TOOLS = {
    "redocly": ("@redocly/cli/bin/cli.js", "lint", "--config", _HERE / "redocly.yaml"),
    "spectral": (
        "@stoplight/spectral-cli/dist/index.js",
        "lint",
        "--fail-severity=hint",
        "--ruleset",
        _HERE / "spectral.yaml",
    ),
}


def _linted(tool: str, packages: Path, document: Path) -> subprocess.CompletedProcess[str]:
    script, *arguments = _TOOLS[tool]
    return subprocess.run(
        [node(), packages / "node_modules" / script, *arguments, document],
        env={**inherited(), "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "REDOCLY_TELEMETRY": "off"},
        cwd=packages,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("tool", _TOOLS)
def test_the_description_has_no_warning(tool: str, packages: Path):
    ended = _linted(tool, packages, ROOT / "doc/openapi.json")
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert "warning" not in said.lower(), said


@pytest.mark.parametrize("tool", _TOOLS)
def test_a_worse_description_is_told(tool: str, packages: Path, tmp_path: Path):
    worse: dict[str, Any] = json.loads((ROOT / "doc/openapi.json").read_text())
    del worse["paths"]["/ggo"]["post"]["operationId"]
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(worse))
    ended = _linted(tool, packages, path)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "operationId" in ended.stdout + ended.stderr
