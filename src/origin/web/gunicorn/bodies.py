"""Request bodies under gunicorn: unread ones close the connection, ill-formed ones are a 400.

Gunicorn itself would read the rest of an unread body, however long, in small pieces.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]

from origin.errors import BodyCutShort, BodyIllFormed

_FEW_BYTES = 1 << 16
"""An unread body of at most this length is read and dropped, which keeps the connection open."""


class WatchedBody(io.RawIOBase):
    """A request's body, which knows whether it was read to its end.

    Uses `body`, `headers` (with names in capitals) and `force_close` of gunicorn's request.

    :param waiting: Called with the Timeout that bounds a wait for the body; returns a context in
        which the Timeout may be raised early, when another client needs the connection's place.
    """

    def __init__(
        self, request: Any, waiting: Callable[[Any], AbstractContextManager[None]]
    ) -> None:
        self.waiting = waiting
        self._request = request
        self._body = request.body
        fields = dict(request.headers)
        # None for a chunked body, whose length is unknown.
        self._missing = (
            None if "TRANSFER-ENCODING" in fields else int(fields.get("CONTENT-LENGTH", 0))
        )
        self._is_broken = False
        self.was_left = False
        """The response was sent before the whole body was read."""

    @property
    def is_over(self) -> bool:
        """Whether it was read to its end."""
        return self._missing == 0 and not self._is_broken

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes.

        :raises BodyIllFormed: Its chunks are ill-formed.
        :raises BodyCutShort: The client stopped sending before it was whole.
        """
        if self._missing == 0:
            return 0
        try:
            data = self._body.read(len(buffer))
        except NoMoreData:
            self._is_broken = True
            raise BodyCutShort from None
        except ParseException:
            self._is_broken = True
            raise BodyIllFormed from None
        except BaseException:
            # An interrupted read: gunicorn's reader of chunks would return an empty one next.
            self._is_broken = True
            raise
        buffer[: len(data)] = data
        if self._missing is not None:
            self._missing -= len(data)
            if not data:
                self._is_broken = True
                raise BodyCutShort
        elif not data:
            self._missing = 0
        return len(data)

    def leave(self, sock: Any) -> None:
        """Close the connection after this response, unless the body's rest is short and has arrived.

        A short rest is read and dropped, without waiting for more bytes.
        """
        sock.settimeout(0)
        try:
            left = 0 if self._is_broken else _FEW_BYTES
            while not self.is_over and left >= (self._missing or 1):
                left -= len(self.read(left) or b"")
        except (OSError, BodyCutShort, BodyIllFormed):
            # Not all of it has arrived.
            pass
        finally:
            sock.settimeout(None)
        if not self.is_over:
            self.was_left = True
            self._request.force_close()


def closing_at_unread_bodies(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Wrap a WSGI application: a body that it leaves unread closes the connection."""

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(*arguments: Any) -> Any:
            body = environ["wsgi.input"]
            if not body.is_over:
                body.leave(environ["gunicorn.socket"])
            return start_response(*arguments)

        return app(environ, start)

    return respond
