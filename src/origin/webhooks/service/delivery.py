"""Webhooks to subscribers: delivered when due (contract: peers, Webhook receivers).

Deliveries of one subscription go one after the other, those of different ones side by side. What
failed comes again after WEBHOOK_RETRY_DELAY; what is behind it doesn't wait for that. A delivery is
marked after it was answered: a worker that dies in between has it sent again, never lost.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from origin.db.engine import Database
from origin.keys.sealing import Sealer, webhook_secret_context
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import WEBHOOKS
from origin.webhooks.client.host_limits import PER_HOST, HostLimits
from origin.webhooks.client.receivers import ReceiverClient, target_of
from origin.webhooks.queries import delivery_queue
from origin.webhooks.queries.delivery_queue import Result, Standing
from origin.webhooks.queries.outbox import PAUSE_AFTER
from origin.webhooks.rules.deliveries import GIVEN_UP_AFTER, Answer, Outcome, judge, retry_delay_s
from origin.webhooks.rules.signatures import signed_headers

MAX_LANES = 200
"""Lanes that one run works on at a time."""
AT_ONCE = 100
"""Deliveries that a lane takes up before it goes back behind the others."""
MAX_LANE_S = 2.0
"""And for how long it goes on with them."""
MAX_RUN_S = 20.0
"""After this time a run takes up no more, and ends when what it began has."""
_TICK_S = 0.1
"""How long an answer waits at most to be written down, with others."""
_CLAIM_EVERY_S = 1.0
"""How often a run looks for due lanes while none of its own ends; wake-ups start further runs."""
_HOLD_ON_S = 300.0
"""How long after its time a run holds on to what it knows, while the database is away."""

_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "*/*",
    "User-Agent": "AccountService",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryRunner:
    """Delivers what is due to subscribers."""

    database: Database
    wakeups: Wakeups
    settings: Settings
    host_limits: HostLimits
    receivers: ReceiverClient
    sealer: Sealer

    def run_due(self) -> int:
        """Deliver what is due, until nothing is or 20 s have passed.

        :returns: How many attempts were made.
        """
        with ThreadPoolExecutor(MAX_LANES) as pool:
            run = _Run(self, pool)
            try:
                return run.work()
            finally:
                run.stop()


@dataclass
class _Lane:
    """A claimed subscription, and what waits for it. `stop`: begin nothing more.

    `held_until` (`time.monotonic`): nothing is begun any more, unless the lease is renewed before.
    """

    row: Row[Any]
    deliveries: Sequence[Row[Any]]
    failures: int
    held_until: float
    stop: threading.Event = field(default_factory=threading.Event)
    line: Any = None
    is_gone: bool = False
    is_forgotten: bool = False
    """Another's by now, or ended: nothing is noted of the lane itself any more."""

    @property
    def pauses(self) -> bool:
        """Whether so much failed that nothing more is tried before the retry."""
        return self.failures >= PAUSE_AFTER

    @property
    def begins_more(self) -> bool:
        """Whether another delivery may be begun."""
        return not (self.stop.is_set() or self.pauses or time.monotonic() > self.held_until)


class _Run:
    """One run: claims lanes, has threads deliver, writes down what came of it, in bulk."""

    def __init__(self, service: DeliveryRunner, pool: ThreadPoolExecutor) -> None:
        self._service = service
        self._pool = pool
        self._name = uuid4()
        self._lanes: dict[int, _Lane] = {}
        self._answered: SimpleQueue[tuple[int, Result]] = SimpleQueue()
        self._ended: SimpleQueue[_Lane] = SimpleQueue()
        self._lane_ended = threading.Event()
        self._unwritten: dict[int, Result] = {}
        self._unfinished: dict[int, _Lane] = {}
        self._attempts = 0
        self._is_database_away = False
        self._lease_s = self._service.settings.lease_seconds
        self._retry_s = self._service.settings.webhook_retry_delay
        now = time.monotonic()
        self._stop_at = now + MAX_RUN_S
        self._renew_at = now
        self._claim_at = now

    def work(self) -> int:
        """Go on until nothing is due and nothing on its way."""
        has_more = True
        while True:
            now = time.monotonic()
            # What isn't written down yet would be found waiting, and sent again.
            if self._claim_at <= now < self._stop_at and not self._unwritten:
                has_more = self._tried(self._claim, otherwise=True)
            if not self._lanes and (not has_more or now >= self._stop_at):
                break
            self._lane_ended.wait(_TICK_S)
            self._lane_ended.clear()
            if self._tried(self._note, otherwise=False):
                self._claim_at = 0
            self._watch()
        if has_more:
            self._service.wakeups.deliveries_due()
        return self._attempts

    def stop(self) -> None:
        """Begin nothing more."""
        for lane in self._lanes.values():
            lane.stop.set()

    def _tried(self, step: Callable[[], bool], *, otherwise: bool) -> bool:
        """Do a step; a database that is away for a moment doesn't make us forget the answers.

        Nothing more is begun on our lanes then: what can't be written down may be sent again.
        """
        try:
            done = step()
        except (DBAPIError, PoolTimeoutError) as error:
            self.stop()
            if time.monotonic() > self._stop_at + _HOLD_ON_S:
                raise
            if not self._is_database_away:
                log.warning("The database failed: %s", type(error).__name__)
            self._is_database_away = True
            return otherwise
        self._is_database_away = False
        return done

    def _claim(self) -> bool:
        """Take up lanes that are due; whether there were any."""
        self._claim_at = time.monotonic() + _CLAIM_EVERY_S
        limits, database = self._service.host_limits, self._service.database
        with limits.claiming:
            held_until = self._held_until()
            with database.transaction() as session:
                claimed = delivery_queue.claim(
                    session,
                    self._name,
                    free=limits.free(),
                    per_host=PER_HOST,
                    most=MAX_LANES - len(self._lanes),
                    lease_s=self._lease_s,
                )
            new = [row for row in claimed if row.id not in self._lanes]
            with database.reading() as session:
                waiting = _by_lane(
                    delivery_queue.waiting(session, [row.id for row in new], AT_ONCE)
                )
            for row in new:
                limits.take(row.host)
        for row in claimed:
            # One that was ours, and has lapsed: what is on its way there ends first.
            if row.id in self._lanes:
                self._lanes[row.id].stop.set()
                self._lanes[row.id].is_forgotten = False
        for row in new:
            lane = _Lane(row, waiting.get(row.id, ()), row.failures, held_until)
            self._lanes[row.id] = lane
            self._pool.submit(self._deliver, lane)
        return bool(claimed)

    def _held_until(self) -> float:
        """Until when what is leased now is surely ours, and a delivery has time to end."""
        return time.monotonic() + self._lease_s / 2

    def _deliver(self, lane: _Lane) -> None:
        """Deliver what waits on a lane, in a thread of its own."""
        try:
            if lane.deliveries:
                self._deliver_all(lane)
        except Exception:
            # Whatever it is, it must neither stop the other lanes nor keep this one.
            log.exception("Webhook subscription %s failed", lane.row.id)
            lane.failures = max(lane.failures, PAUSE_AFTER)
        finally:
            self._service.host_limits.give_back(lane.row.host)
            self._ended.put(lane)
            self._lane_ended.set()

    def _deliver_all(self, lane: _Lane) -> None:
        row, receivers = lane.row, self._service.receivers
        context = webhook_secret_context(row.user_id, row.event, row.url)
        secret = self._service.sealer.open(row.secret, context)
        target = target_of(row.url)
        lane.line = receivers.take(target)
        until = time.monotonic() + MAX_LANE_S
        if lane.pauses:
            # The pause is over.
            lane.failures = 0
        reason = None
        for delivery in lane.deliveries:
            if not lane.begins_more or time.monotonic() > until:
                break
            webhook_id, now_s = str(delivery.webhook_id), int(utcnow().timestamp())
            headers = _HEADERS | signed_headers(secret, delivery.body, webhook_id, now_s)
            answer = lane.line.post(target.path, headers, delivery.body)
            reason = answer.reason or reason
            self._service.host_limits.note(row.host, answered=answer.status is not None)
            if self._judge(lane, delivery, answer) is Outcome.GONE:
                lane.is_gone = True
                break
        receivers.give_back(lane.line)
        if reason is not None:
            log.warning(
                "Webhooks not delivered: %s",
                reason,
                extra={"subscription_id": row.id, "host": row.host, "failures": lane.failures},
            )

    def _judge(self, lane: _Lane, delivery: Row[Any], answer: Answer) -> Outcome:
        """Have it written down what becomes of a delivery; note how its lane stands."""
        delay_s = retry_delay_s(self._retry_s)
        again_at = utcnow() + timedelta(seconds=delay_s)
        outcome = judge(answer, delivery.created_at, again_at)
        lane.failures = 0 if outcome is Outcome.DELIVERED else lane.failures + 1
        if outcome is Outcome.GIVEN_UP:
            log.error(
                "Webhook given up after a day: %s",
                answer.reason,
                extra={"delivery_id": delivery.id, "subscription_id": lane.row.id},
            )
        delay = delay_s if outcome is Outcome.RETRY else None
        self._answered.put((delivery.id, Result(outcome, answer.status, answer.reason, delay)))
        return outcome

    def _watch(self) -> None:
        """Cut what takes too long, and keep hold of what goes on."""
        now = time.monotonic()
        for lane in self._lanes.values():
            if lane.line is not None and lane.line.is_overdue(now):
                lane.line.cut()
        if now >= self._stop_at:
            self.stop()
        if now >= self._renew_at:
            # Often enough that a subscription that has ended falls silent within a second.
            self._renew_at = now + min(1.0, self._lease_s / 4)
            self._tried(self._renew, otherwise=False)

    def _renew(self) -> bool:
        held = [lane_id for lane_id, lane in self._lanes.items() if not lane.is_forgotten]
        if not held:
            return False
        held_until = self._held_until()
        with self._service.database.transaction() as session:
            still = delivery_queue.renew(session, self._name, held, self._lease_s)
        for lane_id in held:
            lane = self._lanes[lane_id]
            if lane_id in still:
                lane.held_until = held_until
            else:
                lane.is_forgotten = True
                lane.stop.set()
        return True

    def _note(self) -> bool:
        """Write down what came of deliveries, and give back lanes that are done.

        :returns: whether lanes were given back.
        """
        # Lanes first: what is known of their deliveries is then surely among the answers.
        while not self._ended.empty():
            lane = self._ended.get()
            self._unfinished[lane.row.id] = lane
        while not self._answered.empty():
            delivery_id, result = self._answered.get()
            self._unwritten[delivery_id] = result
        if self._unwritten:
            with self._service.database.transaction() as session:
                delivery_queue.record(session, self._unwritten)
            for result in self._unwritten.values():
                WEBHOOKS.labels(result.outcome.name.lower()).inc()
            self._attempts += len(self._unwritten)
            self._unwritten.clear()
        done = self._finish() if self._unfinished else set()
        for lane_id in done:
            del self._unfinished[lane_id]
            del self._lanes[lane_id]
        return bool(done)

    def _finish(self) -> set[int]:
        """Give back the lanes that have ended; those that were."""
        database = self._service.database
        standings = {}
        done = set()
        # Each in a transaction of its own: one that held several might wait in a circle.
        for lane_id, lane in self._unfinished.items():
            if lane.is_forgotten:
                done.add(lane_id)
            elif lane.is_gone:
                with database.transaction() as session:
                    delivery_queue.end(session, lane_id, "the receiver answered 410")
                done.add(lane_id)
            elif lane.pauses:
                with database.transaction() as session:
                    given_up = delivery_queue.give_up(session, lane_id, GIVEN_UP_AFTER)
                WEBHOOKS.labels(Outcome.GIVEN_UP.name.lower()).inc(given_up)
                standings[lane_id] = Standing(lane.failures, retry_delay_s(self._retry_s))
            else:
                standings[lane_id] = Standing(lane.failures)
        if standings:
            with database.transaction() as session:
                done |= delivery_queue.finish(session, self._name, standings)
        return done


def _by_lane(deliveries: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    found = defaultdict(list)
    for delivery in deliveries:
        found[delivery.subscription_id].append(delivery)
    return found
