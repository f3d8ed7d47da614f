"""Checks the alert rules by promtool: their syntax, and when each fires and is silent.

`deploy/check_alerts` runs it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from devstack.processes import ROOT
from tests.alerts.cases import RULES, promtool_test


def main() -> None:
    """Run promtool; exit with its message if a rule is wrong."""
    promtool = shutil.which("promtool") or str(ROOT / ".run/prometheus/usr/bin/promtool")
    subprocess.run([promtool, "check", "rules", RULES], check=True, stdout=subprocess.DEVNULL)
    document = promtool_test()
    with tempfile.TemporaryDirectory() as folder:
        cases = Path(folder, "cases.yaml")
        cases.write_text(yaml.safe_dump(document))
        ended = subprocess.run(
            [promtool, "test", "rules", cases], capture_output=True, text=True, check=False
        )
    if ended.returncode:
        sys.exit(f"{ended.stdout}{ended.stderr}")
    sys.stdout.write(f"  ✓ promtool: the alert rules, {len(document['tests'])} cases\n")


if __name__ == "__main__":
    main()
