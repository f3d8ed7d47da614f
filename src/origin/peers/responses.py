"""Reads one HTTP answer from a connection, and tells whether the connection is fit for the next one.

`http.client` takes every interim answer but `100` for the answer itself. It also forgets bytes that
came behind an answer. Both would give one caller the answer to another caller's question.
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
    """The peer sends interim answers (1xx) and no final one."""


class ConflictingLengths(http.client.HTTPException):
    """The answer has several lengths, so nobody knows its end."""


def is_idle(sock: socket.socket) -> bool:
    """Whether nothing has come on a connection that no question is waiting on.

    Bytes that have come belong to no question, so the connection is not to be used again. The end of
    the connection counts as well. TLS within TLS (a proxy by https) can't be looked into, and is never
    idle.
    """
    if not isinstance(sock, socket.socket):
        return False
    deciphered = getattr(sock, "pending", int)()
    return not deciphered and not wait_for_read(sock, timeout=0)


class TimedResponse(http.client.HTTPResponse):
    """An answer that is read, headers and all, before its time is over.

    Interim answers before it are skipped; `101` is the answer, as the peer speaks HTTP no longer. The
    connection is shut down after an answer that has more bytes behind it.

    :param timeout_s: How long all of it may take.
    """

    def __init__(
        self, timeout_s: float, sock: socket.socket, *args: object, **kwargs: object
    ) -> None:
        super().__init__(sock, *args, **kwargs)  # type: ignore[arg-type] # as `http.client` gives them
        raw = self.fp.detach()
        self.fp = _ResponseReader(_TimedSocket(raw, sock, time.monotonic() + timeout_s))

    def begin(self) -> None:
        """Read the headers; the connection is closed after an answer whose end is in doubt.

        :raises ConflictingLengths: they contradict each other.
        """
        super().begin()
        lengths = _listed(self.headers, "content-length")
        if len({*lengths}) > 1:
            raise ConflictingLengths
        if _has_doubtful_end(self.status, lengths, _listed(self.headers, "transfer-encoding")):
            self.will_close = True

    def _read_status(self) -> tuple[str, int, str]:
        # Private, but `urllib3` calls it too: for the answer of a proxy that makes a tunnel.
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc] # typeshed lacks it
            if status // 100 != 1 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise TooManyInterimResponses


def _listed(headers: Message, name: str) -> list[str]:
    """The values of a header that may come several times, or have several values."""
    return [each.strip() for value in headers.get_all(name, []) for each in value.split(",")]


def _has_doubtful_end(status: int, lengths: list[str], codings: list[str]) -> bool:
    """Whether another reader could take the answer to end elsewhere (RFC 9112, 6.3)."""
    if status == HTTPStatus.SWITCHING_PROTOCOLS or (lengths and codings):
        return True
    if status == HTTPStatus.NO_CONTENT:
        return bool(codings) or any(length != "0" for length in lengths)
    if codings:
        return [coding.lower() for coding in codings] != ["chunked"]
    return len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths)


class _TimedSocket(io.RawIOBase):
    """Reads from a socket until the deadline, no read longer than the socket's own timeout."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout_s = sock.gettimeout()
        self._deadline = deadline
        self._is_over = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        """As of any raw stream.

        :raises TimeoutError: nothing came in time, or the time is over.
        """
        if self._is_over:
            return 0
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(left_s if self._timeout_s is None else min(left_s, self._timeout_s))
        return self._raw.readinto(buffer)

    def end(self) -> None:
        """Read nothing more from the socket."""
        self._is_over = True

    def shut_down(self) -> None:
        """End the connection for everyone who has it."""
        # The peer may have ended it already.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket."""
        if not self.closed:
            self._raw.close()
        super().close()


class _ResponseReader(io.BufferedReader):
    """The bytes of one answer. `http.client` closes it at the answer's end."""

    raw: _TimedSocket

    def __init__(self, raw: _TimedSocket) -> None:
        super().__init__(raw)

    def close(self) -> None:
        """Shut the connection down where bytes are left: they are lost for the next answer."""
        if not self.closed:
            self.raw.end()
            if self.peek(1):
                self.raw.shut_down()
        super().close()
