"""The usual issue of a GGO: its owner and metering point are known, it is new. One round trip."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.keys.derivation import PublicBranchKey
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.webhooks.queries.outbox import TELL, WAKE

_POINT = """
SELECT owner.id, owner.master_key, point.key_index
FROM users AS owner JOIN metering_points AS point ON point.user_id = owner.id
WHERE owner.subject = %(subject)s AND point.gsrn = %(gsrn)s
"""

# Of a point that is remembered rightly, or not at all.
_ADD = f"""
WITH added AS (
    INSERT INTO ggos (owner_id, address, amount, begin, "end", sector, technology_code, fuel_code,
        emissions, issue_time, expire_time, issue_gsrn, key_mismatch, stored)
    SELECT owner.id, %(address)s, %(amount)s, %(begin)s, %(end)s, %(sector)s,
        %(technology_code)s, %(fuel_code)s, %(emissions)s, %(issue_time)s, %(expire_time)s,
        point.gsrn, %(key_mismatch)s, true
    FROM users AS owner JOIN metering_points AS point ON point.user_id = owner.id
    WHERE owner.id = %(owner_id)s AND owner.subject = %(subject)s
        AND owner.master_key = %(master_key)s AND point.gsrn = %(issue_gsrn)s
    ON CONFLICT (address) DO NOTHING
    RETURNING *
)
{TELL.format(ggos="added")}
"""

_WAKE = WAKE.format(lanes="user_id = %(owner_id)s AND event = 'ON_GGO_RECEIVED'")

# Written by this very transaction, or not at all.
_OUTCOME = """
SELECT EXISTS (
    SELECT FROM webhook_subscriptions
    WHERE user_id = %(owner_id)s AND event = 'ON_GGO_RECEIVED' AND ended_at IS NULL
)
FROM ggos WHERE address = %(address)s AND xmin = pg_current_xact_id_if_assigned()::xid
"""

MAX_KNOWN = 20_000
"""Metering points; some 20 MB."""


@dataclass(frozen=True)
class Point:
    """A metering point of a user's, whose master key is sealed."""

    owner_id: int
    subject: str
    master_key: str
    branch: PublicBranchKey
    """The public half of `m/1/i`."""


class Points:
    """Metering points with their owners, each looked up once: they change by a rotation of keys alone.

    What is added by one is added only if it still holds (`add`).
    """

    def __init__(self, database: Database, public_branch_keys: PublicBranchKeys) -> None:
        self._database = database
        self._public_branch_keys = public_branch_keys
        self._known: dict[tuple[str, str], Point] = {}

    def find(self, subject: str, gsrn: str) -> Point | None:
        """The metering point of this number; None where there is none, or none of this subject's."""
        known = self._known.get((subject, gsrn))
        if known is not None:
            return known
        rows = self._database.prepared(_POINT, {"subject": subject, "gsrn": gsrn})
        if not rows:
            return None
        owner_id, master_key, key_index = rows[0]
        branch = self._public_branch_keys.metering_point(subject, master_key, key_index)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        found = self._known[subject, gsrn] = Point(owner_id, subject, master_key, branch)
        return found

    def forget(self, subject: str, gsrn: str) -> None:
        """Look it up anew when it is next wanted."""
        self._known.pop((subject, gsrn), None)


class Added(Enum):
    """What came of adding a GGO."""

    HEARD = "heard"
    """It is there, and so are deliveries to subscribers."""
    UNHEARD = "unheard"
    """It is there; nobody wants to know."""
    NOT = "not"
    """Its address was known, or the point isn't the one that it was: nothing has changed."""


def add(link: RawConnection, point: Point, row: dict[str, Any]) -> Added:
    """Add a GGO that was issued to this point, and write its deliveries: one round trip.

    :param row: By the columns' names; `emissions` as JSON text.
    """
    owner = {"owner_id": row["owner_id"]}
    rows = link.execute_together(
        (_ADD, {**row, "subject": point.subject, "master_key": point.master_key}),
        (_WAKE, owner),
        (_OUTCOME, {**owner, "address": row["address"]}),
    )
    if not rows:
        return Added.NOT
    return Added.HEARD if rows[0][0] else Added.UNHEARD
