"""Asks what became of posted batches, and does what the answers mean (contract: peers, The ledger).

A batch that can't be dealt with never stops the others: it is logged, and tried again later.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from origin.batches.client.ledger import LedgerClient, StatusAnswer
from origin.batches.queries.differences import GgoDifference, store_differences
from origin.batches.queries.operations import operations_on
from origin.batches.queries.outcomes import complete_batches, decline_batch
from origin.batches.queries.queue import note
from origin.batches.rules.differences import spent_elsewhere
from origin.batches.rules.ledger_state import LedgerGgo
from origin.batches.rules.standing import Operation, spent_by
from origin.batches.rules.verdicts import BatchStatus, Verdict, judge, needs_state
from origin.batches.service import redo
from origin.batches.service.post import BatchPoster, refused_throughout
from origin.batches.service.redo import BatchRedo
from origin.db.engine import Database
from origin.db.models import Batch
from origin.db.sqlstates import is_everywhere
from origin.errors import PeerError, PeerUnavailable
from origin.settings import Settings
from origin.shared.deadlines import Deadline
from origin.shared.retries import backoff_s
from origin.telemetry.metrics import BATCH_ALERTS, BATCHES_ENDED
from origin.webhooks.service.outbox import Outbox

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Follower:
    """Follows posted batches on the ledger."""

    database: Database
    ledger: LedgerClient
    batch_poster: BatchPoster
    batch_redo: BatchRedo
    outbox: Outbox
    settings: Settings

    def follow(
        self, batches: Sequence[Row[Any]], deadline: Deadline, delays_s: dict[int, float]
    ) -> tuple[bool, list[Row[Any]]]:
        """Follow some claimed batches one step.

        :param delays_s: Filled with the seconds until each batch that has not ended is due, by id.
        :returns: False if the ledger is out of reach; and the batches whose bytes are to be posted
            again.
        """
        run = _Run(self, deadline, delays_s)
        is_reachable = run.follow(batches)
        return is_reachable, run.reposts


class _Run:
    def __init__(self, service: Follower, deadline: Deadline, delays_s: dict[int, float]) -> None:
        self._service = service
        self._deadline = deadline
        self._delays_s = delays_s
        self.reposts: list[Row[Any]] = []

    def follow(self, batches: Sequence[Row[Any]]) -> bool:
        """Ask about these in one call, and do what the answers mean.

        :returns: False where the ledger is out of reach.
        """
        if not batches:
            return True
        try:
            answers = self._service.ledger.statuses([batch.ledger_batch_id for batch in batches])
        except PeerUnavailable as error:
            self._out_of_reach(batches, error)
            return False
        except PeerError as error:
            BATCH_ALERTS.labels("odd_statuses").inc()
            log.error(  # noqa: TRY400 - the peer's doing, not ours
                "Odd statuses: %s",
                error,
                extra={"event": "ledger.odd_statuses", "batches": len(batches)},
            )
            for batch in batches:
                self._wait(batch)
            return True
        self._complete(
            [batch for batch in batches if _status(answers, batch) is BatchStatus.COMMITTED]
        )
        unclear = []
        for batch in batches:
            status = _status(answers, batch)
            if status is None:
                self._alert(batch, "ledger.odd_status", "the ledger gave no status that is known")
            elif needs_state(status, is_stuck=batch.is_stuck):
                unclear.append(batch)
            elif status is BatchStatus.PENDING:
                self._wait(batch)
        return self._settle_all(unclear, answers)

    def _settle_all(self, batches: Sequence[Row[Any]], answers: dict[str, StatusAnswer]) -> bool:
        if not batches:
            return True
        with self._service.database.reading() as session:
            operations = operations_on(session, [batch.ggo_id for batch in batches])
        for index, batch in enumerate(batches):
            if self._deadline.is_over():
                # The rest is due again at once.
                return True
            try:
                self._settle(batch, answers[batch.ledger_batch_id], operations[batch.ggo_id])
            except PeerUnavailable as error:
                self._out_of_reach(batches[index:], error)
                return False
            except PeerError as error:
                self._alert(batch, "ledger.odd_state", str(error))
            except Exception as error:
                if is_everywhere(error):
                    raise
                BATCH_ALERTS.labels("cannot_judge").inc()
                log.exception(
                    "A batch can't be judged",
                    extra={"event": "batch.cannot_judge", "batch_id": batch.id},
                )
                self._wait(batch)
        return True

    def _settle(self, batch: Row[Any], answer: StatusAnswer, operation: Operation) -> None:
        """Let the ledger's state decide.

        :raises PeerError: the ledger can't say now, or says what can't be.
        """
        ledger = self._service.ledger
        source = ledger.read_ggo(operation.source)
        verdict = judge(
            answer.status,
            spent_by(operation, source, ledger),
            refused=refused_throughout(batch),
            none_on_its_way=batch.none_on_its_way,
        )
        if verdict is Verdict.COMPLETE:
            self._complete([batch])
        elif verdict is Verdict.DECLINE:
            self._decline(batch, answer.reason)
        elif verdict is Verdict.DECLINE_SPENT:
            assert source is not None
            self._decline_spent(batch, answer.reason, operation.source, source)
        elif verdict is Verdict.POST:
            self.reposts.append(batch)
        elif verdict is Verdict.WAIT:
            log.info(
                "The ledger says %s, and the batch can't be ended yet",
                answer.status.value,
                extra={"event": "batch.undecided", "batch_id": batch.id},
            )
            self._wait(batch)
        else:
            self._alert(batch, "ledger.odd_state", "the ledger's state contradicts itself")

    def _complete(self, batches: Sequence[Row[Any]]) -> None:
        """Commit them together; where that fails, one by one, so that one can't stop the others."""
        if not batches:
            return
        if len(batches) > 1 and self._ended(batches, partial(_completed, batches)):
            return
        for batch in batches:
            if self._deadline.is_over():
                return
            if not self._ended([batch], partial(_completed, [batch])):
                self._wait(batch)

    def _decline(self, batch: Row[Any], reason: str) -> None:
        if not self._ended([batch], partial(_declined, batch, reason)):
            self._wait(batch)

    def _decline_spent(self, batch: Row[Any], reason: str, address: str, source: LedgerGgo) -> None:
        """Decline a batch whose source another operation has spent.

        That may have been an earlier batch of ours, which was declined, and came to be all the same.
        """
        earlier = self._service.batch_redo.find_standing(batch.ggo_id, source, self._service.ledger)
        found = GgoDifference(batch.ggo_id, address, spent_elsewhere(source.next), batch.id)
        end = partial(_declined_as_spent, batch, reason, found)
        if earlier is not None and self._ended([batch], partial(end, earlier)):
            return
        # One that can't be done again, whatever is wrong with it, is told of as somebody else's.
        if not self._ended([batch], partial(end, None)):
            self._wait(batch)

    def _ended(self, batches: Sequence[Row[Any]], end: Callable[[Session], None]) -> bool:
        """Run what ends these in a transaction; False where it fails for what they are."""
        try:
            with self._service.outbox.transaction() as session:
                end(session)
        except Exception as error:
            if is_everywhere(error):
                raise
            BATCH_ALERTS.labels("cannot_end").inc()
            log.exception(
                "Batches can't be ended",
                extra={"event": "batch.cannot_end", "batch_ids": [each.id for each in batches]},
            )
            return False
        return True

    def _alert(self, batch: Row[Any], event: str, told: str) -> None:
        """Tell the operators, note it in the batch's history, and ask again later."""
        BATCH_ALERTS.labels("needs_a_look").inc()
        log.error("Batch needs a look: %s", told, extra={"event": event, "batch_id": batch.id})
        with self._service.database.transaction() as session:
            note(session, [(batch.id, event, told[:1000])])
        self._wait(batch)

    def _wait(self, batch: Row[Any]) -> None:
        """Ask again later, the later the longer it takes."""
        first = self._service.settings.ledger_poll_delay
        self._delays_s[batch.id] = backoff_s(first, batch.attempts)

    def _out_of_reach(self, batches: Sequence[Row[Any]], error: PeerError) -> None:
        log.warning(
            "The ledger is out of reach: %s",
            error,
            extra={"event": "ledger.unreachable", "waiting": len(batches)},
        )
        for batch in batches:
            self._delays_s[batch.id] = self._service.batch_poster.retry_delay_s(batch)


def _status(answers: dict[str, StatusAnswer], batch: Row[Any]) -> BatchStatus | None:
    answer = answers.get(batch.ledger_batch_id)
    return answer.status if answer else None


def _completed(batches: Sequence[Row[Any]], session: Session) -> None:
    ended = complete_batches(session, [batch.id for batch in batches])
    if ended:
        BATCHES_ENDED.labels("COMPLETED").inc(len(ended))
        log.info("Batches completed", extra={"event": "batch.completed", "batch_ids": ended})


def _declined(batch: Row[Any], reason: str, session: Session) -> None:
    if _is_as_it_was(session, batch) and decline_batch(session, batch.id, reason):
        BATCHES_ENDED.labels("DECLINED").inc()
        log.warning(
            "Batch declined: %s", reason, extra={"event": "batch.declined", "batch_id": batch.id}
        )


def _declined_as_spent(
    batch: Row[Any], reason: str, found: GgoDifference, earlier: int | None, session: Session
) -> None:
    """Decline this one; and do an earlier batch again, or block the source and tell it."""
    if not _is_as_it_was(session, batch, earlier):
        return
    by = "another operation" if earlier is None else f"batch {earlier}, declined before,"
    told = f"{by} spent the source on the ledger"
    told = f"{told}; of this batch: {reason}" if reason else told
    if not decline_batch(session, batch.id, told, spent_elsewhere=earlier is None):
        return
    BATCHES_ENDED.labels("DECLINED").inc()
    if earlier is not None:
        if not redo.redo(session, earlier, batch.ggo_id):
            raise RuntimeError(f"batch {earlier} can't be done again")
        log.warning(
            "Batch declined: %s", told, extra={"event": "batch.declined", "batch_id": batch.id}
        )
        return
    store_differences(session, [found])
    BATCH_ALERTS.labels("spent_elsewhere").inc()
    log.error(
        "Batch declined, and its source blocked: %s; %s",
        told,
        found.difference.detail,
        extra={"event": "ledger.spent_otherwise", "batch_id": batch.id, "ggo_id": batch.ggo_id},
    )


def _is_as_it_was(session: Session, batch: Row[Any], earlier: int | None = None) -> bool:
    """Whether nobody has posted it since; locked, as the earlier one is, in the order of ids.

    A POST that another has begun since may be taken: the refusal is then of yesterday.
    """
    ids = [batch.id] if earlier is None else [earlier, batch.id]
    rows = session.execute(
        select(Batch.id, Batch.posts).where(Batch.id.in_(ids)).order_by(Batch.id).with_for_update()
    )
    return (batch.id, batch.posts) in [tuple(row) for row in rows]
