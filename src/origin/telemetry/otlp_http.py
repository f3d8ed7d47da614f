"""POSTs encoded spans to a collector (OTLP/HTTP), with retries."""

import gzip
import logging
import random
import threading
import time
from email.utils import parsedate_to_datetime

import orjson
import requests
from requests.utils import get_auth_from_url

from origin.telemetry.otlp_options import OtlpOptions

_RETRIED = frozenset({429, 502, 503, 504})
"""The statuses after which OTLP's specification asks for another try."""
_ATTEMPTS = 5
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
"""If a collector asks for a longer pause, the batch is dropped."""
_MAX_ANSWER_BYTES = 64 * 1024
_LOG_EVERY_S = 60.0
_GZIP_LEVEL = 1
"""The fastest: under gevent, nothing else runs meanwhile."""

log = logging.getLogger(__name__)


class OtlpSender:
    """Sends requests to one collector, one at a time. It logs failures once a minute at most."""

    def __init__(self, options: OtlpOptions) -> None:
        self._url = options.url
        self._timeout_s = options.timeout_s
        self._is_compressed = options.is_compressed
        self._hurry = threading.Event()
        self._log_at = float("-inf")
        self._unlogged = 0
        self._session = requests.Session()
        self._session.headers.update(
            {
                "User-Agent": "AccountService",
                **({"content-encoding": "gzip"} if options.is_compressed else {}),
                **options.headers,
                "content-type": "application/json",
            }
        )
        login = get_auth_from_url(options.url)
        # Without `auth`, requests would read a `.netrc`, and replace the header Authorization.
        self._session.auth = login if any(login) else lambda request: request
        self._verify = options.verify and (options.certificate or True)
        self._session.cert = options.client_certificate

    def hurry(self) -> None:
        """Don't retry any more, and end a pause that is under way: the process ends."""
        self._hurry.set()

    def send(self, body: bytes, count: int) -> int:
        """Send a request with this many spans, and return how many of them the collector hasn't taken.

        It raises nothing. It takes at most the timeout and the pauses that the collector asks for.
        """
        try:
            lost, reason = self._send(
                gzip.compress(body, _GZIP_LEVEL) if self._is_compressed else body
            )
        # No error may end the SDK's thread: nothing would be sent any more.
        except Exception as error:  # noqa: BLE001
            lost, reason = None, type(error).__name__
        lost = count if lost is None else min(lost, count)
        if reason:
            self._report(lost, reason)
        return lost

    def _send(self, body: bytes) -> tuple[int | None, str]:
        """Send a request; return how many spans were lost (None: all), and why."""
        ends_at = time.monotonic() + self._timeout_s
        reason = ""
        for attempt in range(_ATTEMPTS):
            pause_s = _FIRST_PAUSE_S * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            try:
                status, retry_after_s, answer = self._post(body, ends_at - time.monotonic())
            except (requests.ConnectionError, requests.Timeout) as error:
                # The error's text quotes the URL.
                reason = type(error).__name__
            else:
                if 200 <= status < 300:
                    return _rejected(answer)
                reason = f"status {status}"
                if status not in _RETRIED:
                    break
                if retry_after_s is not None:
                    if retry_after_s > _LONGEST_PAUSE_S:
                        break
                    # The pause that the collector asks for doesn't count for the timeout.
                    pause_s = retry_after_s
                    ends_at += pause_s
            if time.monotonic() + pause_s >= ends_at or self._hurry.wait(pause_s):
                break
        return None, reason

    def _post(self, body: bytes, timeout_s: float) -> tuple[int, float | None, bytes]:
        """POST once; return the status, the pause that the answer asks for, and its body."""
        with self._session.post(
            self._url,
            data=body,
            timeout=max(timeout_s, 0.001),
            # Not the session's: requests would prefer the environment's REQUESTS_CA_BUNDLE to it.
            verify=self._verify,
            allow_redirects=False,
            stream=True,
        ) as response:
            retry_after_s = _seconds(response.headers.get("Retry-After"))
            answer = next(response.iter_content(_MAX_ANSWER_BYTES), b"")
            return response.status_code, retry_after_s, answer

    def _report(self, lost: int, reason: str) -> None:
        self._unlogged += lost
        if time.monotonic() < self._log_at:
            return
        log.warning(
            "Spans not exported: %s",
            reason,
            extra={"event": "traces.not_exported", "spans": self._unlogged},
        )
        self._log_at, self._unlogged = time.monotonic() + _LOG_EVERY_S, 0


def _seconds(retry_after: str | None) -> float | None:
    """Return a `Retry-After` in seconds; None if there is none, or it is malformed."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _rejected(answer: bytes) -> tuple[int, str]:
    """Return how many spans an accepting answer names as rejected, and a reason if there is one."""
    try:
        partial = orjson.loads(answer)["partialSuccess"]
        # Numbers of 64 bits are strings in OTLP's JSON.
        lost = max(int(partial.get("rejectedSpans", 0)), 0)
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, ""
    return lost, "rejected by the collector" if lost else ""
