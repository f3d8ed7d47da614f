"""A client for the ledger's control calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sandbox.clients.base import Control, Json


class LedgerClient(Control):
    """The ledger: issue on it, look into it, make it go wrong."""

    def publish(
        self,
        address: str,
        *,
        amount: int,
        kind: str,
        begin: datetime,
        end: datetime | None = None,
        sector: str = "DK1",
    ) -> None:
        """Put a measurement in state; `kind` is PRODUCTION or CONSUMPTION, a period an hour."""
        self._post(
            "publish",
            {
                "address": address,
                "amount": amount,
                "type": kind,
                "begin": begin.isoformat(),
                "end": (end or begin + timedelta(hours=1)).isoformat(),
                "sector": sector,
            },
        )

    def issue(
        self,
        measurement_address: str,
        ggo_address: str,
        *,
        technology: str = "T020001",
        fuel: str = "F01050100",
        emissions: Json | None = None,
    ) -> None:
        """Issue a GGO on a production measurement that was published before."""
        self._post(
            "issue",
            {
                "measurement_address": measurement_address,
                "ggo_address": ggo_address,
                "tech_type": technology,
                "fuel_type": fuel,
                "emissions": emissions,
            },
        )

    def state(self) -> dict[str, Json]:
        """Return the whole state: records by address."""
        return dict(self._get("state")["state"])

    def batches(self, *, count: int = 0, wait: float = 0) -> list[Json]:
        """Return every batch ever posted, with status, posts and history.

        With `wait` (s): once `count` batches have come and none is pending, or time is up.
        """
        return list(self._get("batches", count=count, wait=wait)["batches"])

    def hold(self, *, on: bool = True) -> None:
        """Make no blocks, so that batches stay PENDING; or go on."""
        self._post("tricks", {"hold": on})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make no blocks meanwhile."""
        self.hold()
        try:
            yield
        finally:
            self.hold(on=False)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Be dead or stopped meanwhile: calls hang, and go on afterwards, whoever has given them up."""
        self._post("tricks", {"frozen": True})
        try:
            yield
        finally:
            self._post("tricks", {"frozen": False})

    def restart(self, *, processor_comes_back: bool = True) -> None:
        """Forget as `forget` does; the processor too, if told so: nothing is executed until it is back."""
        self._post("tricks", {"processor_gone": not processor_comes_back})
        self.forget()

    def restart_processor(self) -> None:
        """Have the processor back."""
        self._post("tricks", {"processor_gone": False})

    def swallow_nonsense(self, count: int = 1) -> None:
        """Answer 202 to that many bodies that can't be read."""
        self._post("tricks", {"nonsense": count})

    def drop_next(self, count: int = 1) -> None:
        """Accept that many batches and lose them: their status is UNKNOWN."""
        self._post("tricks", {"drop": count})

    def refuse_next(self, count: int = 1, message: str = "Refused on demand") -> None:
        """Make that many batches INVALID, whatever they hold."""
        self._post("tricks", {"invalid": count, "invalid_message": message})

    def forget(self, *, committed: bool = False) -> None:
        """Forget PENDING and INVALID batches as by a restart; `committed`: those statuses too."""
        self._post("forget", {"committed": committed})

    def pretend(self, batch_id: str, status: str, message: str = "Pretended") -> None:
        """Report a status for a batch that isn't true, until it is forgotten."""
        self._post("pretend", {"id": batch_id, "status": status, "message": message})

    def link_prefix(self, prefix: str) -> None:
        """Let the `link` of answers point elsewhere; empty: home again."""
        self._post("link", {"prefix": prefix})
