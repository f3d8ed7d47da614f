"""The service behind a real HTTP server, with the provider as its Hydra."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from sqlalchemy import delete
from werkzeug.serving import WSGIRequestHandler, make_server

from devstack.ports import LOOPBACK
from origin.accounts.service.login import CALLBACK_PATH
from origin.db.models import Base
from tests.integration.oidc.provider import CLIENT_ID, CLIENT_SECRET
from tests.support.world import Peer, World

_NOWHERE = f"http://{LOOPBACK}:9"


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Log nothing: URLs hold codes and states."""


class Door:
    """An HTTP server whose application can be replaced: its address is known before the service."""

    def __init__(self) -> None:
        self.app: Callable[[Any, Any], Iterable[bytes]] | None = None
        self._server = make_server(LOOPBACK, 0, self._call, threaded=True, request_handler=_Quiet)
        self.url = f"http://{LOOPBACK}:{self._server.port}"
        self.callback_url = self.url + CALLBACK_PATH
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _call(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        assert self.app is not None
        return self.app(environ, start_response)


class Service(World):
    """The service with default settings, without a cache of introspections."""

    def __init__(self, database_uri: str, provider_url: str, door: Door, **settings: Any) -> None:
        super().__init__(
            database_uri,
            Peer(provider_url),
            Peer(_NOWHERE),
            **{
                "project_url": door.url,
                "hydra_client_id": CLIENT_ID,
                "hydra_client_secret": CLIENT_SECRET,
                "hydra_introspect_auth": True,
                "token_cache_seconds": 0,
                **settings,
            },
        )
        door.app = self.app

    def user_id(self, subject: str) -> int | None:
        rows = self.rows("SELECT id FROM users WHERE subject = :s", s=subject)
        return int(rows[0][0]) if rows else None

    def stored_tokens(self, subject: str) -> tuple[str, str]:
        """Return the user's access and refresh token."""
        [row] = self.rows(
            "SELECT access_token, refresh_token FROM users WHERE subject = :s", s=subject
        )
        opened = self.runtime.sealer.open
        return (
            opened(row.access_token, f"users.access_token:{subject}"),
            opened(row.refresh_token, f"users.refresh_token:{subject}"),
        )

    def close(self) -> None:
        """Delete all rows, which is faster than a database for each test."""
        with self.runtime.database.transaction() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))
        self.runtime.database.dispose()
