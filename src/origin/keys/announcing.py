"""Tells the other processes every minute that this process runs, and which secrets it knows.

Without that, nobody could tell when it is safe to seal with a new secret or to remove an old one
(decision 33). What is told is the beginning of sealed texts, which the sealed texts show anyway.
"""

import atexit
import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from origin.db import process_secrets
from origin.db.engine import Database
from origin.db.sqlstates import Fault, fault_in
from origin.keys.sealing import Sealer

_INTERVAL_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SecretAnnouncer:
    """Announces the secrets of this process."""

    database: Database
    sealer: Sealer

    def start(self, kind: str) -> str:
        """Announce now, and every minute in a thread; withdraw when the process ends.

        :param kind: `web`, `worker` or `beat`.
        :returns: the process's name.
        """
        # Containers may share the host's name, and have the same process ids.
        unique = secrets.token_hex(2)
        process = f"{kind} on {socket.gethostname()}, process {os.getpid()} ({unique})"

        def announce_once() -> None:
            try:
                self.announce(process, kind)
            except Exception as error:
                # Transient errors of the database are logged elsewhere.
                if fault_in(error) is Fault.BUG:
                    log.exception("The secrets of this process can't be announced")

        def announce() -> None:
            while True:
                time.sleep(_INTERVAL_S)
                announce_once()

        announce_once()
        threading.Thread(target=announce, daemon=True, name="secrets").start()
        atexit.register(self.withdraw, process)
        return process

    def announce(self, process: str, kind: str) -> None:
        """Announce once. Log an error if another process seals with a secret that this one lacks.

        On a read-only server nothing is announced: a process there seals nothing.

        :raises SQLAlchemyError: the database is unavailable.
        """
        with self.database.transaction() as session:
            if process_secrets.is_read_only(session):
                return
            process_secrets.announce(session, process, self.sealer.prefixes, kind)
            others = process_secrets.running(session)
        unknown = [each.process for each in others if each.prefixes[0] not in self.sealer.prefixes]
        if unknown:
            log.error(
                "Processes encrypt with a secret that this process lacks: %s",
                "; ".join(unknown),
                extra={"event": "keys.unknown_secret"},
            )

    def withdraw(self, process: str) -> None:
        """Remove the announcement; without the database, the others forget it in three minutes."""
        try:
            with self.database.transaction() as session:
                process_secrets.withdraw(session, process)
        except SQLAlchemyError:
            log.info("The announcement of this process's secrets stays for three minutes")
