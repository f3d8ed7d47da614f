"""Takes batches to the ledger and follows them to their end (contract: peers, The ledger).

Every step can be repeated, by this worker or another, after a crash anywhere: what was done is in
the database, and each change is guarded by the state that it leaves.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from origin.batches.queries.queue import Leases, claim_due, give_back, none_on_its_way
from origin.batches.queries.stuck import claim_stuck, is_stuck
from origin.batches.rules.verdicts import POST_HELD_UP_S
from origin.batches.service.follow import Follower
from origin.batches.service.post import BatchPoster
from origin.batches.service.sign import BatchSigner
from origin.db.engine import Database
from origin.db.models import Batch
from origin.settings import Settings
from origin.shared.deadlines import Deadline
from origin.shared.retries import JITTER
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import BATCH_ALERTS

CLAIM_LIMIT = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchRunner:
    """Takes claimed batches one step further at a time."""

    settings: Settings
    database: Database
    wakeups: Wakeups
    batch_signer: BatchSigner
    batch_poster: BatchPoster
    follower: Follower
    _held: dict[int, datetime] = field(default_factory=dict, init=False)
    """The leases that this process works on at this moment, by batch id."""

    def run_due(self, look: Callable[[], None] = lambda: None) -> int:
        """Take the batches that are due one step further: sign and post, or ask and settle.

        Ends when nothing is due, when the ledger is out of reach, or after a lease's time.

        :param look: Called before each look for what is due: whatever was committed by then is found.
        :returns: how many were worked on.
        """
        if not self.settings.ledger_enabled:
            return 0
        lease_s = self.settings.lease_seconds
        run = Deadline(lease_s)
        worked = 0
        # Jittered delays reach that far: a wake-up sooner would find some rows not due yet.
        wake_up_s = self.settings.ledger_poll_delay * (1 + JITTER)
        while True:
            if run.is_over():
                wake_up_s = 0
                break
            look()
            with self.database.transaction() as session:
                leases = claim_due(session, limit=CLAIM_LIMIT, lease_s=lease_s)
            if not leases:
                break
            worked += len(leases)
            if not self._take_further(leases):
                break
        if worked:
            self.wakeups.batches_due(delay_s=wake_up_s)
        return worked

    def resubmit_stuck(self) -> int:
        """Tell the operators of batches that take overly long, and post their bytes again.

        :returns: how many there are.
        """
        settings = self.settings
        if not settings.ledger_enabled:
            return 0
        count, last_id = 0, 0
        while True:
            with self.database.transaction() as session:
                leases = claim_stuck(
                    session,
                    beyond=last_id,
                    resubmit_after_s=settings.batch_resubmit_after,
                    limit=CLAIM_LIMIT,
                    lease_s=settings.lease_seconds,
                )
            if not leases:
                return count
            for batch_id in leases:
                BATCH_ALERTS.labels("stuck").inc()
                log.error(
                    "Batch is stuck; posting it again",
                    extra={"event": "batch.stuck", "batch_id": batch_id},
                )
            if not self._take_further(leases, post_again=True):
                return count + len(leases)
            count, last_id = count + len(leases), max(leases)

    def give_back_all(self) -> None:
        """Make due at once what this process still works on, as it ends before it is done.

        A POST under way is counted: whoever takes the batch up asks for its status first.
        """
        leases = dict(self._held)
        with self.database.transaction() as session:
            give_back(session, leases, dict.fromkeys(leases, 0.0))

    def _take_further(self, leases: dict[int, datetime], *, post_again: bool = False) -> bool:
        """Take claimed batches one step further.

        :param post_again: Post all of them, whatever became of them so far.
        :returns: False where the ledger is out of reach, and going on makes no sense now.
        """
        # Half the lease: what isn't reached by then goes back before another may claim it.
        deadline = Deadline(self.settings.lease_seconds / 2)
        # What isn't reached, whatever happens, is due again at once. Who has ended or has a schedule
        # by then keeps it: the lease is no longer there to be given back.
        delays_s = dict.fromkeys(leases, 0.0)
        self._held.update(leases)
        try:
            unsigned = self.batch_signer.sign_missing(list(leases), deadline)
            delays_s |= dict.fromkeys(unsigned, self.settings.ledger_submit_retry_delay)
            batches = self._load(leases)
            fresh = [batch for batch in batches if post_again or batch.posts == 0]
            known = [batch for batch in batches if not post_again and batch.posts > 0]
            is_reachable, reposts = self.follower.follow(known, deadline, delays_s)
            if not is_reachable:
                delays_s |= {batch.id: self.batch_poster.retry_delay_s(batch) for batch in fresh}
                return False
            return self.batch_poster.post_all(leases, [*reposts, *fresh], deadline, delays_s)
        finally:
            with self.database.transaction() as session:
                give_back(session, leases, delays_s)
            for batch_id in leases:
                self._held.pop(batch_id, None)

    def _load(self, leases: Leases) -> list[Row[Any]]:
        settings = self.settings
        columns: tuple[Any, ...] = (
            Batch.id,
            Batch.ggo_id,
            Batch.ledger_batch_id,
            Batch.signed_batch,
            Batch.posts,
            Batch.refused_posts,
            Batch.unarrived_posts,
            Batch.attempts,
            # Counted before it is begun, by half a lease at most.
            none_on_its_way(POST_HELD_UP_S + settings.lease_seconds).label("none_on_its_way"),
            is_stuck(settings.batch_resubmit_after).label("is_stuck"),
        )
        with self.database.reading() as session:
            found = session.execute(
                select(*columns)
                .where(
                    Batch.id.in_(leases), Batch.ended_at.is_(None), Batch.signed_batch.is_not(None)
                )
                .order_by(Batch.id)
            )
            return list(found)
