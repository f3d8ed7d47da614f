"""The labels of technologies, as DataHub has them (contract: peers, DataHubService)."""

import logging

from sqlalchemy import delete, insert, select

from origin.db.locks import take_advisory_lock
from origin.db.models import Technology
from origin.errors import PeerError, PeerMisbehaved
from origin.runtime import Runtime

log = logging.getLogger(__name__)


def import_all(runtime: Runtime) -> int:
    """Replace all technologies by DataHub's, in one transaction.

    :returns: How many there are now.
    :raises PeerError: DataHub is out of reach, or its answer is empty or wrong; those that are
        here are kept.
    """
    # Of two labels for one pair the later one holds.
    labels = {
        (each.technologyCode, each.fuelCode): each.technology
        for each in runtime.datahub.technologies()
    }
    if not labels:
        raise PeerMisbehaved("DataHubService", "no technologies")
    with runtime.database.transaction() as session:
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


def import_if_empty(runtime: Runtime) -> int:
    """Import technologies where there are none yet, as at the first start.

    :returns: How many were imported; none, and a warning, where DataHub can't say now.
    """
    with runtime.database.reading() as session:
        if session.scalars(select(Technology.technology_code).limit(1)).first() is not None:
            return 0
    try:
        return import_all(runtime)
    except PeerError as error:
        # It is asked again at every sweep: not worth a traceback each time.
        log.warning("No technologies yet: %s", error)
        return 0
