"""Takes over batches of the original service that were in flight when they were adopted.

Their bytes are unknown. So the state of the source decides, then the status of the batch that the
original posted; see `origin.batches.rules.verdicts.judge_adopted`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from origin.batches.client.ledger import LedgerClient, StatusAnswer
from origin.batches.queries.queue import AdoptedBatch
from origin.batches.rules.standing import Operation, spent_by
from origin.batches.rules.verdicts import BatchStatus, SpentBy, judge_adopted
from origin.batches.service.carry_out import Judgement, VerdictRun, Verdicts
from origin.errors import PeerMisbehaved
from origin.shared.deadlines import Deadline

log = logging.getLogger(__name__)

_NEVER_POSTED = StatusAnswer(BatchStatus.UNKNOWN)
"""Of a batch that the original service had no answer to a POST for."""


@dataclass(frozen=True)
class TakeOver:
    """Finds out what became of adopted batches that are not signed here."""

    ledger: LedgerClient
    verdicts: Verdicts

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

    def _judge(self, batch: AdoptedBatch, operation: Operation) -> Judgement:
        """Judge a batch by the state of its source, and then by its status.

        :raises PeerError: the ledger can't say now, or its state is not as expected.
        """
        source = self.ledger.read_ggo(operation.source)
        spender = spent_by(operation, source, self.ledger)
        answer = _NEVER_POSTED
        if spender is SpentBy.NOBODY and batch.original_batch_id:
            answer = self._status(batch.original_batch_id)
            # The batch may have been committed since, and another attempt refused.
            if answer.status is BatchStatus.INVALID:
                source = self.ledger.read_ggo(operation.source)
                spender = spent_by(operation, source, self.ledger)
        verdict = judge_adopted(
            answer.status, spender, is_on_ledger=source is not None, is_stuck=batch.is_stuck
        )
        return Judgement(verdict, answer.reason, operation, source)

    def _status(self, batch_id: str) -> StatusAnswer:
        answer = self.ledger.statuses([batch_id]).get(batch_id)
        if answer is None:
            raise PeerMisbehaved("Ledger", "it gave no status that is known")
        return answer
