"""Carries out verdicts on batches: ends a batch, or sets when it is looked at again.

A batch that fails never stops the others: the failure is logged, and the batch is tried again later.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from origin.batches.client.ledger import LedgerClient
from origin.batches.queries.differences import GgoDifference, store_differences
from origin.batches.queries.outcomes import complete_batches, decline_batch
from origin.batches.queries.queue import LiveBatch, add_events, lock_unless_posted
from origin.batches.queries.spendings import spendings_of
from origin.batches.rules.differences import not_on_ledger, spent_elsewhere
from origin.batches.rules.ledger_state import LedgerGgo
from origin.batches.rules.standing import Spending
from origin.batches.rules.verdicts import Verdict
from origin.batches.service import redo
from origin.batches.service.post import BatchPoster
from origin.batches.service.redo import BatchRedo
from origin.db.engine import Database
from origin.db.sqlstates import affects_all_work
from origin.errors import PeerError, PeerUnavailable
from origin.shared.deadlines import Deadline
from origin.shared.retries import backoff_s
from origin.telemetry.metrics import BATCH_ALERTS, BATCHES_ENDED
from origin.webhooks.service.outbox import Outbox

log = logging.getLogger(__name__)

Batches = Sequence[LiveBatch]
B = TypeVar("B", bound=LiveBatch)


@dataclass(frozen=True)
class Judgement:
    """A verdict, and what it rests on.

    :ivar reason: The ledger's reason, if it refused the batch.
    :ivar spending: What the batch does.
    :ivar source: The source in the ledger's state; None: nothing is at its address.
    """

    verdict: Verdict
    reason: str
    spending: Spending
    source: LedgerGgo | None


@dataclass(frozen=True)
class Verdicts:
    """What carrying out verdicts needs.

    :ivar poll_delay_s: LEDGER_POLL_DELAY.
    """

    database: Database
    ledger: LedgerClient
    batch_poster: BatchPoster
    batch_redo: BatchRedo
    outbox: Outbox
    poll_delay_s: float


class VerdictRun:
    """Judges claimed batches one by one, and carries out the verdicts.

    :param deadline: Batches that are not reached by then are left as they are.
    :param delays_s: Filled with the seconds until each batch that has not ended is due, by id.
    """

    def __init__(self, tools: Verdicts, deadline: Deadline, delays_s: dict[int, float]) -> None:
        self._tools = tools
        self._deadline = deadline
        self._delays_s = delays_s
        self.to_send: set[int] = set()
        """The ids of the batches whose verdict is POST or SIGN."""

    def judge_all(self, batches: Sequence[B], judge: Callable[[B, Spending], Judgement]) -> bool:
        """Judge these batches by the ledger's state, and carry the verdicts out.

        :param judge: Returns the judgement. May raise PeerError: the ledger can't say now, or its
            state is not as expected.
        :returns: False if the ledger is out of reach.
        """
        if not batches:
            return True
        with self._tools.database.reading() as session:
            spendings = spendings_of(session, [batch.ggo_id for batch in batches])
        for index, batch in enumerate(batches):
            if self._deadline.is_over():
                # The rest is due again at once.
                return True
            try:
                self._carry_out(batch, judge(batch, spendings[batch.ggo_id]))
            except PeerUnavailable as error:
                self.note_out_of_reach(batches[index:], error)
                return False
            except PeerError as error:
                self.alert(batch, "ledger.odd_state", str(error))
            except Exception as error:
                if affects_all_work(error):
                    raise
                BATCH_ALERTS.labels("cannot_judge").inc()
                log.exception(
                    "A batch can't be judged",
                    extra={"event": "batch.cannot_judge", "batch_id": batch.id},
                )
                self.wait(batch)
        return True

    def _carry_out(self, batch: LiveBatch, judgement: Judgement) -> None:
        verdict = judgement.verdict
        if verdict is Verdict.COMPLETE:
            self.complete([batch])
        elif verdict is Verdict.DECLINE:
            self._decline(batch, judgement.reason)
        elif verdict is Verdict.DECLINE_SPENT:
            assert judgement.source is not None
            self._decline_spent(batch, judgement.reason, judgement.source)
        elif verdict in {Verdict.POST, Verdict.SIGN}:
            self.to_send.add(batch.id)
        elif verdict is Verdict.REPORT_ABSENT:
            self._report_absent(batch, judgement.spending)
        elif verdict is Verdict.WAIT:
            log.info(
                "The batch can't be ended yet",
                extra={"event": "batch.undecided", "batch_id": batch.id},
            )
            self.wait(batch)
        else:
            self.alert(batch, "ledger.odd_state", "the ledger's state contradicts itself")

    def complete(self, batches: Batches) -> None:
        """Complete batches together; if that fails, one by one, so that one can't stop the others."""
        if not batches:
            return
        if len(batches) > 1 and self._try_to_end(batches, partial(_store_completed, batches)):
            return
        for batch in batches:
            if self._deadline.is_over():
                return
            if not self._try_to_end([batch], partial(_store_completed, [batch])):
                self.wait(batch)

    def _decline(self, batch: LiveBatch, reason: str) -> None:
        if not self._try_to_end([batch], partial(_store_declined, batch, reason)):
            self.wait(batch)

    def _decline_spent(self, batch: LiveBatch, reason: str, source: LedgerGgo) -> None:
        """Decline a batch whose source something else has spent.

        It may be an earlier batch of ours, which was declined and which the ledger
        executed all the same. That one is done again, if possible; else the source is blocked.
        """
        earlier = self._tools.batch_redo.find_standing(batch.ggo_id, source, self._tools.ledger)
        found = GgoDifference(batch.ggo_id, source.address, spent_elsewhere(source.next), batch.id)
        end = partial(_store_spent_elsewhere, batch, reason, found)
        if earlier is not None and self._try_to_end([batch], partial(end, earlier)):
            return
        if not self._try_to_end([batch], partial(end, None)):
            self.wait(batch)

    def _report_absent(self, batch: LiveBatch, spending: Spending) -> None:
        """Report a batch that nobody can execute: the ledger does not have its source."""
        found = GgoDifference(
            batch.ggo_id, spending.source, not_on_ledger(spending.amount), batch.id
        )
        with self._tools.database.transaction() as session:
            store_differences(session, [found])
        BATCH_ALERTS.labels("source_not_on_ledger").inc()
        log.error(
            "Batch needs attention: the ledger does not have its source",
            extra={
                "event": "batch.source_not_on_ledger",
                "batch_id": batch.id,
                "ggo_id": batch.ggo_id,
            },
        )
        self.wait(batch)

    def _try_to_end(self, batches: Batches, end: Callable[[Session], None]) -> bool:
        """Run `end` in a transaction; return False if these batches make it fail.

        :raises Exception: an error that would meet every batch, as when the database is away.
        """
        try:
            with self._tools.outbox.transaction() as session:
                end(session)
        except Exception as error:
            if affects_all_work(error):
                raise
            BATCH_ALERTS.labels("cannot_end").inc()
            log.exception(
                "Batches can't be ended",
                extra={"event": "batch.cannot_end", "batch_ids": [each.id for each in batches]},
            )
            return False
        return True

    def alert(self, batch: LiveBatch, event: str, message: str) -> None:
        """Alert the operators, note it in the batch's history, and ask again later."""
        BATCH_ALERTS.labels("needs_a_look").inc()
        log.error(
            "Batch needs attention: %s", message, extra={"event": event, "batch_id": batch.id}
        )
        with self._tools.database.transaction() as session:
            add_events(session, [(batch.id, event, message[:1000])])
        self.wait(batch)

    def wait(self, batch: LiveBatch) -> None:
        """Ask again later; the delay grows with the attempts."""
        self._delays_s[batch.id] = backoff_s(self._tools.poll_delay_s, batch.attempts)

    def note_out_of_reach(self, batches: Batches, error: PeerError) -> None:
        """Log that the ledger is out of reach, and try these batches again later."""
        log.warning(
            "The ledger is out of reach: %s",
            error,
            extra={"event": "ledger.unreachable", "waiting": len(batches)},
        )
        for batch in batches:
            self._delays_s[batch.id] = self._tools.batch_poster.retry_delay_s(batch)


def _store_completed(batches: Batches, session: Session) -> None:
    ended = complete_batches(session, [batch.id for batch in batches])
    if ended:
        BATCHES_ENDED.labels("COMPLETED").inc(len(ended))
        log.info("Batches completed", extra={"event": "batch.completed", "batch_ids": ended})


def _store_declined(batch: LiveBatch, reason: str, session: Session) -> None:
    if lock_unless_posted(session, batch) and decline_batch(session, batch.id, reason):
        BATCHES_ENDED.labels("DECLINED").inc()
        log.warning(
            "Batch declined: %s", reason, extra={"event": "batch.declined", "batch_id": batch.id}
        )


def _store_spent_elsewhere(
    batch: LiveBatch, reason: str, found: GgoDifference, earlier: int | None, session: Session
) -> None:
    """Decline a batch. Then do an earlier batch again; without one, block and report the source."""
    if not lock_unless_posted(session, batch, earlier):
        return
    by = "another operation" if earlier is None else f"batch {earlier}, declined before,"
    why = f"{by} spent the source on the ledger"
    why = f"{why}; of this batch: {reason}" if reason else why
    if not decline_batch(session, batch.id, why, spent_elsewhere=earlier is None):
        return
    BATCHES_ENDED.labels("DECLINED").inc()
    if earlier is not None:
        if not redo.redo(session, earlier, batch.ggo_id):
            raise RuntimeError(f"batch {earlier} can't be done again")
        log.warning(
            "Batch declined: %s", why, extra={"event": "batch.declined", "batch_id": batch.id}
        )
        return
    store_differences(session, [found])
    BATCH_ALERTS.labels("spent_elsewhere").inc()
    log.error(
        "Batch declined, and its source blocked: %s; %s",
        why,
        found.difference.detail,
        extra={"event": "ledger.spent_otherwise", "batch_id": batch.id, "ggo_id": batch.ggo_id},
    )
