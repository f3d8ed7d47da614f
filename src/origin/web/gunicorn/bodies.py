"""Request bodies under gunicorn: what was left unread ends the connection, what is ill-formed is a 400.

Gunicorn itself reads on to the end of a body that the view left, however long it is, in small pieces.
"""

import io
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException  # type: ignore[import-untyped]

from origin.errors import BodyCutShort, BodyIllFormed

_LITTLE_BYTES = 1 << 16
"""A client that sent no more than this without need keeps its connection."""


class WatchedBody(io.RawIOBase):
    """A request's body, which knows whether the connection stands at its end.

    Of gunicorn's request it uses `body`, `headers` (with names in capitals) and `force_close`.

    :param waiting: Given the Timeout that bounds a wait for it, a block in which that may come early:
        when others need the connection's place.
    """

    def __init__(
        self, request: Any, waiting: Callable[[Any], AbstractContextManager[None]]
    ) -> None:
        self.waiting = waiting
        self._request = request
        self._body = request.body
        fields = dict(request.headers)
        # None: its end shows when it is reached.
        self._missing = (
            None if "TRANSFER-ENCODING" in fields else int(fields.get("CONTENT-LENGTH", 0))
        )
        self._is_broken = False
        self.was_left = False
        """The answer has gone out while some of the body was still to be read."""

    @property
    def is_over(self) -> bool:
        """Whether it was read to its end."""
        return self._missing == 0 and not self._is_broken

    def readable(self) -> bool:
        """It can be read, and nothing else."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some of it.

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
            # Interrupted. Gunicorn's reader of chunks would take the next read for the end.
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
        """Have the connection end with this answer, unless the next request can begin on it.

        What is short and has come already is passed over; nothing is waited for.
        """
        sock.settimeout(0)
        try:
            left = 0 if self._is_broken else _LITTLE_BYTES
            while not self.is_over and left >= (self._missing or 1):
                left -= len(self.read(left) or b"")
        except (OSError, BodyCutShort, BodyIllFormed):
            # There is more to come.
            pass
        finally:
            sock.settimeout(None)
        if not self.is_over:
            self.was_left = True
            self._request.force_close()


def ending_at_unread_bodies(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The WSGI application, but that a body which it leaves unread ends the connection."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(*arguments: Any) -> Any:
            body = environ["wsgi.input"]
            if not body.is_over:
                body.leave(environ["gunicorn.socket"])
            return start_response(*arguments)

        return app(environ, start)

    return answer
