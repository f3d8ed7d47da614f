"""Delivers webhooks to subscribers when they are due (contract: peers, Webhook receivers).

The deliveries of one subscription go one after the other; different subscriptions go side by side.
A failed delivery is tried again after WEBHOOK_RETRY_DELAY; those behind it do not wait for that.
Results are stored after the answer: if a worker dies in between, the webhook is sent again, never
lost.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from origin.db.engine import Database
from origin.keys.sealing import Sealer
from origin.shared.clock import utcnow
from origin.shared.retries import jittered
from origin.shared.thread_pools import ContextThreadPool
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import WEBHOOKS
from origin.webhooks.client.host_limits import PER_HOST, HostLimits
from origin.webhooks.client.receivers import ReceiverClient
from origin.webhooks.queries import delivery_queue, subscriptions
from origin.webhooks.queries.delivery_queue import AttemptResult, Release
from origin.webhooks.rules.deliveries import PAUSE_AFTER, Outcome, given_up_before
from origin.webhooks.service.claimed_queues import MAX_DELIVERIES, ClaimedQueue, QueueSender

MAX_QUEUES = 200
"""Delivery queues that one run works on at a time."""
MAX_RUN_S = 20.0
"""After this time a run claims no more, and ends when its deliveries in flight have ended."""
_TICK_S = 0.1
"""How long a result waits at most to be stored together with others."""
_CLAIM_EVERY_S = 1.0
"""How often a run looks for due queues while none of its own ends; wake-ups start further runs."""
_RENEW_EVERY_S = 1.0
"""How often leases are renewed at least: it also notices subscriptions that have ended."""
_KEEP_RESULTS_S = 300.0
"""How long a run that is over keeps results that a failing database does not store."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryRunner:
    """Delivers what is due to subscribers.

    :param retry_delay_s: WEBHOOK_RETRY_DELAY; it is jittered and does not grow.
    """

    database: Database
    wakeups: Wakeups
    host_limits: HostLimits
    receivers: ReceiverClient
    sealer: Sealer
    lease_s: float
    retry_delay_s: float

    def run_due(self) -> int:
        """Deliver until nothing is due or 20 s have passed.

        :returns: How many attempts were made.
        """
        with ContextThreadPool(MAX_QUEUES) as pool:
            run = _DeliveryRun(self, pool)
            try:
                return run.work()
            finally:
                run.stop()


class _DeliveryRun:
    """One run: claims queues, sends their deliveries in threads, stores the results in bulk.

    Only the run's own thread uses the database. Threads put results into `_results`, and queues
    into `_ended`.
    """

    def __init__(self, runner: DeliveryRunner, pool: ContextThreadPool) -> None:
        self._runner = runner
        self._pool = pool
        self._claim_id = uuid4()
        self._queues: dict[int, ClaimedQueue] = {}
        """All claimed queues by subscription id, until they are released."""
        self._results: SimpleQueue[tuple[int, AttemptResult]] = SimpleQueue()
        self._ended: SimpleQueue[ClaimedQueue] = SimpleQueue()
        self._queue_ended = threading.Event()
        self._unstored: dict[int, AttemptResult] = {}
        self._unreleased: dict[int, ClaimedQueue] = {}
        self._attempts = 0
        self._is_database_away = False
        self._sender = QueueSender(
            receivers=runner.receivers,
            host_limits=runner.host_limits,
            sealer=runner.sealer,
            retry_delay_s=runner.retry_delay_s,
            report=lambda delivery_id, result: self._results.put((delivery_id, result)),
        )
        now = time.monotonic()
        self._stop_at = now + MAX_RUN_S
        self._renew_at = now
        self._claim_at = now

    def work(self) -> int:
        """Deliver until nothing is due or in flight.

        :returns: How many attempts were made.
        """
        has_more = True
        while True:
            now = time.monotonic()
            # A delivery whose result is not stored yet would be found due, and sent again.
            if self._claim_at <= now < self._stop_at and not self._unstored:
                has_more = self._with_database(self._claim, otherwise=True)
            if not self._queues and (not has_more or now >= self._stop_at):
                break
            self._queue_ended.wait(_TICK_S)
            self._queue_ended.clear()
            if self._with_database(self._store, otherwise=False):
                self._claim_at = 0
            self._watch()
        if has_more:
            self._runner.wakeups.deliveries_due()
        return self._attempts

    def stop(self) -> None:
        """Begin no further delivery."""
        for queue in self._queues.values():
            queue.stop.set()

    def _with_database(self, step: Callable[[], bool], *, otherwise: bool) -> bool:
        """Do a step; if the database fails, keep the results and return `otherwise`.

        No further delivery is begun on the claimed queues then, as its result might get lost.

        :raises SQLAlchemyError: the database has failed for too long.
        """
        try:
            done = step()
        except (DBAPIError, PoolTimeoutError) as error:
            self.stop()
            if time.monotonic() > self._stop_at + _KEEP_RESULTS_S:
                raise
            if not self._is_database_away:
                log.warning("The database failed: %s", type(error).__name__)
            self._is_database_away = True
            return otherwise
        self._is_database_away = False
        return done

    def _claim(self) -> bool:
        """Claim due queues and begin to send their deliveries; return whether there were any."""
        self._claim_at = time.monotonic() + _CLAIM_EVERY_S
        limits, database = self._runner.host_limits, self._runner.database
        with limits.claiming:
            held_until = self._held_until()
            with database.transaction() as session:
                claimed = delivery_queue.claim(
                    session,
                    self._claim_id,
                    free=limits.free(),
                    per_host=PER_HOST,
                    limit=MAX_QUEUES - len(self._queues),
                    lease_s=self._runner.lease_s,
                )
            new = [row for row in claimed if row.id not in self._queues]
            with database.reading() as session:
                due = delivery_queue.due_deliveries(
                    session, [row.id for row in new], MAX_DELIVERIES
                )
            for row in new:
                limits.take(row.host)
        for row in claimed:
            # This run's lease on the queue had ended: its delivery in flight must end first.
            if row.id in self._queues:
                self._queues[row.id].stop.set()
                self._queues[row.id].is_lost = False
        deliveries = _by_subscription(due)
        for row in new:
            queue = ClaimedQueue(row, deliveries[row.id], row.failures, held_until)
            self._queues[row.id] = queue
            self._pool.submit(self._send, queue)
        return bool(claimed)

    def _held_until(self) -> float:
        """Return until when a delivery may begin under a lease of now, with time left to end."""
        return time.monotonic() + self._runner.lease_s / 2

    def _send(self, queue: ClaimedQueue) -> None:
        """Send a queue's deliveries; the body of its thread."""
        try:
            if queue.deliveries:
                self._sender.send(queue)
        except Exception:
            # No failure may stop the other queues, or keep this one claimed.
            log.exception("Webhook subscription %s failed", queue.row.id)
            queue.failures = max(queue.failures, PAUSE_AFTER)
        finally:
            self._runner.host_limits.give_back(queue.row.host)
            self._ended.put(queue)
            self._queue_ended.set()

    def _watch(self) -> None:
        """Cut attempts that take too long, end the run in time, and renew leases."""
        now = time.monotonic()
        for queue in self._queues.values():
            if queue.connection is not None and queue.connection.is_overdue(now):
                queue.connection.cut()
        if now >= self._stop_at:
            self.stop()
        if now >= self._renew_at:
            self._renew_at = now + min(_RENEW_EVERY_S, self._runner.lease_s / 4)
            self._with_database(self._renew, otherwise=False)

    def _renew(self) -> bool:
        held = [each for each, queue in self._queues.items() if not queue.is_lost]
        if not held:
            return False
        held_until = self._held_until()
        with self._runner.database.transaction() as session:
            still_held = delivery_queue.renew(session, self._claim_id, held, self._runner.lease_s)
        for subscription_id in held:
            queue = self._queues[subscription_id]
            if subscription_id in still_held:
                queue.held_until = held_until
            else:
                queue.is_lost = True
                queue.stop.set()
        return True

    def _store(self) -> bool:
        """Store results, and release queues that have ended; return whether any was released."""
        # Ended queues first: all results of their deliveries are then in `_results`.
        while not self._ended.empty():
            queue = self._ended.get()
            self._unreleased[queue.row.id] = queue
        while not self._results.empty():
            delivery_id, result = self._results.get()
            self._unstored[delivery_id] = result
        if self._unstored:
            with self._runner.database.transaction() as session:
                delivery_queue.record(session, self._unstored)
            for result in self._unstored.values():
                WEBHOOKS.labels(result.outcome.name.lower()).inc()
            self._attempts += len(self._unstored)
            self._unstored.clear()
        released = self._release() if self._unreleased else set()
        for subscription_id in released:
            del self._unreleased[subscription_id]
            del self._queues[subscription_id]
        return bool(released)

    def _release(self) -> Collection[int]:
        """Release queues that have ended; return those that are released, lost or gone."""
        database = self._runner.database
        releases = {}
        done = set()
        # Each in a transaction of its own: one that locks several subscriptions might deadlock.
        for subscription_id, queue in self._unreleased.items():
            if queue.is_lost:
                done.add(subscription_id)
            elif queue.is_gone:
                with database.transaction() as session:
                    subscriptions.end(session, subscription_id, "the receiver answered 410")
                done.add(subscription_id)
            elif queue.is_paused:
                self._give_up_old(subscription_id)
                pause_s = jittered(self._runner.retry_delay_s)
                releases[subscription_id] = Release(queue.failures, pause_s)
            else:
                releases[subscription_id] = Release(queue.failures)
        if releases:
            with database.transaction() as session:
                done |= delivery_queue.release(session, self._claim_id, releases)
        return done

    def _give_up_old(self, subscription_id: int) -> None:
        """Give up a pausing queue's deliveries of events that are older than a day."""
        with self._runner.database.transaction() as session:
            count = delivery_queue.give_up(session, subscription_id, given_up_before(utcnow()))
        WEBHOOKS.labels(Outcome.GIVEN_UP.name.lower()).inc(count)


def _by_subscription(deliveries: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    found = defaultdict(list)
    for delivery in deliveries:
        found[delivery.subscription_id].append(delivery)
    return found
