"""Issued GGOs on their way into the table: each once, and only to whom its meter belongs."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from origin.db.engine import Database
from origin.db.models import Ggo
from origin.intake.queries import issuing
from origin.intake.queries.issuing import Added, Points
from origin.intake.rules.events import GgoEvent
from origin.keys.derivation import (
    AddressKind,
    ExtendedKey,
    metering_point_key,
    period_index,
    period_key,
)
from origin.keys.sealing import Sealer, master_key_context
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import KEY_MISMATCHES
from origin.webhooks.queries.outbox import announce_issued

log = logging.getLogger(__name__)

Row = dict[str, Any]

_MAKES_IT_THE_SAME = (
    "owner_id",
    "issue_gsrn",
    "amount",
    "begin",
    "end",
    "sector",
    "technology_code",
    "fuel_code",
    "emissions",
    "issue_time",
    "expire_time",
)


@dataclass(frozen=True)
class Owner:
    """The user whom GGOs are issued to."""

    id: int
    subject: str
    sealed_master_key: str
    is_active: bool


@dataclass(frozen=True)
class Issue:
    """A GGO, and the key index of the owner's metering point that it is issued to."""

    event: GgoEvent
    key_index: int


def record(session: Session, sealer: Sealer, owner: Owner, issues: Sequence[Issue]) -> list[bool]:
    """Make each of these a stored GGO of the owner, whose metering points they are issued to.

    The owner is told by webhook: call it in `deliveries.transaction`.
    A GGO that is there already stays as it is. An address that the owner's keys don't give is
    flagged and logged (contract: http-api, Webhooks in).

    :returns: For each, whether the GGO is there now as it says; False (and logged) where its
        address is another user's or has other data.
    """
    rows = _rows(sealer, owner, issues)
    first = {row["address"]: row for row in reversed(rows)}
    added = _add(session, first.values())
    announce_issued(session, added)
    known = _known(session, first.keys() - added)
    return [
        _agree(first[row["address"]] if row["address"] in added else known[row["address"]], row)
        for row in rows
    ]


@dataclass(frozen=True)
class IssuedGgos:
    """Stores issued GGOs."""

    points: Points
    database: Database
    wakeups: Wakeups

    def store(self, subject: str, event: GgoEvent) -> bool:
        """Make this a stored GGO, as `record` does, where all is as usual.

        That is: it is new, its user and metering point are known.

        :returns: False, and nothing has changed, where it isn't.
        """
        point = self.points.find(subject, event.gsrn)
        if point is None:
            return False
        address = point.branch.address(period_index(event.begin), AddressKind.GGO)
        row = _row(point.owner_id, event, address)
        emissions = None if event.emissions is None else orjson.dumps(event.emissions).decode()
        with self.database.raw_connection() as link:
            added = issuing.add(link, point, {**row, "emissions": emissions})
        if added is Added.NOT:
            self.points.forget(subject, event.gsrn)
            return False
        _watch(row)
        if added is Added.HEARD:
            self.wakeups.deliveries_due()
        return True


def _rows(sealer: Sealer, owner: Owner, issues: Sequence[Issue]) -> list[Row]:
    """The rows as they would be added."""
    master = ExtendedKey.from_base58(
        sealer.open(owner.sealed_master_key, master_key_context(owner.subject))
    )
    keys: dict[int, ExtendedKey] = {}
    rows = []
    for issue in issues:
        if issue.key_index not in keys:
            keys[issue.key_index] = metering_point_key(master, issue.key_index)
        key = period_key(keys[issue.key_index], issue.event.begin)
        rows.append(_row(owner.id, issue.event, key.address(AddressKind.GGO)))
    return rows


def _row(owner_id: int, event: GgoEvent, address_by_our_keys: str) -> Row:
    return {
        "owner_id": owner_id,
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
        "key_mismatch": event.address != address_by_our_keys,
        "stored": True,
    }


def _add(session: Session, rows: Iterable[Row]) -> set[str]:
    """Add what isn't there, and tell which addresses these were."""
    # In one order, so that two transactions with the same GGOs don't wait for each other.
    ordered = sorted(rows, key=lambda row: str(row["address"]))
    added = set(
        session.scalars(
            insert(Ggo).on_conflict_do_nothing(index_elements=["address"]).returning(Ggo.address),
            ordered,
        )
    )
    for row in ordered:
        if row["address"] in added:
            _watch(row)
    return added


def _watch(added: Row) -> None:
    """Tell where a GGO is at an address that the ledger won't let it go from."""
    if added["key_mismatch"]:
        KEY_MISMATCHES.inc()
        log.warning(
            "GGO %s, issued to metering point %s, is at an address that our keys don't give",
            added["address"],
            added["issue_gsrn"],
        )


def _known(session: Session, addresses: Iterable[str]) -> dict[str, Row]:
    """The rows that are at these addresses."""
    wanted = list(addresses)
    if not wanted:
        return {}
    columns = [getattr(Ggo, name) for name in ("address", *_MAKES_IT_THE_SAME)]
    found = session.execute(select(*columns).where(Ggo.address.in_(wanted)))
    return {row["address"]: dict(row) for row in found.mappings()}


def _agree(there: Row, said: Row) -> bool:
    """Tell whether both are one GGO; it is logged where they aren't."""
    differing = [name for name in _MAKES_IT_THE_SAME if there[name] != said[name]]
    if differing:
        log.error(
            "An issue of GGO %s contradicts the one that is known, in: %s",
            said["address"],
            ", ".join(differing),
        )
    return not differing
