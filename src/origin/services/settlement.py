"""Takes batches to the ledger and follows them to their end (contract: peers, The ledger).

Every step can be repeated, by this worker or another, after a crash anywhere: what was done is in
the database, and each change is guarded by the state that it leaves.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, func, select, update

from origin.clients.ledger import PostAnswer, Posted, StatusAnswer
from origin.db import queue
from origin.db.ledger import complete_batches, decline_batch
from origin.db.models import Batch, Ggo
from origin.domain.keys import settlement_address
from origin.domain.retries import JITTER, backoff_s
from origin.domain.settlement import BatchStatus, Verdict, judge, needs_state, spent
from origin.errors import PeerError
from origin.runtime import Runtime
from origin.services.signing import sign_missing
from origin.telemetry.metrics import BATCH_ALERTS, BATCHES_ENDED

CLAIM_LIMIT = 100
MAX_ROUNDS = 50
"""Rounds of claiming in one run, so that no task runs for ever."""

log = logging.getLogger(__name__)


def run_due(runtime: Runtime) -> int:
    """Take the batches that are due one step further: sign and post, or ask and settle.

    Ends when nothing is due, when the ledger is out of reach, or after `MAX_ROUNDS`.

    :returns: how many were worked on.
    """
    worked = 0
    for _ in range(MAX_ROUNDS):
        with runtime.database.transaction() as session:
            claimed = queue.claim(
                session, Batch, limit=CLAIM_LIMIT, lease_s=runtime.settings.lease_seconds
            )
        if not claimed:
            break
        worked += len(claimed)
        sign_missing(runtime, claimed)
        if not _Round(runtime, _load(runtime, claimed)).run():
            break
    if worked:
        # Jittered delays reach that far: a wake-up sooner would find some rows not due yet.
        delay_s = runtime.settings.ledger_poll_delay * (1 + JITTER)
        runtime.hints.batches_due(delay_s=delay_s)
    return worked


def _load(runtime: Runtime, batch_ids: Sequence[int]) -> list[Row[Any]]:
    with runtime.database.reading() as session:
        columns = (
            Batch.id,
            Batch.ggo_id,
            Batch.state,
            Batch.ledger_batch_id,
            Batch.signed_batch,
            Batch.posts,
            Batch.refused_posts,
            Batch.attempts,
        )
        return list(
            session.execute(
                select(*columns)
                .where(
                    Batch.id.in_(batch_ids),
                    Batch.ended_at.is_(None),
                    Batch.signed_batch.is_not(None),
                )
                .order_by(Batch.id)
            )
        )


@dataclass(frozen=True)
class _SourceFacts:
    """What tells whether a batch's source was spent by that batch."""

    address: str
    targets: list[str]
    settlement: str | None


class _Round:
    """One step for some claimed batches.

    :param batches: Rows as `_load` gives them, all signed.
    """

    def __init__(self, runtime: Runtime, batches: Sequence[Row[Any]]) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._batches = batches
        # Half the lease: what isn't reached by then goes back before another may claim it.
        self._deadline = time.monotonic() + self._settings.lease_seconds / 2
        self._delays_s: dict[int, float] = {}

    def run(self) -> bool:
        """Do the step.

        :returns: False where the ledger is out of reach, and going on makes no sense now.
        """
        fresh = [batch for batch in self._batches if batch.posts == 0]
        known = [batch for batch in self._batches if batch.posts > 0]
        try:
            reposts = self._follow(known) if known else []
            return self._post_all([*reposts, *fresh])
        except PeerError as error:
            self._retry_later(self._batches, str(error))
            return False
        finally:
            with self._runtime.database.transaction() as session:
                queue.reschedule(session, Batch, self._delays_s)

    def post_again(self) -> None:
        """Post all of them, whatever became of them so far."""
        self._post_all(self._batches)

    def _follow(self, batches: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Ask what became of batches that were posted, and do what the answers mean.

        :returns: those whose bytes are to be posted again.
        :raises PeerError: the ledger can't say now; nothing was changed.
        """
        answers = self._runtime.ledger.statuses([batch.ledger_batch_id for batch in batches])
        self._complete(
            [batch for batch in batches if _status(answers, batch) is BatchStatus.COMMITTED]
        )
        facts = self._source_facts(
            [batch for batch in batches if needs_state(_status(answers, batch))]
        )
        reposts = []
        for batch in batches:
            answer = answers.get(batch.ledger_batch_id)
            if answer is None:
                self._wait(batch, alert="the ledger gave no status that is known")
            elif answer.status is BatchStatus.PENDING:
                self._wait(batch)
            elif batch.id in facts and self._settle(batch, answer, facts[batch.id]):
                reposts.append(batch)
        return reposts

    def _settle(self, batch: Row[Any], answer: StatusAnswer, facts: _SourceFacts) -> bool:
        """Let the ledger's state decide.

        :returns: whether the batch is to be posted again.
        """
        try:
            following = self._runtime.ledger.ggo_next(facts.address)
        except PeerError as error:
            self._retry_later([batch], str(error))
            return False
        source = spent(following, facts.targets, facts.settlement)
        refused = batch.posts == batch.refused_posts
        verdict = judge(answer.status, source, refused=refused)
        if verdict is Verdict.COMPLETE:
            self._complete([batch])
        elif verdict is Verdict.DECLINE:
            self._decline(batch, answer.reason)
        elif verdict is Verdict.ALERT:
            self._wait(batch, alert="the ledger says that another operation spent the source")
        return verdict is Verdict.POST

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

    def _post_all(self, batches: Sequence[Row[Any]]) -> bool:
        """Post one after the other.

        :returns: False where the ledger is out of reach.
        """
        for index, batch in enumerate(batches):
            if time.monotonic() > self._deadline:
                # Given back at once.
                self._delays_s.update({later.id: 0 for later in batches[index:]})
                return True
            answer = self._post(batch)
            if answer is None or answer.outcome in {Posted.ACCEPTED, Posted.REFUSED}:
                continue
            if answer.is_of_this_batch:
                self._retry_later([batch], answer.reason)
                continue
            # The others would fare no better: they wait with this one.
            self._retry_later(batches[index:], answer.reason)
            return False
        return True

    def _post(self, batch: Row[Any]) -> PostAnswer | None:
        """Post one; None where another has ended or posted it meanwhile."""
        with self._runtime.database.transaction() as session:
            # Counted before it is sent: a crash in between must not make it look refused.
            counted = _update(batch.id).where(Batch.posts == batch.posts)
            counted = counted.values(posts=Batch.posts + 1).returning(Batch.id)
            if session.scalar(counted) is None:
                return None
        answer = self._runtime.ledger.post(batch.signed_batch)
        if answer.outcome is Posted.ACCEPTED:
            delay = backoff_s(self._settings.ledger_poll_delay, 1)
            values: dict[str, Any] = {
                "state": "SUBMITTED",
                "submitted_at": func.coalesce(Batch.submitted_at, func.now()),
                "attempts": 0,
                "next_attempt_at": func.now() + timedelta(seconds=delay),
            }
        elif answer.outcome is Posted.REFUSED:
            log.error("The ledger refuses a batch: %s", answer.reason, extra={"batch_id": batch.id})
            # Status and state decide what the refusal means: at once, where no other POST may
            # have arrived; else the same bytes may have to be posted again, and not in a hurry.
            wait = 0 if batch.posts == batch.refused_posts else self._submit_delay_s(batch)
            values = {
                "refused_posts": Batch.refused_posts + 1,
                "last_error": answer.reason,
                "next_attempt_at": func.now() + timedelta(seconds=wait),
            }
        else:
            return answer
        with self._runtime.database.transaction() as session:
            session.execute(_update(batch.id).values(values))
        return answer

    def _complete(self, batches: Sequence[Row[Any]]) -> None:
        if not batches:
            return
        with self._runtime.database.transaction() as session:
            ended = complete_batches(session, [batch.id for batch in batches])
        for batch_id in ended:
            BATCHES_ENDED.labels("COMPLETED").inc()
            log.info("Batch completed", extra={"batch_id": batch_id})

    def _decline(self, batch: Row[Any], reason: str) -> None:
        # A POST that another has begun since may be taken: the refusal is then of yesterday.
        latest = select(Batch.id).where(Batch.id == batch.id, Batch.posts == batch.posts)
        with self._runtime.database.transaction() as session:
            if session.scalar(latest.with_for_update()) is None:
                return
            ended = decline_batch(session, batch.id, reason)
        if ended:
            BATCHES_ENDED.labels("DECLINED").inc()
            log.warning("Batch declined: %s", reason, extra={"batch_id": batch.id})

    def _wait(self, batch: Row[Any], alert: str = "") -> None:
        """Ask again later, the later the longer it takes."""
        if alert:
            BATCH_ALERTS.labels("needs_a_look").inc()
            log.error("Batch needs a look: %s", alert, extra={"batch_id": batch.id})
        first = self._settings.ledger_poll_delay
        self._delays_s[batch.id] = backoff_s(first, batch.attempts)

    def _retry_later(self, batches: Sequence[Row[Any]], reason: str) -> None:
        """Try again later, the later the longer the ledger has been out of reach."""
        log.warning("Ledger: %s", reason, extra={"batches": len(batches)})
        for batch in batches:
            self._delays_s[batch.id] = self._submit_delay_s(batch)

    def _submit_delay_s(self, batch: Row[Any]) -> float:
        return backoff_s(self._settings.ledger_submit_retry_delay, batch.attempts)


def _status(answers: dict[str, StatusAnswer], batch: Row[Any]) -> BatchStatus | None:
    answer = answers.get(batch.ledger_batch_id)
    return answer.status if answer else None


def _update(batch_id: int) -> Any:
    """An UPDATE of a batch that hasn't ended."""
    return (
        update(Batch)
        .where(Batch.id == batch_id, Batch.ended_at.is_(None))
        .execution_options(synchronize_session=False)
    )


def resubmit_stuck(runtime: Runtime) -> int:
    """Tell the operators of batches that take overly long, and post their bytes again.

    :returns: how many there are.
    """
    count, last_id = 0, 0
    while stuck := _stuck(runtime, last_id):
        for batch_id in stuck:
            BATCH_ALERTS.labels("stuck").inc()
            log.error("Batch is stuck; posting it again", extra={"batch_id": batch_id})
        _Round(runtime, _load(runtime, stuck)).post_again()
        count, last_id = count + len(stuck), stuck[-1]
    return count


def _stuck(runtime: Runtime, last_id: int) -> Sequence[int]:
    """The next batches beyond this id that haven't ended for BATCH_RESUBMIT_AFTER."""
    oldest = timedelta(seconds=runtime.settings.batch_resubmit_after)
    with runtime.database.reading() as session:
        return session.scalars(
            select(Batch.id)
            .where(
                Batch.id > last_id,
                Batch.ended_at.is_(None),
                Batch.created_at < func.now() - oldest,
            )
            .order_by(Batch.id)
            .limit(CLAIM_LIMIT)
        ).all()
