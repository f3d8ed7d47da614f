"""Posts the stored bytes of batches to the ledger (contract: peers, The ledger).

A chunk at a time: all of its POSTs are counted in one transaction before the first is sent, and
what they came to is written down in another.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from origin.batches.client.ledger import LedgerClient, PostAnswer, Posted
from origin.batches.queries.queue import Leases, PostResult, count_posts, store_results
from origin.db.engine import Database
from origin.settings import Settings
from origin.shared.deadlines import Deadline
from origin.shared.retries import backoff_s
from origin.telemetry.metrics import BATCH_ALERTS

_CHUNK = 20
_SIDE_BY_SIDE = 4
"""POSTs under way at a time: enough to hide the ledger's latency, too few to flood it."""

log = logging.getLogger(__name__)


@dataclass
class _Chunk:
    """What became of a chunk. Those that were counted and aren't in `answers` weren't sent."""

    answers: dict[int, PostAnswer] = field(default_factory=dict)
    failure: str = ""
    """Why the ledger is out of reach, once it is: nothing more is sent then."""


@dataclass(frozen=True)
class BatchPoster:
    """Posts the stored bytes of batches to the ledger."""

    settings: Settings
    database: Database
    ledger: LedgerClient

    def post_all(
        self,
        leases: Leases,
        batches: Sequence[Row[Any]],
        deadline: Deadline,
        delays_s: dict[int, float],
    ) -> bool:
        """Post these, until the deadline, or until the ledger is out of reach.

        :param batches: Rows with id, signed_batch, posts, refused_posts, unarrived_posts, attempts.
        :param delays_s: Filled with the seconds until each that must wait for the ledger is due, by id.
        :returns: False where the ledger is out of reach.
        """
        for start in range(0, len(batches), _CHUNK):
            if deadline.is_over():
                break
            chunk = batches[start : start + _CHUNK]
            failure = self._post_chunk(leases, chunk, deadline)
            if failure:
                rest = batches[start + _CHUNK :]
                log.warning(
                    "The ledger is out of reach: %s",
                    failure,
                    extra={"event": "ledger.unreachable", "waiting": len(rest)},
                )
                # The others would fare no better.
                delays_s |= {batch.id: self.retry_delay_s(batch) for batch in rest}
                return False
        return True

    def retry_delay_s(self, batch: Row[Any]) -> float:
        """Seconds until the next try, the more the longer the batch hasn't got on."""
        return backoff_s(self.settings.ledger_submit_retry_delay, batch.attempts)

    def _post_chunk(self, leases: Leases, batches: Sequence[Row[Any]], deadline: Deadline) -> str:
        """Post a chunk; why the ledger is out of reach, or the empty string."""
        with self.database.transaction() as session:
            ours = count_posts(session, {batch.id: batch.posts for batch in batches})
        # Posted or ended by another meanwhile: whoever did it has made the schedule.
        counted = [batch for batch in batches if batch.id in ours]
        chunk = _Chunk()

        def post(batch: Row[Any]) -> None:
            if chunk.failure or deadline.is_over():
                return
            try:
                answer = self.ledger.post(batch.signed_batch)
            except Exception as error:
                log.exception(
                    "A batch can't be posted",
                    extra={"event": "batch.cannot_post", "batch_id": batch.id},
                )
                answer = PostAnswer(
                    Posted.UNCERTAIN,
                    type(error).__name__,
                    is_of_this_batch=True,
                    may_be_on_its_way=True,
                )
            chunk.answers[batch.id] = answer
            if _is_out_of_reach(answer):
                chunk.failure = answer.reason

        # The first alone: a ledger that is out of reach is asked once.
        for batch in counted[:1]:
            post(batch)
        with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE) as pool:
            list(pool.map(post, counted[1:]))
        results = [self._result(batch, chunk.answers.get(batch.id)) for batch in counted]
        if results:
            with self.database.transaction() as session:
                store_results(session, leases, results)
        return chunk.failure

    def _result(self, batch: Row[Any], answer: PostAnswer | None) -> PostResult:
        answer = answer or PostAnswer(Posted.UNARRIVED, "it was not sent")
        outcome, reason = answer.outcome, answer.reason
        if outcome is Posted.ACCEPTED:
            delay_s = backoff_s(self.settings.ledger_poll_delay, 1)
        elif outcome is Posted.REFUSED:
            BATCH_ALERTS.labels("refused").inc()
            log.error(
                "The ledger refuses a batch: %s",
                reason,
                extra={"event": "ledger.batch_refused", "batch_id": batch.id},
            )
            # Status and state decide what the refusal means: at once, where no other POST may have
            # arrived; else the same bytes may have to be posted again, and not in a hurry.
            first = batch.posts == batch.refused_posts + batch.unarrived_posts
            delay_s = 0.0 if first else self.retry_delay_s(batch)
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


def refused_throughout(batch: Row[Any]) -> bool:
    """Whether each POST that may have arrived was refused for good, and there was one."""
    arrived = batch.posts - batch.unarrived_posts
    return bool(arrived > 0 and arrived == batch.refused_posts)


def _is_out_of_reach(answer: PostAnswer) -> bool:
    unclear = answer.outcome in {Posted.UNARRIVED, Posted.UNCERTAIN}
    return unclear and not answer.is_of_this_batch
