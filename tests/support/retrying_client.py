"""A client that repeats a call with the same Idempotency-Key until it gets a final answer."""

import secrets
import time
from collections.abc import Callable
from threading import Event
from typing import Any

import requests

from tests.support.live_system import Household, LiveSystem
from tests.support.lost_data import LostData

# Long enough to restore and recover a database on a busy machine.
_PATIENCE_SECONDS = 300
_PAUSE_SECONDS = 0.1
_FINAL = (200, 202, 400, 422)
_PASSING = (409, 500, 502, 503)


class RetryingClient:
    """One user on one connection.

    `unanswered` has the statuses of answers that weren't final; None stands for no answer. `accepted` counts
    composes, `operations` has the ids of all operations, composes' included. A call fails if it gets no
    final answer (200, 202, 400, 422) in five minutes, or one with an unexpected status.
    """

    def __init__(self, system: LiveSystem, home: Household) -> None:
        self.home = system.another_session(home)
        self.unanswered: list[int | None] = []
        self.accepted = 0
        self.operations: list[str] = []

    def compose(self, order: dict[str, Any]) -> requests.Response:
        """Compose, with as many attempts as needed; return the answer, a 200 or a 400."""
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        answer = self._retry(lambda: self.home.api.request("/ggo/compose", order, headers=headers))
        assert answer.status_code in {200, 400}, answer.text
        if answer.status_code == 200:
            self.accepted += 1
            self.operations.append(answer.headers["Location"].rpartition("/")[2])
        return answer

    def order(self, path: str, order: dict[str, Any], losses: LostData) -> requests.Response:
        """Order in bulk, with as many attempts as needed; return the answer, a 202 or a 422.

        The order is sent once more: it leads to the same operation, unless the database was lost meanwhile.
        """
        headers = {"Idempotency-Key": secrets.token_hex(8)}

        def call() -> requests.Response:
            return self._retry(lambda: self.home.api.request(path, order, headers=headers))

        count, answer = losses.count, call()
        assert answer.status_code in {202, 422}, answer.text
        if answer.status_code == 202:
            again = call()
            if losses.count == count:
                assert again.status_code == 202, again.text
                assert again.json()["id"] == answer.json()["id"]
                assert again.headers["Idempotency-Replayed"] == "true"
            answer = again
        if answer.status_code == 202:
            self.operations.append(answer.json()["id"])
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
