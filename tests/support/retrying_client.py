"""A client that takes no answer for an unknown outcome, and asks again: the same call, the same key."""

import secrets
import time
from collections.abc import Callable
from threading import Event
from typing import Any

import requests

from tests.support.live_system import Household, LiveSystem

# A database is restored and recovered meanwhile.
_PATIENCE_SECONDS = 120
_PAUSE_SECONDS = 0.1
_FINAL = (200, 400)
_PASSING = (409, 500, 502, 503)


class RetryingClient:
    """One user on one connection. `unanswered`: what came instead of an answer, by status; None: nothing.

    A call that isn't answered in two minutes fails, as does one that is answered otherwise.
    """

    def __init__(self, system: LiveSystem, home: Household) -> None:
        self.home = system.another_session(home)
        self.unanswered: list[int | None] = []
        self.accepted = 0

    def compose(self, order: dict[str, Any]) -> requests.Response:
        """Compose once, however often that has to be asked for; a 200 or a 400."""
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        answer = self._insist(lambda: self.home.api.request("/ggo/compose", order, headers=headers))
        self.accepted += answer.status_code == 200
        return answer

    def stored(self) -> list[dict[str, Any]]:
        """What the API lists as stored."""
        body = {"filters": {"category": "stored"}}
        found: list[dict[str, Any]] = self._insist(
            lambda: self.home.api.request("/ggo", body)
        ).json()["results"]
        return found

    def is_who_it_was(self) -> None:
        """AssertionError where the service takes this user for another."""
        [account] = self._insist(lambda: self.home.api.request("/accounts")).json()["accounts"]
        assert account["id"] == self.home.subject, "answered as if another user had asked"

    def holds_nothing(self) -> bool:
        """Whether nothing is stored, also not in flight."""
        body = {"filters": {"category": "stored"}}
        answer = self._insist(lambda: self.home.api.request("/ggo/get-total-amount", body))
        return bool(answer.json()["amount"] == 0)

    def _insist(self, call: Callable[[], requests.Response]) -> requests.Response:
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
