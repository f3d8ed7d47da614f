"""`make release-check`: checks everything that a release must hold, apart from `make test`.

It changes nothing but `dist/`, where it writes the SBOM. `--with-tests` runs `make test` at the end.
CONTRIBUTING.md describes how a release is made.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import yaml  # type: ignore[import-untyped] # no types
from alembic.script import ScriptDirectory

from devstack.console import Console
from devstack.guarded import ProcessFailedError
from devstack.openapi_document import openapi_text
from devstack.processes import ROOT
from origin.shared.release import VERSION

_DESCRIPTION = "doc/openapi.json"


def named_versions(root: Path = ROOT) -> dict[str, str | None]:
    """Return the version that each file names, by a description of the place; None where it is missing."""
    chart = yaml.safe_load((root / "deploy/chart/Chart.yaml").read_text())
    label = re.search(r'image\.version="([^"]*)"', (root / "Dockerfile").read_text())
    described = orjson.loads((root / _DESCRIPTION).read_text())
    released = releases((root / "CHANGELOG.md").read_text())
    return {
        "src/origin/__init__.py": VERSION,
        "version in deploy/chart/Chart.yaml": chart["version"],
        "appVersion in deploy/chart/Chart.yaml": chart["appVersion"],
        "label in Dockerfile": label[1] if label else None,
        f"info.version in {_DESCRIPTION}": described["info"]["version"],
        "newest release in CHANGELOG.md": next(iter(released), None),
    }


def releases(changelog: str) -> dict[str, date]:
    """Return the date of each release in a changelog, by version, in the changelog's order.

    :raises ValueError: a date is wrong.
    """
    found = re.findall(r"^## \[(\d[^\]]*)\] - (\S+)$", changelog, re.MULTILINE)
    return {version: date.fromisoformat(day) for version, day in found}


def unreleased(changelog: str) -> str:
    """Return what a changelog has under Unreleased."""
    found = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def _check_tree() -> None:
    if changed := _output("git", "status", "--porcelain"):
        raise ProcessFailedError(f"There are changes that are not committed:\n{changed}")


def _check_versions() -> None:
    wrong = [
        f"{place}: {version}" for place, version in named_versions().items() if version != VERSION
    ]
    if wrong:
        raise ProcessFailedError(
            "\n".join([f"The version is {VERSION}, but not everywhere:", *wrong])
        )


def _check_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = releases(changelog).get(VERSION)
    if released is None:
        raise ProcessFailedError(f"CHANGELOG.md has no section `## [{VERSION}] - <date>`")
    if released > datetime.now(UTC).date():
        raise ProcessFailedError(f"CHANGELOG.md: {released} is in the future")
    if unreleased(changelog):
        raise ProcessFailedError(f"CHANGELOG.md: move what is under Unreleased to {VERSION}")


def _check_tag() -> None:
    tag = f"v{VERSION}"
    others = set(_output("git", "tag", "--points-at", "HEAD").split()) - {tag}
    if others:
        raise ProcessFailedError(f"The version is {VERSION}, the tag {' '.join(others)}")
    tagged = _output("git", "tag", "--list", tag)
    if tagged and _output("git", "rev-parse", f"{tag}^{{commit}}") != _output(
        "git", "rev-parse", "HEAD"
    ):
        raise ProcessFailedError(f"{tag} is the tag of another commit: choose the next version")


def _check_migrations() -> None:
    heads = ScriptDirectory(str(ROOT / "src/migrations")).get_heads()
    if len(heads) != 1:
        raise ProcessFailedError(f"The migrations have the heads {', '.join(heads)}")


def _check_description() -> None:
    if openapi_text() != (ROOT / _DESCRIPTION).read_text():
        raise ProcessFailedError(f"{_DESCRIPTION} differs from the code: run `make openapi`")


def _check_lock() -> None:
    _output(".tools/bin/python", "-m", "pipenv", "verify")
    lock = orjson.loads((ROOT / "Pipfile.lock").read_text())
    if lock["_meta"]["sources"] or '"index"' in (ROOT / "Pipfile.lock").read_text():
        raise ProcessFailedError("Pipfile.lock names an index: run `make lock`")


CHECKS: dict[str, Callable[[], object]] = {
    "Everything is committed": _check_tree,
    f"The version is {VERSION} everywhere": _check_versions,
    f"The changelog describes {VERSION}, and nothing is unreleased": _check_changelog,
    f"No other commit has the tag v{VERSION}": _check_tag,
    "The migrations have one head": _check_migrations,
    f"{_DESCRIPTION} is up to date": _check_description,
    "Pipfile.lock is up to date, and names no index": _check_lock,
    "Lint, formatting, types and import rules (make check)": lambda: _output("make", "check"),
    "The workflows are right and safe (make workflow-check)": lambda: _output(
        "make", "workflow-check"
    ),
    "The SBOM is complete, valid, and has allowed licences only (make sbom)": lambda: _output(
        "make", "sbom"
    ),
}


def _output(*command: str) -> str:
    """Return the output of a command.

    :raises ProcessFailedError: it failed; the message contains the end of its output.
    """
    # The arguments of this `make` aren't those of the targets that it runs.
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(  # noqa: S603 - our own commands
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise ProcessFailedError(f"`{' '.join(command)}` failed:\n{said}")
    return done.stdout.strip()


def failures(console: Console, checks: dict[str, Callable[[], object]]) -> Iterator[str]:
    """Run all checks, and yield the titles of those that fail."""
    for title, check in checks.items():
        try:
            with console.step(title):
                check()
        except (ProcessFailedError, ValueError) as error:
            console.say(f"  ✗ {title}\n    " + str(error).replace("\n", "\n      "))
            yield title


def main(arguments: Sequence[str]) -> int:
    """Run all checks; return the exit status, 0 only if all pass."""
    parser = argparse.ArgumentParser(prog="make release-check", description=__doc__)
    parser.add_argument("--with-tests", action="store_true", help="run `make test`, too")
    options = parser.parse_args(arguments)
    console = Console()
    checks = dict(CHECKS)
    if options.with_tests:
        checks["All tests pass (make test)"] = lambda: _output("make", "test")
    failed = list(failures(console, checks))
    if failed:
        console.say(f"{len(failed)} of {len(checks)} checks failed: this is no release yet.")
        return 1
    console.say(
        f"This commit can be released as {VERSION}"
        + ("." if options.with_tests else ", if `make test` passes on it.")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
