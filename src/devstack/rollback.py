"""`make rollback-check ARGS=<commit>`: runs a commit's web, worker and beat on today's schema.

The commit's code comes out of git, and uses the packages that are installed today. An empty database is
migrated by today's code; then the commit's entry points start on it, and two users trade. The exit status
is 0 only if all three processes start and every balance is right.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from devstack.client import ApiRefusalError, UnexpectedAnswerError
from devstack.configured import postgres_server, redis_server
from devstack.console import Console
from devstack.demo import Demo
from devstack.guarded import ProcessFailedError
from devstack.processes import ROOT
from devstack.stack import free_url, redirect_uris, running_sandbox, running_services
from origin.migrate import upgrade
from sandbox.clients import ControlError

_DATABASE = "rollback_check"


def take_out(commit: str, folder: Path) -> None:
    """Write a commit's files into a folder, with today's packages; ProcessFailedError without it."""
    made = subprocess.run(  # noqa: S603 - the developer names the commit
        ["git", "archive", "--format=tar", "--end-of-options", commit],  # noqa: S607 - of the PATH
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        raise ProcessFailedError(f"git archive {commit}: {made.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())


def trade(code: Path, logs: Path, console: Console) -> bool:
    """Run this code's processes on a database of today's schema; return whether the balances are right."""
    url = free_url()
    with (
        postgres_server(fsync=False) as postgres,
        redis_server() as redis,
        running_sandbox(redirect_uris=redirect_uris(url), logs=logs) as sandbox,
    ):
        postgres.drop_database(_DATABASE)
        database_uri = postgres.create_database(_DATABASE)
        try:
            upgrade(database_uri)
            with running_services(
                url,
                sandbox,
                database_uri=database_uri,
                redis=redis,
                logs=logs,
                changes={"WORKERS": "1"},
                command=lambda name, _: [code / f"entrypoint.{name}.sh"],
            ) as stack:
                has_version_2 = (code / "src/origin/bulk").is_dir()
                return Demo(stack, console, has_version_2=has_version_2).run()
        finally:
            postgres.drop_database(_DATABASE)


def main(arguments: Sequence[str]) -> int:
    """Check one commit; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m devstack.rollback", description=__doc__)
    parser.add_argument("commit", help="a tag or another name of a commit")
    commit = parser.parse_args(arguments).commit
    console = Console()
    runs = ROOT / ".run"
    runs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rollback-", dir=runs))
    try:
        take_out(commit, folder / "code")
        right = trade(folder / "code", folder, console)
    except (ProcessFailedError, ApiRefusalError, UnexpectedAnswerError, ControlError) as error:
        console.say(f"  ✗ {error}")
        right = False
    if not right:
        console.say(f"    {commit} doesn't run on today's schema. The logs are in {folder}.")
        return 1
    shutil.rmtree(folder)
    console.say(f"  ✓ {commit} runs on today's schema")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
