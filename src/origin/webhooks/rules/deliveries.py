"""What becomes of a webhook after an attempt to deliver it (contract: peers, Webhook receivers)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

from origin.shared.retries import jittered

GIVEN_UP_AFTER = timedelta(hours=24)


class Outcome(StrEnum):
    """How a delivery stands."""

    DELIVERED = "DELIVERED"
    RETRY = "PENDING"
    GIVEN_UP = "GIVEN_UP"
    GONE = "CANCELLED"
    """The receiver wants no more: its subscription ends."""


@dataclass(frozen=True)
class Answer:
    """What came of an attempt: an HTTP status, or None and the reason why there is none."""

    status: int | None
    error: str | None = None

    @property
    def reason(self) -> str | None:
        """What went wrong, in a few words; None where nothing did."""
        if self.status is None:
            return self.error or "no answer"
        return None if is_success(self.status) else f"answered {self.status}"


def is_success(status: int) -> bool:
    """Any 2xx."""
    return 200 <= status < 300


def judge(answer: Answer, created_at: datetime, next_attempt_at: datetime) -> Outcome:
    """What follows from an answer.

    :param created_at: When the event happened.
    :param next_attempt_at: When it would be tried again.
    """
    if answer.status is not None and is_success(answer.status):
        return Outcome.DELIVERED
    if answer.status == HTTPStatus.GONE:
        return Outcome.GONE
    if next_attempt_at - created_at > GIVEN_UP_AFTER:
        return Outcome.GIVEN_UP
    return Outcome.RETRY


def retry_delay_s(delay_s: float) -> float:
    """WEBHOOK_RETRY_DELAY, ±20 %: what failed together doesn't come back together."""
    return jittered(delay_s)
