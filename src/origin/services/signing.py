"""Builds and signs the batches that composes have left, and keeps their bytes."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select, text
from sqlalchemy.orm import Session

from origin.clients.ledger_batches import Retirement, SignedBatch, Split, sign_batch
from origin.db.encryption import CannotUnseal, Sealer, master_key_context
from origin.db.models import Batch, Ggo, MeteringPoint, User
from origin.domain.keys import Key, metering_point_key, period_key, trade_branch
from origin.runtime import Runtime
from origin.services.deadlines import Deadline
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


@dataclass
class Keys:
    """The keys that a run has derived so far.

    A key that isn't there, as its user's master key can't be opened, is a KeyError.
    """

    masters: dict[int, Key] = field(default_factory=dict)
    trades: dict[int, Key] = field(default_factory=dict)
    points: dict[str, Key] = field(default_factory=dict)

    def of_ggo(self, ggo: Row[Any]) -> Key:
        """The key that spends a GGO."""
        if ggo.issue_gsrn is not None:
            return self.of_period(ggo.issue_gsrn, ggo.begin)
        return self.trades[ggo.owner_id].child(ggo.key_index)

    def of_period(self, gsrn: str, begin: datetime) -> Key:
        """The key of a measurement, and of an issued GGO."""
        return period_key(self.points[gsrn], begin)


def sign_missing(runtime: Runtime, batch_ids: Sequence[int], deadline: Deadline) -> list[int]:
    """Sign those of the batches that aren't yet, until the deadline.

    Two workers at once keep one's bytes.

    :returns: those that can't be signed; what is wrong is logged.
    """
    with runtime.database.reading() as session:
        batches = session.execute(
            select(Batch.id, Batch.user_id, Batch.ggo_id).where(
                Batch.id.in_(batch_ids), Batch.signed_batch.is_(None)
            )
        ).all()
        if not batches:
            return []
        sources = _ggos(session, Ggo.id.in_([batch.ggo_id for batch in batches]))
        children = _ggos(session, Ggo.parent_id.in_([batch.ggo_id for batch in batches]))
        users = {batch.user_id for batch in batches}
        keys = load_keys(session, runtime.sealer, users, [*sources, *children])
    source_by_id = {ggo.id: ggo for ggo in sources}
    children_by_parent: dict[int, list[Row[Any]]] = defaultdict(list)
    for child in children:
        children_by_parent[child.parent_id].append(child)
    signed: dict[int, SignedBatch] = {}
    failed = []
    for batch in batches:
        if deadline.is_over():
            break
        if batch.user_id not in keys.masters:
            failed.append(batch.id)
            continue
        # Signing keeps the CPU for milliseconds: others of this process, webhooks say, go between.
        time.sleep(0)
        source, parts = source_by_id[batch.ggo_id], children_by_parent[batch.ggo_id]
        try:
            signed[batch.id] = _sign(keys, batch.user_id, source, parts)
        except Exception:
            # Whatever is wrong with one batch: the others go on, this one is tried again.
            BATCH_ALERTS.labels("cannot_sign").inc()
            log.exception(
                "A batch can't be signed",
                extra={"event": "batch.cannot_sign", "batch_id": batch.id},
            )
            failed.append(batch.id)
    _store(runtime, signed)
    return failed


def _ggos(session: Session, condition: ColumnElement[bool]) -> list[Row[Any]]:
    columns = (
        Ggo.id,
        Ggo.owner_id,
        Ggo.parent_id,
        Ggo.address,
        Ggo.amount,
        Ggo.begin,
        Ggo.issue_gsrn,
        Ggo.key_index,
        Ggo.retire_gsrn,
    )
    query = select(*columns).where(condition).order_by(Ggo.parent_id, Ggo.split_position)
    return list(session.execute(query))


def load_keys(
    session: Session, sealer: Sealer, user_ids: Iterable[int], ggos: Sequence[Row[Any]]
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
        master = Key.from_base58(opened)
        keys.masters[user.id] = master
        keys.trades[user.id] = trade_branch(master)
    gsrns = {gsrn for ggo in ggos for gsrn in (ggo.issue_gsrn, ggo.retire_gsrn) if gsrn}
    points = select(MeteringPoint.gsrn, MeteringPoint.user_id, MeteringPoint.key_index).where(
        MeteringPoint.gsrn.in_(gsrns)
    )
    for point in session.execute(points.where(MeteringPoint.user_id.in_(keys.masters))):
        keys.points[point.gsrn] = metering_point_key(keys.masters[point.user_id], point.key_index)
    return keys


def _sign(keys: Keys, user_id: int, source: Row[Any], children: Sequence[Row[Any]]) -> SignedBatch:
    split = None
    if children:
        targets = [(child.address, child.amount) for child in children]
        split = Split(keys.of_ggo(source), targets)
    retirements = [
        Retirement(keys.of_ggo(ggo), keys.of_period(ggo.retire_gsrn, ggo.begin))
        for ggo in (source, *children)
        if ggo.retire_gsrn is not None
    ]
    return sign_batch(keys.masters[user_id], split, retirements)


def _store(runtime: Runtime, signed: dict[int, SignedBatch]) -> None:
    """Keep the bytes, before the first POST; the first to store wins."""
    if not signed:
        return
    ids = sorted(signed)
    with runtime.database.transaction() as session:
        session.execute(
            _KEEP,
            {
                "ids": ids,
                "ledger_ids": [signed[each].id for each in ids],
                "payloads": [signed[each].batch_list for each in ids],
            },
        )
