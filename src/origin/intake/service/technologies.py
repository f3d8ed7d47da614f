"""The labels of technologies, as DataHub has them (contract: peers, DataHubService)."""

import logging
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from origin.db.engine import Database
from origin.db.locks import take_advisory_lock
from origin.db.models import Technology
from origin.errors import PeerError, PeerMisbehaved
from origin.peers.datahub import DataHubClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Technologies:
    """Imports the labels of technologies."""

    datahub: DataHubClient
    database: Database

    def import_all(self) -> int:
        """Replace all technologies by DataHub's, in one transaction.

        :returns: How many there are now.
        :raises PeerError: DataHub is out of reach, or its answer is empty or wrong; those that are
            here are kept.
        """
        # Of two labels for one pair the later one holds.
        labels = {
            (each.technologyCode, each.fuelCode): each.technology
            for each in self.datahub.technologies()
        }
        if not labels:
            raise PeerMisbehaved("DataHubService", "no technologies")
        with self.database.transaction() as session:
            take_advisory_lock(session, "technologies")
            session.execute(delete(Technology))
            session.execute(
                insert(Technology),
                [
                    {"technology_code": code, "fuel_code": fuel, "technology": label}
                    for (code, fuel), label in labels.items()
                ],
            )
        log.info("Imported %s technologies", len(labels))
        return len(labels)

    def import_if_empty(self) -> int:
        """Import technologies where there are none yet, as at the first start.

        :returns: How many were imported; none, and a warning, where DataHub can't say now.
        """
        with self.database.reading() as session:
            if session.scalars(select(Technology.technology_code).limit(1)).first() is not None:
                return 0
        try:
            return self.import_all()
        except PeerError as error:
            # It is asked again at every sweep: not worth a traceback each time.
            log.warning("No technologies yet: %s", error)
            return 0
