"""Builds and signs the batches that composes have left, and keeps their bytes."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from origin.batches.client.sdk import Retirement, SignedBatch, Split, sign_batch
from origin.db.engine import Database
from origin.db.models import MeteringPoint, User
from origin.keys.derivation import ExtendedKey, metering_point_key, period_key, trade_branch_key
from origin.keys.sealing import CannotUnseal, Sealer, master_key_context
from origin.shared.deadlines import Deadline
from origin.telemetry.metrics import BATCH_ALERTS

log = logging.getLogger(__name__)

_KEEP = text(
    "WITH signed AS (SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:ledger_ids AS text[]), "
    "CAST(:payloads AS bytea[])) AS t (id, ledger_id, payload)), "
    "missing AS (SELECT signed.* FROM batches JOIN signed ON signed.id = batches.id "
    "WHERE signed_batch IS NULL ORDER BY batches.id FOR UPDATE OF batches) "
    "UPDATE batches SET signed_batch = missing.payload, ledger_batch_id = missing.ledger_id "
    "FROM missing WHERE missing.id = batches.id"
)


# By batch the source, then the parts in the contract's order.
_UNSIGNED = """
WITH unsigned AS MATERIALIZED (
    SELECT id, user_id, ggo_id FROM batches WHERE id = ANY(%(ids)s) AND signed_batch IS NULL
), sources AS (
    SELECT unsigned.id AS batch_id, user_id, -1 AS place, ggos.*
    FROM unsigned JOIN ggos ON ggos.id = ggo_id
), parts AS (
    SELECT unsigned.id AS batch_id, user_id, split_position AS place, ggos.*
    FROM unsigned JOIN ggos ON ggos.parent_id = ggo_id
)
SELECT batch_id, user_id, owner_id, address, amount, begin, issue_gsrn, key_index, retire_gsrn
FROM (SELECT * FROM sources UNION ALL SELECT * FROM parts) AS ggos
ORDER BY batch_id, place
"""


class _Ggo(NamedTuple):
    """What signing needs of a batch's source or part, in the order of the query's columns."""

    batch_id: int
    user_id: int
    owner_id: int
    address: str
    amount: int
    begin: datetime
    issue_gsrn: str | None
    key_index: int | None
    retire_gsrn: str | None


@dataclass
class Keys:
    """The keys that a run has derived so far.

    A key that isn't there, as its user's master key can't be opened, is a KeyError.
    """

    masters: dict[int, ExtendedKey] = field(default_factory=dict)
    trades: dict[int, ExtendedKey] = field(default_factory=dict)
    points: dict[str, ExtendedKey] = field(default_factory=dict)

    def of_ggo(self, ggo: _Ggo | Row[Any]) -> ExtendedKey:
        """The key that spends a GGO."""
        if ggo.issue_gsrn is not None:
            return self.of_period(ggo.issue_gsrn, ggo.begin)
        # What wasn't issued has one (the table's own check).
        assert ggo.key_index is not None
        return self.trades[ggo.owner_id].child(ggo.key_index)

    def of_period(self, gsrn: str, begin: datetime) -> ExtendedKey:
        """The key of a measurement, and of an issued GGO."""
        return period_key(self.points[gsrn], begin)


@dataclass(frozen=True)
class BatchSigner:
    """Signs batches and stores their bytes."""

    database: Database
    sealer: Sealer

    def sign_missing(self, batch_ids: Sequence[int], deadline: Deadline) -> list[int]:
        """Sign those of the batches that aren't yet, until the deadline.

        Two workers at once keep one's bytes.

        :returns: those that can't be signed; what is wrong is logged.
        """
        rows = self.database.prepared(_UNSIGNED, {"ids": list(batch_ids)})
        if not rows:
            return []
        ggos = [_Ggo(*row) for row in rows]
        with self.database.reading() as session:
            keys = load_keys(session, self.sealer, {ggo.user_id for ggo in ggos}, ggos)
        signed: dict[int, SignedBatch] = {}
        failed = []
        for batch_id, own in groupby(ggos, key=attrgetter("batch_id")):
            if deadline.is_over():
                break
            source, *parts = own
            if source.user_id not in keys.masters:
                failed.append(batch_id)
                continue
            # Signing keeps the CPU for milliseconds: others of this process, webhooks say, go between.
            time.sleep(0)
            try:
                signed[batch_id] = _sign(keys, source, parts)
            except Exception:
                # Whatever is wrong with one batch: the others go on, this one is tried again.
                BATCH_ALERTS.labels("cannot_sign").inc()
                log.exception(
                    "A batch can't be signed",
                    extra={"event": "batch.cannot_sign", "batch_id": batch_id},
                )
                failed.append(batch_id)
        self._store(signed)
        return failed

    def _store(self, signed: dict[int, SignedBatch]) -> None:
        """Keep the bytes, before the first POST; the first to store wins."""
        if not signed:
            return
        ids = sorted(signed)
        with self.database.transaction() as session:
            session.execute(
                _KEEP,
                {
                    "ids": ids,
                    "ledger_ids": [signed[each].id for each in ids],
                    "payloads": [signed[each].batch_list for each in ids],
                },
            )


def load_keys(
    session: Session, sealer: Sealer, user_ids: Iterable[int], ggos: Sequence[_Ggo | Row[Any]]
) -> Keys:
    """The keys of the batches' users, and of those of their metering points that the GGOs name."""
    keys = Keys()
    users = select(User.id, User.subject, User.master_key).where(User.id.in_(list(user_ids)))
    for user in session.execute(users):
        try:
            opened = sealer.open(user.master_key, master_key_context(user.subject))
        except CannotUnseal as error:
            # One user's trouble: the batches of the others go on, these can't be signed.
            log.error(  # noqa: TRY400 - told
                "No master key: %s", error, extra={"event": "user.no_key", "user_id": user.id}
            )
            continue
        master = ExtendedKey.from_base58(opened)
        keys.masters[user.id] = master
        keys.trades[user.id] = trade_branch_key(master)
    gsrns = {gsrn for ggo in ggos for gsrn in (ggo.issue_gsrn, ggo.retire_gsrn) if gsrn}
    points = select(MeteringPoint.gsrn, MeteringPoint.user_id, MeteringPoint.key_index).where(
        MeteringPoint.gsrn.in_(gsrns)
    )
    for point in session.execute(points.where(MeteringPoint.user_id.in_(keys.masters))):
        keys.points[point.gsrn] = metering_point_key(keys.masters[point.user_id], point.key_index)
    return keys


def _sign(keys: Keys, source: _Ggo, parts: Sequence[_Ggo]) -> SignedBatch:
    split = None
    if parts:
        split = Split(keys.of_ggo(source), [(part.address, part.amount) for part in parts])
    retirements = [
        Retirement(keys.of_ggo(ggo), keys.of_period(ggo.retire_gsrn, ggo.begin))
        for ggo in (source, *parts)
        if ggo.retire_gsrn is not None
    ]
    return sign_batch(keys.masters[source.user_id], split, retirements)
