"""An embedded PostgreSQL server with backups, restores, standbys and failover."""

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
from devstack.postgres import USER, EmbeddedPostgres, open_to_owner
from devstack.privileges import give_to

_COPY_SECONDS = 120.0
_STOP_SECONDS = 30.0


class ReplicatedPostgres(EmbeddedPostgres):
    """An embedded server whose data can be backed up, restored, or taken over by a standby.

    Port and password never change, like the address of a cluster. With `fsync=False`, committed data
    still survives `kill` and `stop_at_once`, but not a crash of the machine.
    """

    log_settings: ClassVar[Mapping[str, str]] = {
        "wal_level": "replica",
        "max_wal_senders": "4",
        # A standby that was disconnected can catch up.
        "wal_keep_size": "256MB",
        "wal_retrieve_retry_interval": "200ms",
    }
    # The kernel keeps what a killed server wrote, so a commit must only have been written.
    unsafe_settings: ClassVar[Mapping[str, str]] = {"fsync": "off"}

    def stop_at_once(self) -> None:
        """Stop like `pg_ctl stop -m immediate`: no checkpoint, so the next start replays the log."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(_STOP_SECONDS)

    def back_up(self) -> Path:
        """Make a base backup, and return its folder, which `restore` moves."""
        return self._copy_of(self)

    def restore(self, backup: Path) -> None:
        """Kill the server, replace its data by this backup, and start it."""
        self.kill()
        self._replace_data(backup)
        self.start()

    def hand_over_to(self, standby: "Standby") -> None:
        """Kill the server, and start it with the standby's data: read-only until `promote`."""
        self.kill()
        standby.stop()
        self._replace_data(standby.data)
        self.start()

    def demote(self) -> None:
        """Restart the server as a standby without a primary: read-only until `promote`."""
        self.stop()
        signal_file = self.data / "standby.signal"
        signal_file.touch(mode=0o600)
        give_to(signal_file, self._account)
        self.start()

    def promote(self) -> None:
        """Promote the server to a primary on a new timeline; does nothing if it is one."""
        with closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            cursor.execute("SELECT pg_is_in_recovery() AND NOT pg_promote()")
            if cursor.fetchone() != (False,):
                raise ProcessFailedError(f"PostgreSQL was not promoted:\n{self._end_of_log()}")
            # Otherwise it would follow itself after a later `demote`.
            cursor.execute("ALTER SYSTEM RESET primary_conninfo")

    def _copy_of(self, source: EmbeddedPostgres, *options: str) -> Path:
        """Copy a running server's data with pg_basebackup, and return the copy's folder."""
        folder = Path(tempfile.mkdtemp(prefix="copy-", dir=self._home))
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
        # The folder may be on a disk and the data in memory.
        shutil.move(folder, self.data)
        open_to_owner(self.data, self._account)


class Standby(ReplicatedPostgres):
    """A read-only server that follows another one by streaming replication."""

    def __init__(self, primary: ReplicatedPostgres) -> None:
        super().__init__(fsync=primary.fsync, password=primary.password)
        self._primary = primary

    def start(self) -> None:
        """Start following the primary; the first time, copy its data."""
        if not (self.data / "PG_VERSION").exists():
            self._copy_of(self._primary, "--write-recovery-conf").rename(self.data)
        super().start()

    def cut_off(self) -> None:
        """Disconnect from the primary: the standby lags from now on."""
        with closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            cursor.execute(sql.SQL("ALTER SYSTEM SET primary_conninfo = ''"))
            cursor.execute("SELECT pg_reload_conf()")
