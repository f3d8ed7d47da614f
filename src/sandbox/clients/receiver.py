"""A client for the receiver's control calls."""

from typing import Any
from urllib.parse import urlsplit

from sandbox.clients.base import Control, Json


class ReceiverClient(Control):
    """Reads what the receiver got, and sets how it answers."""

    def hook(self, name: str = "") -> str:
        """Return a URL to subscribe with; each name has its own deliveries."""
        return f"{self.url}/hook/{name}" if name else f"{self.url}/hook"

    def deliveries(self, name: str | None = None, *, count: int = 0, wait: float = 0) -> list[Json]:
        """Return the deliveries (to one hook); wait up to `wait` s for `count` of them."""
        query: Json = {"count": count, "wait": wait}
        if name is not None:
            query["path"] = self._path(name)
        return list(self._get("deliveries", **query)["deliveries"])

    def secret(self, secret: str, name: str | None = None) -> None:
        """Set the secret that signatures of deliveries (to one hook) are checked with."""
        path = None if name is None else self._path(name)
        self._post("secrets", {"secret": secret, "path": path})

    def answer(
        self,
        status: int | None = None,
        *,
        name: str | None = None,
        times: int | None = None,
        delay: float = 0,
        **more: Any,
    ) -> None:
        """Answer with this status, or after `delay` s; deliveries are still recorded.

        `times`: for how many calls (None: until `clear_faults`). `more` has other parameters of a
        fault: `body`, `headers`, `cut`.
        """
        endpoint = "/hook*" if name is None else self._path(name)
        self.fault(endpoint, status=status, times=times, delay_after=delay, process=True, **more)

    def _path(self, name: str) -> str:
        return urlsplit(self.hook(name)).path
