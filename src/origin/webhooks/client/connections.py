"""Connections to receivers: one POST at a time, with a deadline that another thread enforces."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from origin.errors import OriginError
from origin.peers.responses import TimedResponse, is_idle
from origin.webhooks.client.targets import DEFAULT_PORTS, Target
from origin.webhooks.rules.deliveries import ReceiverResponse

DEADLINE_S = 15.0
"""An attempt ends after this time, however slowly bytes arrive."""
MAX_AGE_S = 60.0
"""An older connection is not used again: the name may lead to another address by then."""
_MAX_BODY_BYTES = 4096
_TIMED_OUT = "no answer in time"


class NotDelivered(OriginError):
    """There was no response. The text says why, and quotes nothing that the receiver said."""


class _GuardedConnection(http.client.HTTPConnection):
    """A connection to one checked address of a host.

    :param address: The address that was checked.
    :param context: TLS settings, verified against the host's name; None: plain HTTP.
    """

    def __init__(
        self, target: Target, address: str, context: ssl.SSLContext | None, timeout_s: float
    ) -> None:
        super().__init__(target.host, target.port, timeout=timeout_s)
        self.default_port = DEFAULT_PORTS[target.scheme]
        self.response_class = partial(TimedResponse, DEADLINE_S)  # type: ignore[assignment] # called, as a class is
        self._address = address
        self._context = context
        self._handle: socket.socket | None = None

    def connect(self) -> None:
        """Open the connection."""
        raw = socket.create_connection((self._address, self.port), self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A second handle, so that another thread can cut the connection at any stage.
        self._handle = raw.dup()
        self.sock = raw
        if self._context is not None:
            self.sock = self._context.wrap_socket(raw, server_hostname=self.host)

    def cut(self) -> None:
        """Shut the socket down to unblock its reader."""
        if self._handle is not None:
            # It may be closed already.
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        super().close()
        if self._handle is not None:
            self._handle.close()

    @property
    def is_usable(self) -> bool:
        """Whether it is open, and no unexpected bytes have arrived."""
        return self.sock is not None and is_idle(self.sock)


class ReceiverConnection:
    """A reusable connection to one receiver, for one caller at a time.

    Other threads may call `is_overdue` and `cut`.

    :param addresses: Returns the checked addresses of the target's host; raises NotDelivered.
    :param tls_context: Returns the TLS settings for https.
    """

    def __init__(
        self,
        target: Target,
        addresses: Callable[[Target], Sequence[str]],
        tls_context: Callable[[], ssl.SSLContext],
    ) -> None:
        self.target = target
        self._addresses = addresses
        self._tls_context = tls_context
        self._opened_at = 0.0
        self._connection: _GuardedConnection | None = None
        self._deadline = float("inf")

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> ReceiverResponse:
        """Post a body; every failure becomes a response without a status."""
        self._deadline = time.monotonic() + DEADLINE_S
        try:
            status = self._post(path, headers, body)
            if time.monotonic() > self._deadline:
                # The connection was cut: http.client takes that for the end of the headers.
                return ReceiverResponse(None, _TIMED_OUT)
            return ReceiverResponse(status)
        except NotDelivered as error:
            return ReceiverResponse(None, str(error))
        except TimeoutError:
            return ReceiverResponse(None, _TIMED_OUT)
        except (OSError, http.client.HTTPException, ValueError) as error:
            is_late = time.monotonic() > self._deadline
            return ReceiverResponse(None, _TIMED_OUT if is_late else type(error).__name__)
        finally:
            self._deadline = float("inf")

    def is_overdue(self, now: float) -> bool:
        """Tell whether the current attempt should have ended by now (`time.monotonic`)."""
        return now > self._deadline

    def cut(self) -> None:
        """End the current attempt."""
        if self._connection is not None:
            self._connection.cut()

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def is_fresh(self) -> bool:
        """Whether there is an open connection that may be used again."""
        return (
            self._connection is not None
            and time.monotonic() - self._opened_at < MAX_AGE_S
            and self._connection.is_usable
        )

    def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        if self.is_fresh:
            try:
                return self._exchange(path, headers, body)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The receiver closed it while it was idle. If it took this request all the same, it
                # gets the webhook twice, as after any lost response.
                self.close()
        self.close()
        self._connect()
        return self._exchange(path, headers, body)

    def _connect(self) -> None:
        context = self._tls_context() if self.target.scheme == "https" else None
        error: OSError | None = None
        for address in self._addresses(self.target):
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connection = _GuardedConnection(self.target, address, context, left_s)
            try:
                self._connection.connect()
            except OSError as failed:
                self.close()
                error = failed
            else:
                self._opened_at = time.monotonic()
                return
        raise error or NotDelivered("the host has no address")

    def _exchange(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        connection = self._connection
        assert connection is not None
        assert connection.sock is not None
        # This ends the wait for a single byte; `is_overdue` and `cut` end the whole attempt.
        connection.sock.settimeout(max(self._deadline - time.monotonic(), 0.001))
        try:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            response.read(_MAX_BODY_BYTES)
            is_read = response.isclosed()
            response.close()
        except BaseException:
            self.close()
            raise
        if not is_read or connection.sock is None:
            self.close()
        return response.status
