"""Removes package indexes from a Pipfile.lock, so that each machine uses its configured index."""

import json
import sys
from pathlib import Path


def strip(lock: Path) -> None:
    """Remove the list of sources, and each package's reference to one, in place."""
    content = json.loads(lock.read_text())
    content["_meta"]["sources"] = []
    for section in ("default", "develop"):
        for package in content[section].values():
            package.pop("index", None)
    lock.write_text(json.dumps(content, indent=4, separators=(",", ": ")) + "\n")


if __name__ == "__main__":
    strip(Path(sys.argv[1]))
