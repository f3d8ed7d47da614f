"""Running a server that refuses root as somebody who owns nothing."""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """A system account to run a command as."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The account for servers that refuse root: `nobody` when we are root, else None (ourselves)."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def can_run(program: Path, account: Account | None) -> bool:
    """Whether that account reaches the program and can run it (tried with `--version`)."""
    try:
        tried = subprocess.run(  # noqa: S603 - a program of ours
            [program, "--version"],
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            cwd="/",
            env={},
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return tried.returncode == 0


def can_enter(folder: Path, account: Account | None) -> bool:
    """Whether the account may pass through all parents of the folder, which itself need not exist."""
    if account is None:
        return True
    parents = [parent.stat() for parent in folder.absolute().parents if parent.exists()]
    return all(parent.st_mode & stat.S_IXOTH or parent.st_uid == account.uid for parent in parents)


def give_to(path: Path, account: Account | None) -> None:
    """Make a file or folder the account's own, closed to others; its parents stay as they are."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    if account is not None:
        os.chown(path, account.uid, account.gid)
