"""Sends signed webhooks, and repeats each until it is answered with 200."""

import base64
import hashlib
import heapq
import hmac
import itertools
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import requests

from sandbox.direct import direct_session

TIMEOUT = (2, 10)
"""Seconds to connect, and to wait for the answer."""
GIVE_UP_AFTER = 24 * 3600
"""Seconds for which a webhook is repeated."""
WORKERS = 4
"""How many webhooks are sent at once."""


class State(StrEnum):
    """The state of a delivery."""

    HELD = "HELD"
    PENDING = "PENDING"
    SENDING = "SENDING"
    DELIVERED = "DELIVERED"
    GIVEN_UP = "GIVEN_UP"


class Order(StrEnum):
    """The order in which held deliveries are sent."""

    ARRIVAL = "arrival"
    REVERSE = "reverse"
    SHUFFLE = "shuffle"


class Signing(StrEnum):
    """How webhooks are signed."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"


@dataclass
class Delivery:
    """One webhook to one URL, with its attempts."""

    event: str
    sub: str
    url: str
    secret: str
    body: bytes
    state: State
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: float = field(default_factory=time.monotonic)
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the delivery without its secret."""
        return {
            "id": self.id,
            "event": self.event,
            "sub": self.sub,
            "url": self.url,
            "body": json.loads(self.body),
            "state": self.state.value,
            "attempts": list(self.attempts),
        }


class Dispatcher:
    """Sends webhooks in its own threads. `retry_interval` is in seconds."""

    def __init__(self, retry_interval: float = 60) -> None:
        self.retry_interval = retry_interval
        self.signing = Signing.RIGHT
        self._default_interval = retry_interval
        self._changed = threading.Condition()
        self._deliveries: dict[str, Delivery] = {}
        self._queue: list[tuple[float, int, Delivery]] = []
        self._numbers = itertools.count()
        self._on_their_way = 0
        for number in range(WORKERS):
            threading.Thread(target=self._work, name=f"webhooks-{number}", daemon=True).start()

    def reset(self) -> None:
        """Forget all deliveries, including those in flight."""
        with self._changed:
            self._deliveries.clear()
            self._queue.clear()
            self.retry_interval, self.signing = self._default_interval, Signing.RIGHT
            self._changed.notify_all()

    def send(self, event: str, sub: str, url: str, secret: str, body: Any, *, hold: bool) -> str:
        """Queue a webhook, or hold it until `release`. Return the delivery's id."""
        state = State.HELD if hold else State.PENDING
        raw = json.dumps(body).encode()
        delivery = Delivery(event, sub, url, secret, raw, state)
        with self._changed:
            self._deliveries[delivery.id] = delivery
            if not hold:
                self._enqueue([delivery])
        return delivery.id

    def release(self, order: Order) -> int:
        """Send the held deliveries in this order. Return how many."""
        with self._changed:
            held = [one for one in self._deliveries.values() if one.state is State.HELD]
            if order is Order.REVERSE:
                held.reverse()
            elif order is Order.SHUFFLE:
                random.shuffle(held)
            self._enqueue(held)
            return len(held)

    def retry_now(self) -> int:
        """Retry all waiting deliveries now. Return how many."""
        with self._changed:
            waiting = [one for _, _, one in self._queue]
            self._queue.clear()
            self._enqueue(waiting)
            return len(waiting)

    def repeat(self, ids: list[str]) -> int:
        """Send finished deliveries once more (no ids: all of them). Return how many."""
        ended = (State.DELIVERED, State.GIVEN_UP)
        with self._changed:
            meant = [
                one
                for one in self._deliveries.values()
                if one.state in ended and (not ids or one.id in ids)
            ]
            self._enqueue(meant)
            return len(meant)

    def listing(self) -> list[dict[str, Any]]:
        """Return all deliveries, oldest first."""
        with self._changed:
            return [one.as_json() for one in self._deliveries.values()]

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait up to `seconds` until nothing is queued or in flight; return whether it is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._queue and not self._on_their_way, seconds
            )

    def _enqueue(self, deliveries: list[Delivery], delay: float = 0) -> None:
        due = time.monotonic() + delay
        for one in deliveries:
            one.state = State.PENDING
            heapq.heappush(self._queue, (due, next(self._numbers), one))
        self._changed.notify_all()

    def _work(self) -> None:
        http = direct_session()
        while True:
            delivery = self._next()
            outcome = self._attempt(http, delivery)
            with self._changed:
                self._on_their_way -= 1
                delivery.attempts.append(outcome)
                self._settle(delivery, ok=outcome.get("status") == 200)
                self._changed.notify_all()

    def _next(self) -> Delivery:
        with self._changed:
            while True:
                wait = self._queue[0][0] - time.monotonic() if self._queue else None
                if wait is not None and wait <= 0:
                    delivery = heapq.heappop(self._queue)[2]
                    delivery.state = State.SENDING
                    self._on_their_way += 1
                    return delivery
                self._changed.wait(wait)

    def _settle(self, delivery: Delivery, *, ok: bool) -> None:
        if ok:
            delivery.state = State.DELIVERED
        elif time.monotonic() - delivery.created >= GIVE_UP_AFTER:
            delivery.state = State.GIVEN_UP
        elif delivery.id in self._deliveries:
            self._enqueue([delivery], self.retry_interval)

    def _attempt(self, http: requests.Session, delivery: Delivery) -> dict[str, Any]:
        # A kept connection may just have been closed by the receiver; that attempt would fail.
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self.signing is not Signing.MISSING:
            secret = delivery.secret + ("?" if self.signing is Signing.WRONG else "")
            headers["x-hub-signature"] = sign(secret, delivery.body)
        outcome: dict[str, Any] = {"at": datetime.now(UTC).isoformat()}
        try:
            answer = http.post(
                delivery.url,
                data=delivery.body,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return {**outcome, "error": type(error).__name__}
        return {**outcome, "status": answer.status_code, "answer": answer.text[:1000]}


def sign(secret: str, body: bytes) -> str:
    """Return the `x-hub-signature` of a body."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return "sha256=" + base64.b64encode(digest).decode()
