"""Runs servers that refuse to run as root under an unprivileged account."""

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
    """Return `nobody` if this process is root, else None: servers run as this process's user."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def can_run(program: Path, account: Account | None) -> bool:
    """Return whether the account can run the program, by running it with `--version`."""
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
    """Return whether the account may enter all existing parents of the folder."""
    if account is None:
        return True
    parents = [parent.stat() for parent in folder.absolute().parents if parent.exists()]
    return all(parent.st_mode & stat.S_IXOTH or parent.st_uid == account.uid for parent in parents)


def give_to(path: Path, account: Account | None) -> None:
    """Make the account the owner of a file or folder, and deny others access to it."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    if account is not None:
        os.chown(path, account.uid, account.gid)
