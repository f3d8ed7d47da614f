"""Cache of metering points, so that issuing a GGO needs no look-up."""

from origin.db.engine import Database
from origin.intake.queries.owners import MeteringPointRef, Owner, find_own_point

MAX_KNOWN = 20_000
"""Metering points; some 20 MB with their owners' sealed keys."""

KnownPoint = tuple[Owner, MeteringPointRef]


class KnownPoints:
    """Metering points with their owners, by subject and GSRN.

    They change only by a rotation of keys or a restore of the database. The statement that inserts
    a GGO therefore compares them with what is stored.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], KnownPoint] = {}

    def find(self, subject: str, gsrn: str) -> KnownPoint | None:
        """Return the subject's metering point; None if it is unknown or another user's."""
        known = self._known.get((subject, gsrn))
        if known is not None:
            return known
        found = find_own_point(self._database, subject, gsrn)
        if found is None:
            return None
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[subject, gsrn] = found
        return found

    def forget(self, subject: str, gsrn: str) -> None:
        """Drop an entry, so that the next `find` asks the database."""
        self._known.pop((subject, gsrn), None)
