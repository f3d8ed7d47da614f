"""An embedded PostgreSQL that can be backed up, restored, followed by a standby and demoted."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from devstack.guarded import ProcessFailedError
from devstack.ports import LOOPBACK
from devstack.postgres import USER, EmbeddedPostgres
from devstack.privileges import give_to

_COPY_SECONDS = 120.0
_STOP_SECONDS = 30.0


class ReplicatedPostgres(EmbeddedPostgres):
    """An embedded server whose data can be copied while it runs, and replaced by an older copy.

    It keeps its port and its password whatever happens to its data, as the address of a cluster does.
    """

    log_settings: ClassVar[Mapping[str, str]] = {
        "wal_level": "replica",
        "max_wal_senders": "4",
        # A standby that was away finds what it lacks.
        "wal_keep_size": "256MB",
        "wal_retrieve_retry_interval": "200ms",
    }

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate` does: no checkpoint, so the next start recovers from the log."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(_STOP_SECONDS)

    def back_up(self) -> Path:
        """A base backup of this moment, in the server's private folder until it is restored."""
        return self._copy_of(self)

    def restore(self, backup: Path) -> None:
        """Lose the server and all of its data at once, and start it from this copy."""
        self.kill()
        self._replace_data(backup)
        self.start()

    def hand_over_to(self, standby: "Standby") -> None:
        """Lose the server and all of its data at once; the standby goes on at this address.

        It is read-only until `promote`.
        """
        self.kill()
        standby.stop()
        self._replace_data(standby.data)
        self.start()

    def demote(self) -> None:
        """Restart the server as a standby that follows nobody: it is read-only until `promote`."""
        self.stop()
        signal_file = self.data / "standby.signal"
        signal_file.touch(mode=0o600)
        give_to(signal_file, self._account)
        self.start()

    def promote(self) -> None:
        """Have a standby take writes, on a timeline of its own; nothing where it does already."""
        with closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            cursor.execute("SELECT pg_is_in_recovery() AND NOT pg_promote()")
            if cursor.fetchone() != (False,):
                raise ProcessFailedError(f"PostgreSQL was not promoted:\n{self._end_of_log()}")
            # Else it would follow itself, were it demoted later.
            cursor.execute("ALTER SYSTEM RESET primary_conninfo")

    def _copy_of(self, source: EmbeddedPostgres, *options: str) -> Path:
        """A copy of another server's data, which is taken while that runs."""
        folder = Path(tempfile.mkdtemp(prefix="copy-", dir=self._private))
        give_to(folder, self._account)
        self._binaries = self._binaries or self._usable_binaries()
        where = f"host={LOOPBACK} port={source.port} user={USER}"
        program = str(self._binaries / "pg_basebackup")
        target = [f"--dbname={where}", f"--pgdata={folder}"]
        account = self._account
        copied = subprocess.run(  # noqa: S603 - a program of ours
            [program, *target, "--checkpoint=fast", "--no-sync", "--no-manifest", *options],
            env={"PGPASSWORD": source.password, "LC_ALL": "C"},
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            cwd=self._private,
            capture_output=True,
            text=True,
            timeout=_COPY_SECONDS,
            check=False,
        )
        if copied.returncode != 0:
            raise ProcessFailedError(f"pg_basebackup failed:\n{copied.stderr[-2000:]}")
        return folder

    def _replace_data(self, folder: Path) -> None:
        shutil.rmtree(self.data)
        folder.rename(self.data)


class Standby(ReplicatedPostgres):
    """A server that follows another by streaming, read-only, from the moment it is started."""

    def __init__(self, primary: ReplicatedPostgres) -> None:
        super().__init__(fsync=primary.fsync, password=primary.password)
        self._primary = primary

    def start(self) -> None:
        """Start following; the first time, copy the primary's data."""
        if not (self.data / "PG_VERSION").exists():
            self._copy_of(self._primary, "--write-recovery-conf").rename(self.data)
        super().start()

    def cut_off(self) -> None:
        """Have it hear no more from its primary: from now on it lags."""
        with closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            cursor.execute(sql.SQL("ALTER SYSTEM SET primary_conninfo = ''"))
            cursor.execute("SELECT pg_reload_conf()")
