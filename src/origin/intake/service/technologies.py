"""Import the labels of technologies from DataHub (contract: peers, DataHubService)."""

import logging
from dataclasses import dataclass

from origin.db.engine import Database
from origin.errors import PeerError, PeerMisbehaved
from origin.intake.queries.technologies import has_technologies, replace_technologies
from origin.peers.datahub import DataHubClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Technologies:
    """Imports the labels of technologies."""

    datahub: DataHubClient
    database: Database

    def import_all(self) -> int:
        """Replace all labels by DataHub's, in one transaction.

        :returns: How many there are now.
        :raises PeerError: DataHub is out of reach, or its answer is empty or wrong. The stored
            labels stay.
        """
        # If a pair of codes has two labels, the later one counts.
        labels = {
            (each.technologyCode, each.fuelCode): each.technology
            for each in self.datahub.technologies()
        }
        if not labels:
            raise PeerMisbehaved("DataHubService", "no technologies")
        with self.database.transaction() as session:
            replace_technologies(session, labels)
        log.info("Imported %s technologies", len(labels))
        return len(labels)

    def import_if_empty(self) -> int:
        """Import the labels if none are stored yet, as at the first start.

        :returns: How many were imported; 0 if labels are stored, or DataHub fails, which is logged.
        """
        with self.database.reading() as session:
            if has_technologies(session):
                return 0
        try:
            return self.import_all()
        except PeerError as error:
            # Every sweep tries again: a traceback each time would only fill the log.
            log.warning("No technologies yet: %s", error)
            return 0
