"""Checks that the command `helm` renders the chart as helm-python-sdk does, and packages it.

`deploy/check` runs this if `helm` is on the PATH: `deploy/check_helm.py [HELM]`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from rendering import CHART, NAMESPACE, RELEASE, SETS, objects

HELM = sys.argv[1] if len(sys.argv) > 1 else "helm"


def run(folder: str, *arguments: str) -> str:
    """Run helm without a cluster and without the user's settings; return what it prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": folder}
    return subprocess.run(
        [HELM, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=True
    ).stdout


def main() -> None:
    """Lint, render and package the chart."""
    with tempfile.TemporaryDirectory() as folder:
        for name, values in SETS.items():
            file = Path(folder) / "values.yaml"
            file.write_text(yaml.safe_dump(values))
            run(folder, "lint", "--strict", str(CHART), "--values", str(file))
            text = run(
                folder,
                "template",
                RELEASE,
                str(CHART),
                "--namespace",
                NAMESPACE,
                "--values",
                str(file),
            )
            rendered = [each for each in yaml.safe_load_all(text) if each]
            key = lambda each: (each["kind"], each["metadata"]["name"])  # noqa: E731 - used twice, here
            if sorted(rendered, key=key) != sorted(objects(values), key=key):
                sys.exit(f"  ✗ helm and helm-python-sdk render {name} differently")
        run(folder, "package", str(CHART), "--destination", folder)
        version = run(folder, "version", "--short").strip()
    sys.stdout.write(f"  ✓ helm {version} lints, renders and packages the chart\n")


main()
