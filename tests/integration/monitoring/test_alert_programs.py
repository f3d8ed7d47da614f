"""`deploy/check` says which program it lacks before it starts anything."""

import shutil
import subprocess
from pathlib import Path

from devstack.processes import ROOT


def test_a_missing_promtool_is_named_before_anything_starts(tmp_path: Path):
    for program in ("bash", "dirname", "readlink"):
        found = shutil.which(program)
        assert found is not None
        (tmp_path / program).symlink_to(found)
    ended = subprocess.run(
        [ROOT / "deploy/check"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "install Prometheus" in ended.stderr
