"""Takes batches to the ledger and follows them to their end (contract: peers, The ledger).

Every step can be repeated, by this worker or another, after a crash at any point: the database knows
what was done, and each change is guarded by the state that it leaves.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from origin.batches.queries.queue import (
    AdoptedBatch,
    ClaimedBatch,
    add_events,
    claim_due,
    give_back,
    load_claimed,
)
from origin.batches.queries.stuck import claim_stuck
from origin.batches.rules.verdicts import POST_HELD_UP_S
from origin.batches.service.follow import Follower
from origin.batches.service.post import BatchPoster
from origin.batches.service.sign import BatchSigner
from origin.batches.service.take_over import TakeOver
from origin.db.engine import Database
from origin.settings import Settings
from origin.shared.deadlines import Deadline
from origin.shared.retries import JITTER
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import BATCH_ALERTS

CLAIM_LIMIT = 200
"""Batches that are claimed at a time."""

_WHY_SIGNED = "adopted; on the ledger its source is unspent"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchRunner:
    """Claims batches and takes each one step further."""

    settings: Settings
    database: Database
    wakeups: Wakeups
    batch_signer: BatchSigner
    batch_poster: BatchPoster
    follower: Follower
    take_over: TakeOver
    _held: dict[int, datetime] = field(default_factory=dict, init=False)
    """The leases that this process holds at the moment, by batch id."""

    def run_due(self, before_claim: Callable[[], None] = lambda: None) -> int:
        """Take the due batches one step further: sign and post them, or ask what became of them.

        Ends when nothing is due, when the ledger is out of reach, or after a lease's time.

        :param before_claim: Called before each claim. The claim finds all that was committed before
            this call.
        :returns: how many batches were worked on.
        """
        if not self.settings.ledger_enabled:
            return 0
        lease_s = self.settings.lease_seconds
        run = Deadline(lease_s)
        worked = 0
        # Delays are jittered: an earlier wake-up would find some batches not due yet.
        wake_up_s = self.settings.ledger_poll_delay * (1 + JITTER)
        while True:
            if run.is_over():
                wake_up_s = 0
                break
            before_claim()
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
        """Report stuck batches to the operators, and post their bytes again.

        Adopted batches that are not signed are judged again.

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
                    "Batch is stuck; trying it again",
                    extra={"event": "batch.stuck", "batch_id": batch_id},
                )
            if not self._take_further(leases, post_again=True):
                return count + len(leases)
            count, last_id = count + len(leases), max(leases)

    def give_back_all(self) -> None:
        """Make the batches that this process holds due at once, as the process shuts down.

        A POST that is under way has been counted: the next worker asks for the batch's status
        first.
        """
        leases = dict(self._held)
        with self.database.transaction() as session:
            give_back(session, leases, dict.fromkeys(leases, 0.0))

    def _take_further(self, leases: dict[int, datetime], *, post_again: bool = False) -> bool:
        """Take claimed batches one step further.

        :param post_again: Post all of them, also those that were posted before.
        :returns: False if the ledger is out of reach.
        """
        settings = self.settings
        # Half the lease: batches that are not reached by then go back before the lease ends.
        deadline = Deadline(settings.lease_seconds / 2)
        # Batches that are not reached are due again at once. The others have ended or have a new
        # schedule, and so no longer this lease: giving it back does not change them.
        delays_s = dict.fromkeys(leases, 0.0)
        self._held.update(leases)
        try:
            unsigned = self.batch_signer.sign_missing(list(leases), deadline)
            delays_s |= dict.fromkeys(unsigned, settings.ledger_submit_retry_delay)
            batches, adopted = self._load(leases)
            to_post = [batch for batch in batches if post_again or batch.posts == 0]
            posted = [batch for batch in batches if not post_again and batch.posts > 0]
            is_reachable, to_repost = self.follower.follow(posted, deadline, delays_s)
            if is_reachable and adopted:
                is_reachable, signed = self._take_over(adopted, deadline, delays_s)
                to_post += signed
            if not is_reachable:
                waiting = [*to_post, *adopted]
                delays_s |= {batch.id: self.batch_poster.retry_delay_s(batch) for batch in waiting}
                return False
            return self.batch_poster.post_all(leases, [*to_repost, *to_post], deadline, delays_s)
        finally:
            with self.database.transaction() as session:
                give_back(session, leases, delays_s)
            for batch_id in leases:
                self._held.pop(batch_id, None)

    def _take_over(
        self, adopted: Sequence[AdoptedBatch], deadline: Deadline, delays_s: dict[int, float]
    ) -> tuple[bool, list[ClaimedBatch]]:
        """Judge adopted batches, and sign anew those that the ledger knows nothing of.

        :returns: whether the ledger is in reach, and the batches that are signed now.
        """
        is_reachable, to_sign = self.take_over.judge_all(adopted, deadline, delays_s)
        if not is_reachable or not to_sign:
            return is_reachable, []
        unsigned = self.batch_signer.sign_missing(to_sign, deadline, adopted=True)
        delays_s |= dict.fromkeys(unsigned, self.settings.ledger_submit_retry_delay)
        loaded, _ = self._load(to_sign)
        # Another worker may have signed and posted one meanwhile.
        signed = [batch for batch in loaded if batch.posts == 0]
        with self.database.transaction() as session:
            add_events(session, [(batch.id, "signed anew", _WHY_SIGNED) for batch in signed])
        return is_reachable, signed

    def _load(self, batch_ids: Collection[int]) -> tuple[list[ClaimedBatch], list[AdoptedBatch]]:
        settings = self.settings
        with self.database.reading() as session:
            return load_claimed(
                session,
                batch_ids,
                # A POST may begin up to half a lease after it was counted.
                held_up_s=POST_HELD_UP_S + settings.lease_seconds,
                resubmit_after_s=settings.batch_resubmit_after,
            )
