"""Issue GGOs to the users whose metering points they were produced at (contract: domain, GGO)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.errors import OwnerChanged
from origin.intake.queries import issued_ggos
from origin.intake.queries.issued_ggos import IDENTITY, IssuedRow
from origin.intake.queries.owners import MeteringPointRef, Owner
from origin.intake.rules.events import GgoEvent
from origin.intake.service.known_points import KnownPoints
from origin.keys.derivation import issued_ggo_address
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import KEY_MISMATCHES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IssuedGgos:
    """Stores issued GGOs, each once, and announces them to their owner's subscribers.

    A GGO whose address does not follow from the owner's keys is stored, flagged (`key_mismatch`)
    and logged: the ledger would refuse to move it (contract: http-api, Webhooks in).
    """

    database: Database
    public_branch_keys: PublicBranchKeys
    known_points: KnownPoints
    wakeups: Wakeups

    def issue_new(self, subject: str, event: GgoEvent) -> bool:
        """Store one GGO in the usual case: its user and metering point are known, its address is ours.

        :returns: Whether it is stored now as told. If not, nothing has changed: use `issue`.
        """
        known = self.known_points.find(subject, event.gsrn)
        if known is None:
            return False
        owner, point = known
        row = self._row(owner, point, event)
        stored, has_subscribers = None, False
        # A mismatch is reported once, by `issue`. Its reason may be that the known point is outdated.
        if not row["key_mismatch"]:
            with self.database.raw_connection() as connection:
                stored, has_subscribers = issued_ggos.insert_alone(connection, owner, point, row)
        if stored is None or _differing(stored, row):
            self.known_points.forget(subject, event.gsrn)
            return False
        if has_subscribers:
            self.wakeups.deliveries_due()
        return True

    def issue(
        self, session: Session, owner: Owner, events: Mapping[MeteringPointRef, Sequence[GgoEvent]]
    ) -> bool:
        """Store GGOs by the owner's metering points that they were issued to.

        Call it in `Outbox.transaction`. A GGO that is stored already stays as it is.

        :returns: Whether all are stored now as told. Any whose address is another user's, or is
            stored with other data, is logged.
        :raises OwnerChanged: `owner` or the points are no longer stored as given.
        """
        told: list[IssuedRow] = []
        first: dict[str, IssuedRow] = {}
        to_insert: list[tuple[MeteringPointRef, list[IssuedRow]]] = []
        # In one order, so that two transactions with the same GGOs don't wait for each other.
        for point in sorted(events, key=lambda each: each.gsrn):
            rows = [self._row(owner, point, event) for event in events[point]]
            told += rows
            new = [row for row in rows if first.setdefault(row["address"], row) is row]
            to_insert.append((point, new))
        added = issued_ggos.insert(session, owner, to_insert)
        for address in sorted(added):
            _report_mismatch(first[address])
        stored = issued_ggos.rows_at(session, first.keys() - added)
        stored |= {address: first[address] for address in added}
        if stored.keys() != first.keys():
            raise OwnerChanged(f"User {owner.id} or a metering point of theirs has changed")
        agreed = [_agree(stored[row["address"]], row) for row in told]
        return all(agreed)

    def _row(self, owner: Owner, point: MeteringPointRef, event: GgoEvent) -> IssuedRow:
        """Return the row of this GGO as it is to be stored."""
        branch = self.public_branch_keys.metering_point(
            owner.subject, owner.sealed_master_key, point.key_index
        )
        return {
            "owner_id": owner.id,
            "address": event.address,
            "amount": event.amount,
            "begin": event.begin,
            "end": event.end,
            "sector": event.sector,
            "technology_code": event.technology_code,
            "fuel_code": event.fuel_code,
            "emissions": event.emissions,
            "issue_time": event.issue_time,
            "expire_time": event.expire_time,
            "issue_gsrn": event.gsrn,
            "key_mismatch": event.address != issued_ggo_address(branch, event.begin),
        }


def _report_mismatch(row: IssuedRow) -> None:
    """Count and log a GGO that was just stored at an address that the owner's keys do not give."""
    if row["key_mismatch"]:
        KEY_MISMATCHES.inc()
        log.warning(
            "GGO %s, issued to metering point %s, is at an address that our keys don't give",
            row["address"],
            row["issue_gsrn"],
        )


def _agree(stored: IssuedRow, told: IssuedRow) -> bool:
    """Tell whether both rows are the same GGO; log the columns that differ."""
    differing = _differing(stored, told)
    if differing:
        log.error(
            "An issue of GGO %s contradicts the stored one in: %s",
            told["address"],
            ", ".join(differing),
        )
    return not differing


def _differing(stored: IssuedRow, told: IssuedRow) -> list[str]:
    """Return the columns in which two rows are not the same GGO."""
    return [name for name in IDENTITY if stored[name] != told[name]]
