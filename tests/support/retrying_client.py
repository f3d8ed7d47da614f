"""A client that repeats a call with the same Idempotency-Key until it gets a final answer."""

import secrets
import time
from collections.abc import Callable
from threading import Event
from typing import Any

import requests

from tests.support.live_system import Household, LiveSystem

# Long enough to restore and recover a database.
_PATIENCE_SECONDS = 120
_PAUSE_SECONDS = 0.1
_FINAL = (200, 400)
_PASSING = (409, 500, 502, 503)


class RetryingClient:
    """One user on one connection.

    `unanswered` has the statuses of answers that weren't final; None stands for no answer. A call fails
    if it gets no final answer (200, 400) in two minutes, or one with an unexpected status.
    """

    def __init__(self, system: LiveSystem, home: Household) -> None:
        self.home = system.another_session(home)
        self.unanswered: list[int | None] = []
        self.accepted = 0

    def compose(self, order: dict[str, Any]) -> requests.Response:
        """Compose, with as many attempts as needed; return the answer, a 200 or a 400."""
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        answer = self._retry(lambda: self.home.api.request("/ggo/compose", order, headers=headers))
        self.accepted += answer.status_code == 200
        return answer

    def stored(self) -> list[dict[str, Any]]:
        """Return the GGOs that the API lists as stored."""
        body = {"filters": {"category": "stored"}}
        found: list[dict[str, Any]] = self._retry(
            lambda: self.home.api.request("/ggo", body)
        ).json()["results"]
        return found

    def check_identity(self) -> None:
        """Check that the service still answers as this user."""
        [account] = self._retry(lambda: self.home.api.request("/accounts")).json()["accounts"]
        assert account["id"] == self.home.subject, "answered as another user"

    def holds_nothing(self) -> bool:
        """Return whether the account stores nothing, including operations in flight."""
        body = {"filters": {"category": "stored"}}
        answer = self._retry(lambda: self.home.api.request("/ggo/get-total-amount", body))
        return bool(answer.json()["amount"] == 0)

    def _retry(self, call: Callable[[], requests.Response]) -> requests.Response:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = call()
            except requests.RequestException:
                self.unanswered.append(None)
            else:
                if answer.status_code in _FINAL:
                    return answer
                assert answer.status_code in _PASSING, answer.text
                self.unanswered.append(answer.status_code)
            Event().wait(_PAUSE_SECONDS)
        raise AssertionError(f"no answer in {_PATIENCE_SECONDS} s: {self.unanswered[-5:]}")
