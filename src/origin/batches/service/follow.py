"""Asks what became of posted batches, and acts on the answers (contract: peers, The ledger)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from origin.batches.client.ledger import LedgerClient, StatusAnswer
from origin.batches.queries.queue import ClaimedBatch
from origin.batches.rules.standing import Spending, spent_by
from origin.batches.rules.verdicts import BatchStatus, Verdict, judge, may_be_executed, needs_state
from origin.batches.service.carry_out import Judgement, VerdictRun, Verdicts
from origin.errors import PeerError, PeerUnavailable
from origin.shared.deadlines import Deadline
from origin.telemetry.metrics import BATCH_ALERTS

log = logging.getLogger(__name__)

Batches = Sequence[ClaimedBatch]
Answers = Mapping[str, StatusAnswer]
"""By the ledger's batch id."""


@dataclass(frozen=True)
class Follower:
    """Follows posted batches on the ledger."""

    ledger: LedgerClient
    verdicts: Verdicts

    def follow(
        self, batches: Batches, deadline: Deadline, delays_s: dict[int, float]
    ) -> tuple[bool, list[ClaimedBatch]]:
        """Follow some claimed batches one step: ask for their statuses in one call, and act on them.

        :param delays_s: Filled with the seconds until each batch that has not ended is due, by id.
        :returns: whether the ledger is in reach, and the batches whose bytes are to be posted again.
        """
        if not batches:
            return True, []
        run = VerdictRun(self.verdicts, deadline, delays_s)
        try:
            answers = self.ledger.statuses([batch.ledger_batch_id for batch in batches])
        except PeerUnavailable as error:
            run.note_out_of_reach(batches, error)
            return False, []
        except PeerError as error:
            BATCH_ALERTS.labels("odd_statuses").inc()
            log.error(  # noqa: TRY400 - the ledger is at fault
                "Unexpected statuses: %s",
                error,
                extra={"event": "ledger.odd_statuses", "batches": len(batches)},
            )
            for batch in batches:
                run.wait(batch)
            return True, []
        is_reachable = self._act_on(run, batches, answers)
        return is_reachable, [batch for batch in batches if batch.id in run.to_send]

    def _act_on(self, run: VerdictRun, batches: Batches, answers: Answers) -> bool:
        """Act on statuses; ask for the ledger's state where a status alone does not decide.

        :returns: False if the ledger is out of reach.
        """
        run.complete(
            [batch for batch in batches if _status(answers, batch) is BatchStatus.COMMITTED]
        )
        undecided = []
        for batch in batches:
            status = _status(answers, batch)
            if status is None:
                run.alert(batch, "ledger.odd_status", "the ledger gave no status that is known")
            elif needs_state(status, is_stuck=batch.is_stuck):
                undecided.append(batch)
            elif status is BatchStatus.PENDING:
                run.wait(batch)
        return run.judge_all(undecided, partial(self._judge, answers))

    def _judge(self, answers: Answers, batch: ClaimedBatch, spending: Spending) -> Judgement:
        """Judge a batch by the ledger's status and state.

        :raises PeerError: the ledger can't say now, or its state is not as expected.
        """
        answer = answers[batch.ledger_batch_id]
        source = self.ledger.read_ggo(spending.source)
        verdict = judge(
            answer.status,
            spent_by(spending, source, self.ledger),
            refused=batch.is_refused_throughout,
            none_on_its_way=batch.none_on_its_way,
        )
        if verdict is Verdict.DECLINE and self._original_may_be_executed(batch):
            verdict = Verdict.WAIT
        return Judgement(verdict, answer.reason, spending, source)

    def _original_may_be_executed(self, batch: ClaimedBatch) -> bool:
        """Whether the ledger may execute the original service's batch, which has the same parts."""
        if not batch.original_batch_id:
            return False
        answer = self.ledger.statuses([batch.original_batch_id]).get(batch.original_batch_id)
        return may_be_executed(None if answer is None else answer.status)


def _status(answers: Answers, batch: ClaimedBatch) -> BatchStatus | None:
    answer = answers.get(batch.ledger_batch_id)
    return answer.status if answer else None
