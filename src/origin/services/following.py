"""Asks what became of posted batches, and does what the answers mean (contract: peers, The ledger).

A batch that can't be dealt with never stops the others: it is logged, and tried again later.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from origin.clients.ledger import StatusAnswer
from origin.db.batch_queue import note
from origin.db.ledger import complete_batches, decline_batch
from origin.db.models import Batch, Ggo
from origin.db.sqlstates import is_everywhere
from origin.domain.keys import settlement_address
from origin.domain.retries import backoff_s
from origin.domain.settlement import BatchStatus, Verdict, judge, needs_state, spent
from origin.errors import PeerError, PeerUnavailable
from origin.runtime import Runtime
from origin.services import deliveries
from origin.services.deadlines import Deadline
from origin.services.posting import refused_throughout, retry_delay_s
from origin.telemetry.metrics import BATCH_ALERTS, BATCHES_ENDED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _SourceFacts:
    """What tells whether a batch's source was spent by that batch."""

    address: str
    targets: list[str]
    settlement: str | None


class Follower:
    """Follows some claimed batches one step.

    :param delays_s: Filled with the seconds until each that hasn't ended is due again, by id.

    `reposts` holds those whose bytes are to be posted again.
    """

    def __init__(self, runtime: Runtime, deadline: Deadline, delays_s: dict[int, float]) -> None:
        self._runtime = runtime
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
            answers = self._runtime.ledger.statuses([batch.ledger_batch_id for batch in batches])
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
            elif status is BatchStatus.PENDING:
                self._wait(batch)
            elif needs_state(status):
                unclear.append(batch)
        return self._settle_all(unclear, answers)

    def _settle_all(self, batches: Sequence[Row[Any]], answers: dict[str, StatusAnswer]) -> bool:
        facts = self._source_facts(batches)
        for index, batch in enumerate(batches):
            if self._deadline.is_over():
                # The rest is due again at once.
                return True
            try:
                self._settle(batch, answers[batch.ledger_batch_id], facts[batch.id])
            except PeerUnavailable as error:
                self._out_of_reach(batches[index:], error)
                return False
            except PeerError as error:
                self._alert(batch, "ledger.odd_state", str(error))
        return True

    def _settle(self, batch: Row[Any], answer: StatusAnswer, facts: _SourceFacts) -> None:
        """Let the ledger's state decide.

        :raises PeerError: the ledger can't say now, or says what can't be.
        """
        following = self._runtime.ledger.ggo_next(facts.address)
        source = spent(following, facts.targets, facts.settlement)
        verdict = judge(answer.status, source, refused=refused_throughout(batch))
        if verdict is Verdict.COMPLETE:
            self._complete([batch])
        elif verdict is Verdict.DECLINE:
            self._decline(batch, answer.reason)
        elif verdict is Verdict.POST:
            self.reposts.append(batch)
        else:
            told = "the ledger says that another operation spent the source"
            if answer.reason:
                told = f"{told}; of this batch: {answer.reason}"
            self._alert(batch, "ledger.spent_otherwise", told)

    def _source_facts(self, batches: Sequence[Row[Any]]) -> dict[int, _SourceFacts]:
        if not batches:
            return {}
        source_ids = [batch.ggo_id for batch in batches]
        with self._runtime.database.reading() as session:
            sources = {
                ggo.id: ggo
                for ggo in session.execute(
                    select(Ggo.id, Ggo.address, Ggo.retire_address).where(Ggo.id.in_(source_ids))
                )
            }
            targets = defaultdict(list)
            for parent_id, address in session.execute(
                select(Ggo.parent_id, Ggo.address).where(Ggo.parent_id.in_(source_ids))
            ):
                targets[parent_id].append(address)
        facts = {}
        for batch in batches:
            source = sources[batch.ggo_id]
            retired_to = source.retire_address
            facts[batch.id] = _SourceFacts(
                source.address,
                targets[source.id],
                settlement_address(retired_to) if retired_to else None,
            )
        return facts

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

    def _ended(self, batches: Sequence[Row[Any]], end: Callable[[Session], None]) -> bool:
        """Run what ends these in a transaction; False where it fails for what they are."""
        try:
            with deliveries.transaction(self._runtime) as session:
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
        with self._runtime.database.transaction() as session:
            note(session, [(batch.id, event, told[:1000])])
        self._wait(batch)

    def _wait(self, batch: Row[Any]) -> None:
        """Ask again later, the later the longer it takes."""
        first = self._runtime.settings.ledger_poll_delay
        self._delays_s[batch.id] = backoff_s(first, batch.attempts)

    def _out_of_reach(self, batches: Sequence[Row[Any]], error: PeerError) -> None:
        log.warning(
            "The ledger is out of reach: %s",
            error,
            extra={"event": "ledger.unreachable", "waiting": len(batches)},
        )
        for batch in batches:
            self._delays_s[batch.id] = retry_delay_s(self._runtime, batch)


def _status(answers: dict[str, StatusAnswer], batch: Row[Any]) -> BatchStatus | None:
    answer = answers.get(batch.ledger_batch_id)
    return answer.status if answer else None


def _completed(batches: Sequence[Row[Any]], session: Session) -> None:
    ended = complete_batches(session, [batch.id for batch in batches])
    if ended:
        BATCHES_ENDED.labels("COMPLETED").inc(len(ended))
        log.info("Batches completed", extra={"event": "batch.completed", "batch_ids": ended})


def _declined(batch: Row[Any], reason: str, session: Session) -> None:
    # A POST that another has begun since may be taken: the refusal is then of yesterday.
    latest = select(Batch.id).where(Batch.id == batch.id, Batch.posts == batch.posts)
    if session.scalar(latest.with_for_update()) is None:
        return
    if decline_batch(session, batch.id, reason):
        BATCHES_ENDED.labels("DECLINED").inc()
        log.warning(
            "Batch declined: %s", reason, extra={"event": "batch.declined", "batch_id": batch.id}
        )
