"""Reads one HTTP response from a connection and decides whether the connection can be reused.

`http.client` takes each interim response except `100` for the final one. It also forgets bytes that
follow a response. Both would give one caller the response to another caller's request.
"""

import http.client
import io
import socket
import time
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from typing import TYPE_CHECKING

from urllib3.util import wait_for_read

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_INTERIM_RESPONSES = 8


class TooManyInterimResponses(http.client.HTTPException):
    """The peer sends interim responses (1xx) and no final one."""


class ConflictingLengths(http.client.HTTPException):
    """The response has several different lengths, so its end is unknown."""


def is_idle(sock: socket.socket) -> bool:
    """Return whether an unused connection is open and has received nothing.

    Received bytes belong to no request, so the connection must not be reused. The same holds for a
    connection that the peer has closed. TLS within TLS (an https proxy) can't be inspected and never
    counts as idle.
    """
    if not isinstance(sock, socket.socket):
        return False
    deciphered = getattr(sock, "pending", int)()
    return not deciphered and not wait_for_read(sock, timeout=0)


class TimedResponse(http.client.HTTPResponse):
    """A response that must arrive completely, headers included, within a time limit.

    It skips interim responses; `101` counts as final, because the peer no longer speaks HTTP after it.
    It shuts the connection down if more bytes follow the response.

    :param timeout_s: Seconds for the whole response, from its construction.
    """

    def __init__(
        self, timeout_s: float, sock: socket.socket, *args: object, **kwargs: object
    ) -> None:
        super().__init__(sock, *args, **kwargs)  # type: ignore[arg-type] # as `http.client` gives them
        raw = self.fp.detach()
        self.fp = _ResponseReader(_TimedSocket(raw, sock, time.monotonic() + timeout_s))

    def begin(self) -> None:
        """Read the headers. If the response's end is ambiguous, mark the connection for closing.

        :raises ConflictingLengths: there are several different lengths.
        """
        super().begin()
        lengths = _listed(self.headers, "content-length")
        if len({*lengths}) > 1:
            raise ConflictingLengths
        if _has_doubtful_end(self.status, lengths, _listed(self.headers, "transfer-encoding")):
            self.will_close = True

    def _read_status(self) -> tuple[str, int, str]:
        # Private in `http.client`; `urllib3` calls it too, for the response of a tunnelling proxy.
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc] # typeshed lacks it
            if status // 100 != 1 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise TooManyInterimResponses


def _listed(headers: Message, name: str) -> list[str]:
    """Return all values of a header that may be repeated or comma-separated."""
    return [each.strip() for value in headers.get_all(name, []) for each in value.split(",")]


def _has_doubtful_end(status: int, lengths: list[str], codings: list[str]) -> bool:
    """Return whether another reader could see a different end of the response (RFC 9112, 6.3)."""
    if status == HTTPStatus.SWITCHING_PROTOCOLS or (lengths and codings):
        return True
    if status == HTTPStatus.NO_CONTENT:
        return bool(codings) or any(length != "0" for length in lengths)
    if codings:
        return [coding.lower() for coding in codings] != ["chunked"]
    return len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths)


class _TimedSocket(io.RawIOBase):
    """Reads from a socket until a deadline. Each read also keeps the socket's own timeout."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout_s = sock.gettimeout()
        self._deadline = deadline
        self._has_ended = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        """Read into the buffer, as `io.RawIOBase` defines it.

        :raises TimeoutError: nothing arrived in time, or the deadline has passed.
        """
        if self._has_ended:
            return 0
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(left_s if self._timeout_s is None else min(left_s, self._timeout_s))
        return self._raw.readinto(buffer)

    def end(self) -> None:
        """Report the end of the stream from now on, without reading the socket."""
        self._has_ended = True

    def shut_down(self) -> None:
        """Shut the connection down, so that no pool reuses it."""
        # The peer may have closed it already.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this stream; the connection may stay open."""
        if not self.closed:
            self._raw.close()
        super().close()


class _ResponseReader(io.BufferedReader):
    """The bytes of one response. `http.client` closes it at the response's end."""

    raw: _TimedSocket

    def __init__(self, raw: _TimedSocket) -> None:
        super().__init__(raw)

    def close(self) -> None:
        """Close the stream. If bytes are left in the buffer, shut the connection down too."""
        if not self.closed:
            self.raw.end()
            if self.peek(1):
                self.raw.shut_down()
        super().close()
