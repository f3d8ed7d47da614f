"""The control calls that all servers share: faults, recorded calls, reset.

Times are aware datetimes, amounts are Wh, JSON is returned as it is. A control call that fails
raises ControlError with the server's reason.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sandbox.direct import direct_session

TIMEOUT = 90
"""Seconds; longer than the longest wait that a control call allows (60)."""

Json = dict[str, Any]


class ControlError(Exception):
    """A control call failed; the message is the server's."""


class Control:
    """A client for the control calls of any server. `url` has no trailing slash."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = direct_session()

    def fault(
        self,
        endpoint: str = "*",
        *,
        method: str | None = None,
        times: int | None = 1,
        delay_before: float = 0,
        delay_after: float = 0,
        status: int | None = None,
        code: int | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        process: bool = False,
        cut: str | None = None,
        interim: Sequence[int] = (),
        interim_pause: float = 0.5,
    ) -> None:
        """Disturb the next `times` calls (None: all until cleared) to a path or pattern.

        `sandbox.faults.Fault` describes the parameters.
        """
        self._post(
            "faults",
            {
                "endpoint": endpoint,
                "method": method,
                "times": times,
                "delay_before": delay_before,
                "delay_after": delay_after,
                "status": status,
                "code": code,
                "body": body,
                "headers": headers or {},
                "process": process,
                "cut": cut,
                "interim": list(interim),
                "interim_pause": interim_pause,
            },
        )

    def faults(self) -> list[Json]:
        """Return the active faults, each with `left` and `struck` (how often it was applied)."""
        return list(self._get("faults")["faults"])

    def clear_faults(self) -> None:
        """Remove all faults; calls that a fault delays continue at once."""
        self._call("DELETE", "faults")

    def calls(self) -> list[Json]:
        """Return the latest calls without control calls, oldest first: method, path, status, at."""
        return list(self._get("calls")["calls"])

    def count(self, rule: str) -> int:
        """Return the number of calls to a URL rule, for example `POST /batches`."""
        return int(self._get("calls")["counts"].get(rule, 0))

    def forget_calls(self) -> None:
        """Clear the recorded calls and their counts."""
        self._call("DELETE", "calls")

    def reset(self) -> None:
        """Return the server to its state at start."""
        self._post("reset")

    def _get(self, path: str, /, **query: Any) -> Json:
        return self._call("GET", path, params=query)

    def _post(self, path: str, body: Any = None) -> Json:
        return self._call("POST", path, json={} if body is None else body)

    def _call(self, method: str, path: str, /, **more: Any) -> Json:
        url = f"{self.url}/control/{path}"
        answer = self._http.request(method, url, timeout=TIMEOUT, **more)
        found: Json = answer.json()
        if answer.status_code != 200:
            raise ControlError(found.get("message", answer.text))
        return found


def with_times(one: Json) -> Json:
    """Return a copy with datetimes as ISO 8601 and without fields that are None."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in one.items()
        if value is not None
    }
