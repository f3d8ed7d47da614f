"""Keep changes of KEY_ENCRYPTION_SECRETS safe while several processes run."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from origin.db import process_secrets
from origin.db.engine import Database
from origin.db.process_secrets import ProcessSecrets
from origin.errors import CannotRotate, ConfigurationError
from origin.keys.sealing import Sealer
from origin.maintenance.queries import sealed_columns
from origin.maintenance.rules import secret_changes as rules

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SecretsStatus:
    """Where a rotation stands. `own` are the prefixes of this process's secrets, the first first."""

    own: Sequence[str]
    processes: Sequence[ProcessSecrets]
    outdated: int
    next_step: str


@dataclass(frozen=True)
class SecretChanges:
    """Compares this process's secrets with the rows and with the other processes."""

    database: Database
    sealer: Sealer

    def check_start(self) -> None:
        """Check that a process with these secrets may start; warn of rows that are lost.

        :raises ConfigurationError: rows need a secret that this process lacks, or this process and
            a running one couldn't read what the other seals.
        """
        own = self.sealer.prefixes
        with self.database.reading() as session:
            needed = sealed_columns.needed_prefixes(session)
            lost = sealed_columns.lost_prefixes(session)
            processes = _by_name(process_secrets.running(session))
        if reason := rules.why_not_start(own, processes, needed, lost):
            raise ConfigurationError(reason)
        if (needed - set(own)) & lost:
            log.warning(
                "Rows are encrypted with a secret that was declared lost",
                extra={"event": "keys.lost_secret"},
            )

    def check_rotation(self) -> None:
        """Check that every running process can read, and writes, what the first secret seals.

        :raises CannotRotate: the text names processes.
        """
        with self.database.reading() as session:
            processes = _by_name(process_secrets.running(session))
        if reason := rules.why_not_rotate(self.sealer.prefixes, processes):
            raise CannotRotate(reason)

    def status(self) -> SecretsStatus:
        """Return where a rotation stands, and what to do next."""
        own = self.sealer.prefixes
        with self.database.reading() as session:
            outdated = sealed_columns.count_all_outdated(session, own[0])
            needed = sealed_columns.needed_prefixes(session)
            lost = sealed_columns.lost_prefixes(session)
            processes = process_secrets.running(session)
        lacks_needed = bool(rules.missing(own, needed, lost))
        step = rules.next_step(own, _by_name(processes), outdated, lacks_needed=lacks_needed)
        return SecretsStatus(own, processes, outdated, step)

    def declare_lost(self) -> int:
        """Declare lost all secrets that rows need and this process lacks; return how many rows need them.

        Processes then start although these rows can't be read. If such a secret turns up again and
        is added to KEY_ENCRYPTION_SECRETS, its rows can be read again.
        """
        with self.database.transaction() as session:
            needed = sealed_columns.needed_prefixes(session)
            unknown = rules.missing(self.sealer.prefixes, needed, ())
            sealed_columns.add_lost(session, unknown)
            return sum(sealed_columns.count_sealed_by(session, each) for each in unknown)


def _by_name(processes: Sequence[ProcessSecrets]) -> dict[str, Sequence[str]]:
    return {each.process: each.prefixes for each in processes}
