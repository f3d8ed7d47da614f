"""Send the deliveries of one claimed delivery queue, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from origin.keys.sealing import Sealer, webhook_secret_context
from origin.shared.clock import utcnow
from origin.shared.retries import jittered
from origin.telemetry import tracing
from origin.webhooks.client.connections import ReceiverConnection
from origin.webhooks.client.host_limits import HostLimits
from origin.webhooks.client.receivers import ReceiverClient
from origin.webhooks.client.targets import target_of
from origin.webhooks.queries.delivery_queue import AttemptResult
from origin.webhooks.rules.deliveries import (
    PAUSE_AFTER,
    Outcome,
    ReceiverResponse,
    judge,
)
from origin.webhooks.rules.signatures import signed_headers

MAX_DELIVERIES = 100
"""How many deliveries of a queue are sent before it is released, and the other queues go first."""
MAX_QUEUE_S = 2.0
"""After this time no further delivery of a queue is begun, and the queue is released."""

_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "*/*",
    "User-Agent": "AccountService",
}

log = logging.getLogger(__name__)


@dataclass
class ClaimedQueue:
    """A claimed delivery queue and its due deliveries.

    :ivar row: As `delivery_queue.claim` returns it.
    :ivar failures: How many attempts in a row have failed.
    :ivar held_until: No delivery is begun after this time (`time.monotonic`), unless the lease is
        renewed.
    """

    row: Row[Any]
    deliveries: Sequence[Row[Any]]
    failures: int
    held_until: float
    stop: threading.Event = field(default_factory=threading.Event)
    """Set: begin no further delivery."""
    connection: ReceiverConnection | None = None
    is_gone: bool = False
    """The receiver answered 410."""
    is_lost: bool = False
    """Another claim holds the queue, or its subscription has ended: it is not released."""

    @property
    def is_paused(self) -> bool:
        """Whether so many deliveries failed that no more are begun before the retry delay."""
        return self.failures >= PAUSE_AFTER

    @property
    def may_begin(self) -> bool:
        """Whether another delivery may be begun."""
        return not (self.stop.is_set() or self.is_paused or time.monotonic() > self.held_until)


@dataclass(frozen=True)
class QueueSender:
    """Sends the due deliveries of claimed queues.

    :param report: Takes a delivery's id and the result of its attempt. Safe for threads.
    """

    receivers: ReceiverClient
    host_limits: HostLimits
    sealer: Sealer
    retry_delay_s: float
    report: Callable[[int, AttemptResult], None]

    def send(self, queue: ClaimedQueue) -> None:
        """Send due deliveries in order, until the queue must stop or its time is over.

        :raises CannotUnseal: the subscription's secret does not open.
        """
        row = queue.row
        secret = self.sealer.open(
            row.secret, webhook_secret_context(row.user_id, row.event, row.url)
        )
        target = target_of(row.url)
        queue.connection = self.receivers.take(target)
        stop_at = time.monotonic() + MAX_QUEUE_S
        if queue.is_paused:
            # The queue is due again: its pause is over.
            queue.failures = 0
        failure = None
        for delivery in queue.deliveries:
            if not queue.may_begin or time.monotonic() > stop_at:
                break
            webhook_id, now_s = str(delivery.webhook_id), int(utcnow().timestamp())
            headers = _HEADERS | signed_headers(secret, delivery.body, webhook_id, now_s)
            with tracing.delivery(row.url) as call:
                response = queue.connection.post(target.path, headers, delivery.body)
                call.status = response.status
            failure = response.failure or failure
            self.host_limits.note(row.host, answered=response.status is not None)
            if self._judge(queue, delivery, response) is Outcome.GONE:
                queue.is_gone = True
                break
        self.receivers.give_back(queue.connection)
        if failure is not None:
            log.warning(
                "Webhooks not delivered: %s",
                failure,
                extra={"subscription_id": row.id, "host": row.host, "failures": queue.failures},
            )

    def _judge(
        self, queue: ClaimedQueue, delivery: Row[Any], response: ReceiverResponse
    ) -> Outcome:
        """Report what becomes of a delivery, and count failures in a row."""
        delay_s = jittered(self.retry_delay_s)
        next_attempt_at = utcnow() + timedelta(seconds=delay_s)
        outcome = judge(response, delivery.created_at, next_attempt_at)
        queue.failures = 0 if outcome is Outcome.DELIVERED else queue.failures + 1
        if outcome is Outcome.GIVEN_UP:
            log.error(
                "Webhook given up after a day: %s",
                response.failure,
                extra={"delivery_id": delivery.id, "subscription_id": queue.row.id},
            )
        delay = delay_s if outcome is Outcome.RETRY else None
        result = AttemptResult(outcome, response.status, response.failure, delay)
        self.report(delivery.id, result)
        return outcome
