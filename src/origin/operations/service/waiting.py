"""Wait until operations are final, without holding a connection (contract: v2, `Prefer: wait`)."""

import logging
import threading
import time
from collections.abc import Collection
from uuid import UUID

from origin.db.engine import Database
from origin.operations.queries import operations as queries

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often one query asks for all operations that requests of this process wait for."""
_AFTER_ERROR_S = 1.0


class Waiting:
    """Lets requests wait. One thread per process asks the database, only while any request waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: dict[UUID, set[threading.Event]] = {}
        self._is_polling = False

    def until_final(self, operation_id: UUID, seconds: float) -> None:
        """Return once the operation is final, at the latest after these seconds."""
        is_final = threading.Event()
        with self._lock:
            self._waiting.setdefault(operation_id, set()).add(is_final)
            if not self._is_polling:
                self._is_polling = True
                threading.Thread(target=self._poll, name="operations", daemon=True).start()
        try:
            is_final.wait(seconds)
        finally:
            self._leave(operation_id, is_final)

    def _leave(self, operation_id: UUID, is_final: threading.Event) -> None:
        with self._lock:
            waiting = self._waiting[operation_id]
            waiting.remove(is_final)
            if not waiting:
                del self._waiting[operation_id]

    def _poll(self) -> None:
        """Ask for all operations until no request waits any more."""
        while ids := self._wanted():
            began = time.monotonic()
            try:
                self._wake(queries.final_ones(self._database, ids))
            except Exception:
                # The requests go on waiting, and tell how their operations stand at the end.
                log.warning("Can't ask what has become of operations", exc_info=True)
                time.sleep(_AFTER_ERROR_S)
            # A slow database is asked less often.
            time.sleep(max(POLL_S, time.monotonic() - began))

    def _wanted(self) -> Collection[UUID]:
        with self._lock:
            self._is_polling = bool(self._waiting)
            return list(self._waiting)

    def _wake(self, final: Collection[UUID]) -> None:
        with self._lock:
            for each in final:
                for is_final in self._waiting.get(each, ()):
                    is_final.set()
