"""Asks what became of posted batches, and acts on the answers (contract: peers, The ledger).

A batch that fails never stops the others: the failure is logged, and the batch is tried again later.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from origin.batches.client.ledger import LedgerClient, StatusAnswer
from origin.batches.queries.differences import GgoDifference, store_differences
from origin.batches.queries.operations import operations_on
from origin.batches.queries.outcomes import complete_batches, decline_batch
from origin.batches.queries.queue import ClaimedBatch, lock_unless_posted, note
from origin.batches.rules.differences import spent_elsewhere
from origin.batches.rules.ledger_state import LedgerGgo
from origin.batches.rules.standing import Operation, spent_by
from origin.batches.rules.verdicts import BatchStatus, Verdict, judge, needs_state
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

Batches = Sequence[ClaimedBatch]
Answers = Mapping[str, StatusAnswer]
"""By the ledger's batch id."""


@dataclass(frozen=True)
class Follower:
    """Follows posted batches on the ledger.

    :ivar poll_delay_s: LEDGER_POLL_DELAY.
    """

    database: Database
    ledger: LedgerClient
    batch_poster: BatchPoster
    batch_redo: BatchRedo
    outbox: Outbox
    poll_delay_s: float

    def follow(
        self, batches: Batches, deadline: Deadline, delays_s: dict[int, float]
    ) -> tuple[bool, list[ClaimedBatch]]:
        """Follow some claimed batches one step.

        :param delays_s: Filled with the seconds until each batch that has not ended is due, by id.
        :returns: False if the ledger is out of reach; and the batches whose bytes are to be posted
            again.
        """
        run = _Run(self, deadline, delays_s)
        is_reachable = run.follow(batches)
        return is_reachable, run.to_repost


class _Run:
    """Follows batches once. Methods that return a bool return False if the ledger is out of reach."""

    def __init__(self, service: Follower, deadline: Deadline, delays_s: dict[int, float]) -> None:
        self._service = service
        self._deadline = deadline
        self._delays_s = delays_s
        self.to_repost: list[ClaimedBatch] = []

    def follow(self, batches: Batches) -> bool:
        """Ask for the batches' statuses in one call, and act on them."""
        if not batches:
            return True
        try:
            answers = self._service.ledger.statuses([batch.ledger_batch_id for batch in batches])
        except PeerUnavailable as error:
            self._note_out_of_reach(batches, error)
            return False
        except PeerError as error:
            BATCH_ALERTS.labels("odd_statuses").inc()
            log.error(  # noqa: TRY400 - the ledger is at fault
                "Unexpected statuses: %s",
                error,
                extra={"event": "ledger.odd_statuses", "batches": len(batches)},
            )
            for batch in batches:
                self._wait(batch)
            return True
        return self._act_on(batches, answers)

    def _act_on(self, batches: Batches, answers: Answers) -> bool:
        """Act on statuses; ask for the ledger's state where a status alone does not decide."""
        self._complete(
            [batch for batch in batches if _status(answers, batch) is BatchStatus.COMMITTED]
        )
        undecided = []
        for batch in batches:
            status = _status(answers, batch)
            if status is None:
                self._alert(batch, "ledger.odd_status", "the ledger gave no status that is known")
            elif needs_state(status, is_stuck=batch.is_stuck):
                undecided.append(batch)
            elif status is BatchStatus.PENDING:
                self._wait(batch)
        return self._decide_all(undecided, answers)

    def _decide_all(self, batches: Batches, answers: Answers) -> bool:
        """Decide these batches by the ledger's state, until the deadline."""
        if not batches:
            return True
        with self._service.database.reading() as session:
            operations = operations_on(session, [batch.ggo_id for batch in batches])
        for index, batch in enumerate(batches):
            if self._deadline.is_over():
                # The rest is due again at once.
                return True
            try:
                self._decide(batch, answers[batch.ledger_batch_id], operations[batch.ggo_id])
            except PeerUnavailable as error:
                self._note_out_of_reach(batches[index:], error)
                return False
            except PeerError as error:
                self._alert(batch, "ledger.odd_state", str(error))
            except Exception as error:
                if affects_all_work(error):
                    raise
                BATCH_ALERTS.labels("cannot_judge").inc()
                log.exception(
                    "A batch can't be judged",
                    extra={"event": "batch.cannot_judge", "batch_id": batch.id},
                )
                self._wait(batch)
        return True

    def _decide(self, batch: ClaimedBatch, answer: StatusAnswer, operation: Operation) -> None:
        """Decide a batch by the ledger's state.

        :raises PeerError: the ledger can't say now, or its state is not as expected.
        """
        ledger = self._service.ledger
        source = ledger.read_ggo(operation.source)
        verdict = judge(
            answer.status,
            spent_by(operation, source, ledger),
            refused=batch.is_refused_throughout,
            none_on_its_way=batch.none_on_its_way,
        )
        if verdict is Verdict.COMPLETE:
            self._complete([batch])
        elif verdict is Verdict.DECLINE:
            self._decline(batch, answer.reason)
        elif verdict is Verdict.DECLINE_SPENT:
            assert source is not None
            self._decline_spent(batch, answer.reason, source)
        elif verdict is Verdict.POST:
            self.to_repost.append(batch)
        elif verdict is Verdict.WAIT:
            log.info(
                "The ledger says %s, and the batch can't be ended yet",
                answer.status.value,
                extra={"event": "batch.undecided", "batch_id": batch.id},
            )
            self._wait(batch)
        else:
            self._alert(batch, "ledger.odd_state", "the ledger's state contradicts itself")

    def _complete(self, batches: Batches) -> None:
        """Complete batches together; if that fails, one by one, so that one can't stop the others."""
        if not batches:
            return
        if len(batches) > 1 and self._try_to_end(batches, partial(_complete, batches)):
            return
        for batch in batches:
            if self._deadline.is_over():
                return
            if not self._try_to_end([batch], partial(_complete, [batch])):
                self._wait(batch)

    def _decline(self, batch: ClaimedBatch, reason: str) -> None:
        if not self._try_to_end([batch], partial(_decline, batch, reason)):
            self._wait(batch)

    def _decline_spent(self, batch: ClaimedBatch, reason: str, source: LedgerGgo) -> None:
        """Decline a batch whose source another operation has spent.

        That may have been an earlier batch of ours, which was declined and which the ledger executed
        all the same. It is done again, if possible; else the source is blocked.
        """
        earlier = self._service.batch_redo.find_standing(batch.ggo_id, source, self._service.ledger)
        found = GgoDifference(batch.ggo_id, source.address, spent_elsewhere(source.next), batch.id)
        end = partial(_decline_spent, batch, reason, found)
        if earlier is not None and self._try_to_end([batch], partial(end, earlier)):
            return
        if not self._try_to_end([batch], partial(end, None)):
            self._wait(batch)

    def _try_to_end(self, batches: Batches, end: Callable[[Session], None]) -> bool:
        """Run `end` in a transaction; return False if these batches make it fail.

        :raises Exception: an error that would meet every batch, as when the database is away.
        """
        try:
            with self._service.outbox.transaction() as session:
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

    def _alert(self, batch: ClaimedBatch, event: str, message: str) -> None:
        """Alert the operators, note it in the batch's history, and ask again later."""
        BATCH_ALERTS.labels("needs_a_look").inc()
        log.error(
            "Batch needs attention: %s", message, extra={"event": event, "batch_id": batch.id}
        )
        with self._service.database.transaction() as session:
            note(session, [(batch.id, event, message[:1000])])
        self._wait(batch)

    def _wait(self, batch: ClaimedBatch) -> None:
        """Ask again later; the delay grows with the attempts."""
        self._delays_s[batch.id] = backoff_s(self._service.poll_delay_s, batch.attempts)

    def _note_out_of_reach(self, batches: Batches, error: PeerError) -> None:
        log.warning(
            "The ledger is out of reach: %s",
            error,
            extra={"event": "ledger.unreachable", "waiting": len(batches)},
        )
        for batch in batches:
            self._delays_s[batch.id] = self._service.batch_poster.retry_delay_s(batch)


def _status(answers: Answers, batch: ClaimedBatch) -> BatchStatus | None:
    answer = answers.get(batch.ledger_batch_id)
    return answer.status if answer else None


def _complete(batches: Batches, session: Session) -> None:
    ended = complete_batches(session, [batch.id for batch in batches])
    if ended:
        BATCHES_ENDED.labels("COMPLETED").inc(len(ended))
        log.info("Batches completed", extra={"event": "batch.completed", "batch_ids": ended})


def _decline(batch: ClaimedBatch, reason: str, session: Session) -> None:
    if lock_unless_posted(session, batch) and decline_batch(session, batch.id, reason):
        BATCHES_ENDED.labels("DECLINED").inc()
        log.warning(
            "Batch declined: %s", reason, extra={"event": "batch.declined", "batch_id": batch.id}
        )


def _decline_spent(
    batch: ClaimedBatch, reason: str, found: GgoDifference, earlier: int | None, session: Session
) -> None:
    """Decline a batch; and do an earlier batch again, or block the source and report it."""
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
