"""Builds and signs the batches that composes have left, and stores their bytes."""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from origin.batches.client.sdk import Retirement, SignedBatch, Split, sign_batch
from origin.batches.queries.signing import (
    UnsignedGgo,
    metering_points_of,
    sealed_master_keys,
    store_signed,
    unsigned_ggos,
)
from origin.db.engine import Database
from origin.keys.derivation import ExtendedKey, metering_point_key, period_key, trade_branch_key
from origin.keys.sealing import CannotUnseal, Sealer, master_key_context
from origin.shared.deadlines import Deadline
from origin.telemetry.metrics import BATCH_ALERTS

log = logging.getLogger(__name__)


@dataclass
class Keys:
    """The keys that a run has derived so far.

    A lookup raises KeyError if the user's master key cannot be unsealed.

    :ivar masters: Master keys by user id.
    :ivar trades: The branches `m/0` by user id.
    :ivar points: The metering points' keys by GSRN.
    """

    masters: dict[int, ExtendedKey] = field(default_factory=dict)
    trades: dict[int, ExtendedKey] = field(default_factory=dict)
    points: dict[str, ExtendedKey] = field(default_factory=dict)

    def of_ggo(self, ggo: UnsignedGgo | Row[Any]) -> ExtendedKey:
        """Return the key that spends a GGO."""
        if ggo.issue_gsrn is not None:
            return self.of_period(ggo.issue_gsrn, ggo.begin)
        # The table's check: a GGO that was not issued has a key index.
        assert ggo.key_index is not None
        return self.trades[ggo.owner_id].child(ggo.key_index)

    def of_period(self, gsrn: str, begin: datetime) -> ExtendedKey:
        """Return the key of a measurement and of the GGO that is issued for it."""
        return period_key(self.points[gsrn], begin)


@dataclass(frozen=True)
class BatchSigner:
    """Signs batches and stores their bytes."""

    database: Database
    sealer: Sealer

    def sign_missing(
        self, batch_ids: Sequence[int], deadline: Deadline, *, adopted: bool = False
    ) -> list[int]:
        """Sign those of the batches that are not signed, until the deadline.

        If two workers sign the same batch, the bytes that are stored first win.

        :param adopted: Sign only batches that were adopted: those that `TakeOver` has judged. Else
            sign only those that were composed here.
        :returns: the batches that cannot be signed; the reasons are logged.
        """
        ggos = unsigned_ggos(self.database, batch_ids, adopted=adopted)
        if not ggos:
            return []
        with self.database.reading() as session:
            keys = load_keys(session, self.sealer, {ggo.user_id for ggo in ggos}, ggos)
        signed: dict[int, SignedBatch] = {}
        failed = []
        for batch_id, ggos_of_batch in groupby(ggos, key=attrgetter("batch_id")):
            if deadline.is_over():
                break
            signed_batch = _try_to_sign(batch_id, keys, list(ggos_of_batch))
            if signed_batch is None:
                failed.append(batch_id)
            else:
                signed[batch_id] = signed_batch
        if signed:
            # Before the first POST, so that each repetition posts the same bytes.
            with self.database.transaction() as session:
                store_signed(
                    session, {each: (batch.id, batch.batch_list) for each, batch in signed.items()}
                )
        return failed


def load_keys(
    session: Session,
    sealer: Sealer,
    user_ids: Collection[int],
    ggos: Sequence[UnsignedGgo | Row[Any]],
) -> Keys:
    """Return these users' keys, and those of their metering points that the GGOs name.

    A user whose master key cannot be unsealed is logged, and missing from the result.
    """
    keys = Keys()
    for user in sealed_master_keys(session, user_ids):
        try:
            opened = sealer.open(user.master_key, master_key_context(user.subject))
        except CannotUnseal as error:
            log.error(  # noqa: TRY400 - the message has the reason
                "No master key: %s", error, extra={"event": "user.no_key", "user_id": user.id}
            )
            continue
        master = ExtendedKey.from_base58(opened)
        keys.masters[user.id] = master
        keys.trades[user.id] = trade_branch_key(master)
    gsrns = {gsrn for ggo in ggos for gsrn in (ggo.issue_gsrn, ggo.retire_gsrn) if gsrn}
    for point in metering_points_of(session, keys.masters.keys(), gsrns):
        keys.points[point.gsrn] = metering_point_key(keys.masters[point.user_id], point.key_index)
    return keys


def _try_to_sign(batch_id: int, keys: Keys, ggos: Sequence[UnsignedGgo]) -> SignedBatch | None:
    """Return the signed batch; None: it cannot be signed, which is logged and stops no other batch."""
    source, *parts = ggos
    if source.user_id not in keys.masters:
        return None
    # Signing takes milliseconds of CPU: let other greenlets run in between.
    time.sleep(0)
    try:
        return _sign(keys, source, parts)
    except Exception:
        BATCH_ALERTS.labels("cannot_sign").inc()
        log.exception(
            "A batch can't be signed", extra={"event": "batch.cannot_sign", "batch_id": batch_id}
        )
        return None


def _sign(keys: Keys, source: UnsignedGgo, parts: Sequence[UnsignedGgo]) -> SignedBatch:
    split = None
    if parts:
        split = Split(keys.of_ggo(source), [(part.address, part.amount) for part in parts])
    retirements = [
        Retirement(keys.of_ggo(ggo), keys.of_period(ggo.retire_gsrn, ggo.begin))
        for ggo in (source, *parts)
        if ggo.retire_gsrn is not None
    ]
    return sign_batch(keys.masters[source.user_id], split, retirements)
