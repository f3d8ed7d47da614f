"""A client for the ledger's control calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sandbox.clients.base import Control, Json


class LedgerClient(Control):
    """Issues on the ledger, reads its state, and causes errors."""

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
        """Put a measurement in the state.

        `kind` is PRODUCTION or CONSUMPTION; `end` is an hour after `begin` unless given.
        """
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
        """Issue a GGO on a published production measurement."""
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
        """Return every batch posted so far, with status, number of POSTs and history.

        With `wait` (s): wait until `count` batches were posted and none is pending, or time is up.
        """
        return list(self._get("batches", count=count, wait=wait)["batches"])

    def hold(self, *, on: bool = True) -> None:
        """Stop making blocks, so that batches stay PENDING; `on=False` continues."""
        self._post("tricks", {"hold": on})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make no blocks while the context is open."""
        self.hold()
        try:
            yield
        finally:
            self.hold(on=False)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the validator while the context is open.

        Calls hang, and are executed afterwards even if their callers have given up.
        """
        self._post("tricks", {"frozen": True})
        try:
            yield
        finally:
            self._post("tricks", {"frozen": False})

    def restart(self, *, processor_comes_back: bool = True) -> None:
        """Restart the validator, which forgets as `forget` says.

        With `processor_comes_back=False` it executes nothing until `restart_processor`.
        """
        self._post("tricks", {"processor_gone": not processor_comes_back})
        self.forget()

    def restart_processor(self) -> None:
        """Bring the transaction processor back after `restart`."""
        self._post("tricks", {"processor_gone": False})

    def swallow_nonsense(self, count: int = 1) -> None:
        """Answer 202 to the next `count` unreadable bodies."""
        self._post("tricks", {"nonsense": count})

    def drop_next(self, count: int = 1) -> None:
        """Accept the next `count` batches and lose them: their status is UNKNOWN."""
        self._post("tricks", {"drop": count})

    def refuse_next(self, count: int = 1, message: str = "Refused on demand") -> None:
        """Refuse the next `count` batches as INVALID, whatever their content."""
        self._post("tricks", {"invalid": count, "invalid_message": message})

    def forget(self, *, committed: bool = False) -> None:
        """Forget PENDING and INVALID batches as a restart does; `committed`: COMMITTED statuses too."""
        self._post("forget", {"committed": committed})

    def pretend(self, batch_id: str, status: str, message: str = "Pretended") -> None:
        """Report a false status for a batch until it is forgotten."""
        self._post("pretend", {"id": batch_id, "status": status, "message": message})

    def link_prefix(self, prefix: str) -> None:
        """Set the start of the `link` in answers; empty: the ledger's own URL."""
        self._post("link", {"prefix": prefix})
