"""Runs the Python blocks of one page in one namespace, as a child of `page_session`.

Reads a JSON object for each block from standard input (code, file name, environment, folder, paths
for the output), and answers each with a line: whether it succeeded.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Run blocks until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        wish = json.loads(line)
        os.environ.clear()
        os.environ.update(wish["environment"])
        os.chdir(wish["folder"])
        for descriptor, path in ((1, wish["output"]), (2, wish["errors"])):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, descriptor)
            os.close(file)
        answers.write(json.dumps(_succeeds(wish["code"], wish["name"], namespace)) + "\n")


def _succeeds(code: str, name: str, namespace: dict[str, Any]) -> bool:
    try:
        exec(compile(code, name, "exec"), namespace)  # noqa: S102 - the page's own code
    except BaseException:  # noqa: BLE001 - reported, whatever it is
        traceback.print_exc()
        return False
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return True


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
