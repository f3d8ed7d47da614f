"""What the web loads."""

import os
import subprocess
import sys

from devstack.processes import ROOT


def test_the_web_does_without_pydantic():
    """It would cost each of its processes 10 MB."""
    code = "import sys, origin.app; sys.exit('pydantic' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
