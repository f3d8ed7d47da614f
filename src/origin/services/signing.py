"""Builds and signs the batches that composes have left, and keeps their bytes."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.orm import Session

from origin.clients.ledger_batches import Retirement, SignedBatch, Split, sign_batch
from origin.db.encryption import CannotUnseal, Sealer, master_key_context
from origin.db.models import Batch, Ggo, MeteringPoint, User
from origin.domain.keys import Key, metering_point_key, period_key, trade_branch
from origin.runtime import Runtime

log = logging.getLogger(__name__)


@dataclass
class _Keys:
    """The keys that a run has derived so far."""

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


def sign_missing(runtime: Runtime, batch_ids: Sequence[int]) -> None:
    """Sign those of the batches that aren't yet; two workers at once keep one's bytes.

    A batch whose user's key can't be opened stays unsigned.
    """
    with runtime.database.reading() as session:
        batches = session.execute(
            select(Batch.id, Batch.user_id, Batch.ggo_id).where(
                Batch.id.in_(batch_ids), Batch.signed_batch.is_(None)
            )
        ).all()
        if not batches:
            return
        sources = _ggos(session, Ggo.id.in_([batch.ggo_id for batch in batches]))
        children = _ggos(session, Ggo.parent_id.in_([batch.ggo_id for batch in batches]))
        users = {batch.user_id for batch in batches}
        keys = _load_keys(session, runtime.sealer, users, [*sources, *children])
    source_by_id = {ggo.id: ggo for ggo in sources}
    children_by_parent: dict[int, list[Row[Any]]] = defaultdict(list)
    for child in children:
        children_by_parent[child.parent_id].append(child)
    signed = {
        batch.id: _sign(
            keys, batch.user_id, source_by_id[batch.ggo_id], children_by_parent[batch.ggo_id]
        )
        for batch in batches
        if batch.user_id in keys.masters
    }
    _store(runtime, signed)


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


def _load_keys(
    session: Session, sealer: Sealer, user_ids: Iterable[int], ggos: Sequence[Row[Any]]
) -> _Keys:
    """The keys of the batches' users, and of those of their metering points that the GGOs name."""
    keys = _Keys()
    users = select(User.id, User.subject, User.master_key).where(User.id.in_(list(user_ids)))
    for user in session.execute(users):
        try:
            opened = sealer.open(user.master_key, master_key_context(user.subject))
        except CannotUnseal as error:
            # One user's trouble: the batches of the others go on, these are tried again.
            log.error("No master key: %s", error, extra={"user_id": user.id})  # noqa: TRY400 - told
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


def _sign(keys: _Keys, user_id: int, source: Row[Any], children: Sequence[Row[Any]]) -> SignedBatch:
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
    with runtime.database.transaction() as session:
        for batch_id, batch in sorted(signed.items()):
            session.execute(
                update(Batch)
                .where(Batch.id == batch_id, Batch.signed_batch.is_(None))
                .values(signed_batch=batch.batch_list, ledger_batch_id=batch.id)
                .execution_options(synchronize_session=False)
            )
