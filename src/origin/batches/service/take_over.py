"""Takes over batches of the original service that were in flight when they were adopted.

Their bytes are unknown. So the state of the source decides, then the status of the batch that the
original posted; see `origin.batches.rules.verdicts.judge_adopted`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from origin.batches.client.ledger import LedgerClient, StatusAnswer
from origin.batches.queries.outcomes import decline_batch
from origin.batches.queries.queue import AdoptedBatch, add_events, find_unsigned_adopted
from origin.batches.queries.spendings import spendings_of
from origin.batches.rules.standing import Spending, spent_by
from origin.batches.rules.verdicts import BatchStatus, SpentBy, judge_adopted, may_be_executed
from origin.batches.service.carry_out import Judgement, VerdictRun, Verdicts
from origin.errors import OriginError, PeerMisbehaved
from origin.shared.deadlines import Deadline

log = logging.getLogger(__name__)

_NEVER_POSTED = StatusAnswer(BatchStatus.UNKNOWN)
"""Of a batch that the original service had no answer to a POST for."""
_BY_OPERATOR = "an operator declined it: the ledger does not have its source"


class CannotDecline(OriginError):
    """An operator may not decline this batch; the text says why."""


@dataclass(frozen=True)
class TakeOver:
    """Finds out what became of adopted batches that are not signed here.

    :ivar ledger_enabled: LEDGER_ENABLED.
    """

    ledger: LedgerClient
    verdicts: Verdicts
    ledger_enabled: bool

    def judge_all(
        self, batches: Sequence[AdoptedBatch], deadline: Deadline, delays_s: dict[int, float]
    ) -> tuple[bool, list[int]]:
        """End those of these batches that the ledger decides by now.

        :param delays_s: Filled with the seconds until each batch that has not ended is due, by id.
        :returns: whether the ledger is in reach, and the ids of the batches to sign anew.
        """
        run = VerdictRun(self.verdicts, deadline, delays_s)
        is_reachable = run.judge_all(batches, self._judge)
        return is_reachable, sorted(run.to_send)

    def decline(self, batch_id: int) -> None:
        """Decline an adopted batch that nothing can execute, as an operator orders.

        Without the order it waits for ever: it is not signed, and the ledger does not have its
        source, or is switched off.

        :raises CannotDecline: it is not such a batch.
        :raises PeerError: the ledger can't say now.
        """
        database = self.verdicts.database
        with database.reading() as session:
            batch = find_unsigned_adopted(session, batch_id)
            if batch is None:
                raise CannotDecline("Only an adopted batch that is not signed can be declined")
            spending = spendings_of(session, [batch.ggo_id])[batch.ggo_id]
        if self.ledger_enabled and self.ledger.read_ggo(spending.source) is not None:
            raise CannotDecline("The ledger has the batch's source: it decides")
        if self.ledger_enabled and batch.original_batch_id:
            status = self._status(batch.original_batch_id).status
            if may_be_executed(status):
                raise CannotDecline(
                    f"The original's batch is {status.value} on the ledger: it decides"
                )
        with database.transaction() as session:
            if find_unsigned_adopted(session, batch_id, lock=True) is None:
                raise CannotDecline("The batch has been signed or has ended meanwhile")
            decline_batch(session, batch_id, _BY_OPERATOR)
            add_events(session, [(batch_id, "declined by an operator", "")])
        log.warning(
            "Batch declined: %s",
            _BY_OPERATOR,
            extra={"event": "batch.declined", "batch_id": batch_id},
        )

    def _judge(self, batch: AdoptedBatch, spending: Spending) -> Judgement:
        """Judge a batch by the state of its source, and then by its status.

        :raises PeerError: the ledger can't say now, or its state is not as expected.
        """
        source = self.ledger.read_ggo(spending.source)
        spender = spent_by(spending, source, self.ledger)
        answer = _NEVER_POSTED
        if spender is SpentBy.NOBODY and batch.original_batch_id:
            answer = self._status(batch.original_batch_id)
            # The batch may have been committed since, and another attempt refused.
            if answer.status is BatchStatus.INVALID:
                source = self.ledger.read_ggo(spending.source)
                spender = spent_by(spending, source, self.ledger)
        verdict = judge_adopted(
            answer.status, spender, is_on_ledger=source is not None, is_stuck=batch.is_stuck
        )
        return Judgement(verdict, answer.reason, spending, source)

    def _status(self, batch_id: str) -> StatusAnswer:
        answer = self.ledger.statuses([batch_id]).get(batch_id)
        if answer is None:
            raise PeerMisbehaved("Ledger", "it gave no status that is known")
        return answer
