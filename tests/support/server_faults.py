"""Faults of PostgreSQL and Redis: restarted, emptied, read-only, answering with errors."""

import random
from contextlib import closing

import psycopg2
import redis
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from devstack.replicated import ReplicatedPostgres
from devstack.valkey import EmbeddedValkey
from tests.support.fault_actions import DelayedActions, FaultAction

_LASTS_SECONDS = (1, 4)
# By Redis' error for writes: the commands that cause it and end it.
_REDIS_ERRORS: dict[str, tuple[str, str]] = {
    "READONLY": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "NOREPLICAS": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    "OOM": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "NOPERM": ("ACL SETUSER origin -@write", "ACL SETUSER origin +@all"),
}


class ServerFaults:
    """Faults of both servers. Read-only states and errors last for some seconds."""

    def __init__(
        self,
        postgres: ReplicatedPostgres,
        valkey: EmbeddedValkey,
        chance: random.Random,
        delayed: DelayedActions,
    ) -> None:
        self._postgres, self._valkey = postgres, valkey
        self._chance = chance
        self._delayed = delayed
        self._is_read_only = False
        self.acts = {
            "SIGKILL PostgreSQL": FaultAction(1, self._kill_postgres),
            "stop PostgreSQL at once": FaultAction(2, self._stop_postgres),
            "read-only PostgreSQL": FaultAction(2, self._forbid_writes),
            "demoted PostgreSQL": FaultAction(1, self._demote),
            "flush Redis": FaultAction(3, self._flush),
            "restart Redis": FaultAction(1, self._restart_valkey),
            "READONLY Redis": FaultAction(2, lambda: self._answer_with("READONLY")),
            "NOREPLICAS Redis": FaultAction(1, lambda: self._answer_with("NOREPLICAS")),
            "OOM Redis": FaultAction(1, lambda: self._answer_with("OOM")),
            "NOPERM Redis": FaultAction(1, lambda: self._answer_with("NOPERM")),
        }

    def _kill_postgres(self) -> None:
        self._postgres.kill()
        self._postgres.start()

    def _stop_postgres(self) -> None:
        """Stop like `pg_ctl stop -m immediate`; what was committed stays."""
        self._postgres.stop_at_once()
        self._postgres.start()

    def _forbid_writes(self) -> bool:
        """Make new transactions read-only, as operators do, and some hosts when the disk is full."""
        if self._is_read_only:
            return False
        self._is_read_only = True
        self._alter("SET default_transaction_read_only = on")
        self._delayed.after(self._lasting(), self._allow_writes)
        return True

    def _allow_writes(self) -> None:
        self._alter("RESET default_transaction_read_only")
        self._is_read_only = False

    def _alter(self, change: str) -> None:
        with (
            closing(psycopg2.connect(self._postgres.uri)) as connection,
            connection.cursor() as cursor,
        ):
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            cursor.execute(f"ALTER SYSTEM {change}")
            cursor.execute("SELECT pg_reload_conf()")

    def _demote(self) -> bool:
        """Turn the server into a standby until it is promoted."""
        if self._is_read_only:
            return False
        self._is_read_only = True
        self._postgres.demote()
        self._delayed.after(self._lasting(), self._promote)
        return True

    def _promote(self) -> None:
        self._postgres.promote()
        self._is_read_only = False

    def _flush(self) -> bool:
        try:
            self._valkey.flush()
        except redis.ResponseError:
            # It rejects writes at the moment.
            return False
        return True

    def _restart_valkey(self) -> None:
        self._valkey.kill()
        self._valkey.start()

    def _answer_with(self, error: str) -> None:
        begin, end = _REDIS_ERRORS[error]
        self._execute(begin)
        self._delayed.after(self._lasting(), lambda: self._execute(end))

    def _execute(self, command: str) -> None:
        with self._valkey.client() as client:
            client.execute_command(*command.split())

    def _lasting(self) -> float:
        return self._chance.uniform(*_LASTS_SECONDS)
