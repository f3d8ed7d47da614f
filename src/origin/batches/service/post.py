"""Posts the stored bytes of batches to the ledger (contract: peers, The ledger).

Batches go in chunks. One transaction counts the POSTs of a chunk before the first is sent, and
another stores their results.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from origin.batches.client.ledger import LedgerClient, PostAnswer, Posted
from origin.batches.queries.queue import (
    ClaimedBatch,
    Leases,
    LiveBatch,
    PostResult,
    count_posts,
    store_results,
)
from origin.db.engine import Database
from origin.shared.deadlines import Deadline
from origin.shared.retries import backoff_s
from origin.shared.thread_pools import ContextThreadPool
from origin.telemetry.metrics import BATCH_ALERTS

_CHUNK = 20
_CONCURRENT_POSTS = 4
"""Enough to hide the ledger's latency, too few to flood it."""

log = logging.getLogger(__name__)


@dataclass
class _Chunk:
    """What became of a chunk.

    :ivar answers: By batch id. A batch without an answer was not sent.
    :ivar failure: Why the ledger is out of reach; empty: it is not. Once set, nothing more is sent.
    """

    answers: dict[int, PostAnswer] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class BatchPoster:
    """Posts the stored bytes of batches to the ledger.

    :ivar poll_delay_s: LEDGER_POLL_DELAY.
    :ivar submit_retry_delay_s: LEDGER_SUBMIT_RETRY_DELAY.
    """

    database: Database
    ledger: LedgerClient
    poll_delay_s: float
    submit_retry_delay_s: float

    def post_all(
        self,
        leases: Leases,
        batches: Sequence[ClaimedBatch],
        deadline: Deadline,
        delays_s: dict[int, float],
    ) -> bool:
        """Post these batches, until the deadline, or until the ledger is out of reach.

        :param delays_s: Filled, by batch id, with the seconds until each batch is due that was not
            sent because the ledger is out of reach.
        :returns: False if the ledger is out of reach.
        """
        for start in range(0, len(batches), _CHUNK):
            if deadline.is_over():
                break
            failure = self._post_chunk(leases, batches[start : start + _CHUNK], deadline)
            if failure:
                rest = batches[start + _CHUNK :]
                log.warning(
                    "The ledger is out of reach: %s",
                    failure,
                    extra={"event": "ledger.unreachable", "waiting": len(rest)},
                )
                delays_s |= {batch.id: self.retry_delay_s(batch) for batch in rest}
                return False
        return True

    def retry_delay_s(self, batch: LiveBatch) -> float:
        """Return the seconds until the next try; they grow with the attempts."""
        return backoff_s(self.submit_retry_delay_s, batch.attempts)

    def _post_chunk(
        self, leases: Leases, batches: Sequence[ClaimedBatch], deadline: Deadline
    ) -> str:
        """Post a chunk; return why the ledger is out of reach, or the empty string."""
        with self.database.transaction() as session:
            ours = count_posts(session, {batch.id: batch.posts for batch in batches})
        # Another worker has posted or ended the others, and scheduled them.
        counted = [batch for batch in batches if batch.id in ours]
        chunk = _Chunk()

        def post(batch: ClaimedBatch) -> None:
            if chunk.failure or deadline.is_over():
                return
            answer = self._post(batch)
            chunk.answers[batch.id] = answer
            if _is_out_of_reach(answer):
                chunk.failure = answer.reason

        # The first alone, so that a ledger that is out of reach is asked once.
        for batch in counted[:1]:
            post(batch)
        with ContextThreadPool(max_workers=_CONCURRENT_POSTS) as pool:
            list(pool.map(post, counted[1:]))
        results = [self._result(batch, chunk.answers.get(batch.id)) for batch in counted]
        if results:
            with self.database.transaction() as session:
                store_results(session, leases, results)
        return chunk.failure

    def _post(self, batch: ClaimedBatch) -> PostAnswer:
        """Post one batch; an unexpected error is logged, and stops no other batch."""
        try:
            return self.ledger.post(batch.signed_batch)
        except Exception as error:
            log.exception(
                "A batch can't be posted",
                extra={"event": "batch.cannot_post", "batch_id": batch.id},
            )
            return PostAnswer(
                Posted.UNCERTAIN,
                type(error).__name__,
                is_of_this_batch=True,
                may_be_on_its_way=True,
            )

    def _result(self, batch: ClaimedBatch, answer: PostAnswer | None) -> PostResult:
        answer = answer or PostAnswer(Posted.UNARRIVED, "it was not sent")
        outcome, reason = answer.outcome, answer.reason
        if outcome is Posted.ACCEPTED:
            delay_s = backoff_s(self.poll_delay_s, 1)
        elif outcome is Posted.REFUSED:
            BATCH_ALERTS.labels("refused").inc()
            log.error(
                "The ledger refuses a batch: %s",
                reason,
                extra={"event": "ledger.batch_refused", "batch_id": batch.id},
            )
            # The ledger's status and state decide what the refusal means. They are read at once if
            # no other POST may have arrived. Else the same bytes may have to be posted again, after a
            # delay.
            is_only_post = batch.posts == batch.refused_posts + batch.unarrived_posts
            delay_s = 0.0 if is_only_post else self.retry_delay_s(batch)
        else:
            delay_s = self.retry_delay_s(batch)
        return PostResult(
            batch_id=batch.id,
            outcome=outcome.value,
            reason=reason,
            accepted=outcome is Posted.ACCEPTED,
            refused=outcome is Posted.REFUSED,
            unarrived=outcome is Posted.UNARRIVED,
            answered=not answer.may_be_on_its_way,
            delay_s=delay_s,
        )


def _is_out_of_reach(answer: PostAnswer) -> bool:
    unclear = answer.outcome in {Posted.UNARRIVED, Posted.UNCERTAIN}
    return unclear and not answer.is_of_this_batch
