"""`deploy/check` says which program it lacks before it starts anything."""

import shutil
import subprocess
from pathlib import Path

from devstack.processes import ROOT


def test_a_missing_promtool_is_named_before_anything_starts(tmp_path: Path):
    programs, project = tmp_path / "bin", tmp_path / "project"
    programs.mkdir()
    for program in ("bash", "dirname", "readlink"):
        found = shutil.which(program)
        assert found is not None
        (programs / program).symlink_to(found)
    # A copy: this folder may have Prometheus in .run.
    shutil.copytree(ROOT / "deploy", project / "deploy")
    ended = subprocess.run(
        [project / "deploy/check"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "install Prometheus" in ended.stderr
