"""What becomes of a webhook after an attempt to deliver it (contract: peers, Webhook receivers)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Literal

Event = Literal["ON_GGO_RECEIVED", "ON_FORECAST_RECEIVED"]

GIVE_UP_AFTER = timedelta(hours=24)
PAUSE_AFTER = 100
"""Failures in a row after which a delivery queue pauses for one retry delay.

As long as fewer deliveries fail, each of them is tried again every WEBHOOK_RETRY_DELAY.
"""


class Outcome(StrEnum):
    """What follows from an attempt; the value is the delivery's state in the database."""

    DELIVERED = "DELIVERED"
    RETRY = "PENDING"
    GIVEN_UP = "GIVEN_UP"
    GONE = "CANCELLED"
    """The receiver answered 410: its subscription ends."""


@dataclass(frozen=True)
class ReceiverResponse:
    """The result of an attempt: an HTTP status, or None and the reason why there is none."""

    status: int | None
    error: str | None = None

    @property
    def failure(self) -> str | None:
        """What went wrong, in a few words; None after a success."""
        if self.status is None:
            return self.error or "no answer"
        return None if is_success(self.status) else f"answered {self.status}"


def is_success(status: int) -> bool:
    """Tell whether an HTTP status is any 2xx."""
    return 200 <= status < 300


def given_up_before(next_attempt_at: datetime) -> datetime:
    """Return the time of the oldest event that may still be attempted at `next_attempt_at`.

    Deliveries of older events are given up.
    """
    return next_attempt_at - GIVE_UP_AFTER


def judge(response: ReceiverResponse, created_at: datetime, next_attempt_at: datetime) -> Outcome:
    """Decide what follows from an attempt.

    :param created_at: When the event happened.
    :param next_attempt_at: When the next attempt would be made.
    """
    if response.status is not None and is_success(response.status):
        return Outcome.DELIVERED
    if response.status == HTTPStatus.GONE:
        return Outcome.GONE
    if created_at < given_up_before(next_attempt_at):
        return Outcome.GIVEN_UP
    return Outcome.RETRY
