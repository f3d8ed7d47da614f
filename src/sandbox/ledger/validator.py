"""The validator: queues batches, commits them in blocks, and keeps their statuses."""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sandbox.ledger.envelope import Batch
from sandbox.ledger.errors import RefusedError
from sandbox.ledger.payloads import RejectedError
from sandbox.ledger.rules import InvalidBatchError, Record, apply_batch

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Status(StrEnum):
    """A batch's status in Sawtooth's terms."""

    PENDING = "PENDING"
    COMMITTED = "COMMITTED"
    INVALID = "INVALID"
    UNKNOWN = "UNKNOWN"


@dataclass
class Entry:
    """A batch with its status. `history` is complete; the validator may forget the other fields."""

    batch: Batch
    status: Status = Status.UNKNOWN
    invalid: list[dict[str, str]] = field(default_factory=list)
    forget_at: float | None = None
    posts: int = 0
    history: list[dict[str, str]] = field(default_factory=list)

    def become(self, status: Status, why: str = "") -> None:
        """Set the status, and add it to the history with time and reason."""
        self.status = status
        note = {"at": _now(), "status": status.value}
        self.history.append({**note, "why": why} if why else note)


@dataclass
class Tricks:
    """Misbehaviour on demand. Counts are of batches or bodies still to come.

    - `hold`: make no blocks, so that batches stay PENDING.
    - `frozen`: calls hang.
    - `processor_gone`: no transaction processor is registered, and nothing is executed.
    - `nonsense`: how many unreadable bodies to answer with 202.
    - `drop`: how many batches to accept and lose.
    - `invalid`: how many batches to refuse as INVALID, with `invalid_message`.
    """

    hold: bool = False
    frozen: bool = False
    processor_gone: bool = False
    nonsense: int = 0
    drop: int = 0
    invalid: int = 0
    invalid_message: str = "RefusedError on demand"


class Validator:
    """The state, the queue, and the known batches. Thread-safe.

    `block_time`: seconds between blocks; 0 commits a batch on submission. `invalid_memory`: seconds
    for which an INVALID batch is remembered after it was refused or last asked about; until then it
    is not executed again. `queue_limit`: most pending batches; more are answered with code 31.
    """

    def __init__(
        self,
        *,
        block_time: float = 0.2,
        issuers: Iterable[bytes] = (),
        invalid_memory: float = 800,
        queue_limit: int = 10_000,
    ) -> None:
        self.block_time = block_time
        self._issuers = frozenset(issuers)
        self._invalid_memory = invalid_memory
        self._queue_limit = queue_limit
        self._changed = threading.Condition()
        self.tricks = Tricks()
        self._clear()
        if block_time > 0:
            threading.Thread(target=self._make_blocks, name="blocks", daemon=True).start()

    def _clear(self) -> None:
        self._state: dict[str, Record] = {}
        self._entries: dict[str, Entry] = {}
        self._queue: deque[Entry] = deque()
        self._committed_batches: set[str] = set()
        self._committed_transactions: dict[str, str] = {}
        self._head = "0" * 128

    def reset(self) -> None:
        """Forget everything, and turn all tricks off."""
        with self._changed:
            self._clear()
            self.tricks = Tricks()
            self._changed.notify_all()

    # What clients do

    def wait_until_it_answers(self, seconds: float) -> bool:
        """Wait up to `seconds` while the validator is frozen; return whether it answers."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.tricks.frozen, seconds)

    def swallows_nonsense(self) -> bool:
        """Return whether to accept an unreadable body (the trick `nonsense`), and count it."""
        with self._changed:
            swallows = self.tricks.nonsense > 0
            self.tricks.nonsense -= swallows
            return swallows

    def submit(self, batches: list[Batch]) -> None:
        """Queue batches; RefusedError 31 if the queue is full. A known id is not queued twice."""
        with self._changed:
            if len(self._queue) + len(batches) > self._queue_limit:
                raise RefusedError(31)
            for batch in batches:
                entry = self._entries.setdefault(batch.id, Entry(batch))
                entry.posts += 1
                self._take(entry)
            if self.block_time == 0:
                self._commit_block()
            self._changed.notify_all()

    def statuses(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return a status object for each id, in the REST API's form."""
        with self._changed:
            found = [self._status_object(one) for one in ids]
            for one in found:
                if one["status"] == Status.INVALID:
                    self._entries[one["id"]].forget_at = self._forget_at()
            return found

    def state_at(self, address: str) -> Record | None:
        """Return the record at an address, or None."""
        with self._changed:
            return self._state.get(address)

    @property
    def head(self) -> str:
        """The id of the latest block."""
        with self._changed:
            return self._head

    # What the issuing body does

    def put(self, make: Callable[[dict[str, Record]], dict[str, Record]]) -> None:
        """Write the records that `make` returns for the current state; RejectedError passes through."""
        with self._changed:
            self._write("issuing body", make(self._state))
            self._changed.notify_all()

    # What an observer does

    def dump(self) -> dict[str, Record]:
        """Return a copy of the whole state, by address."""
        with self._changed:
            return dict(self._state)

    def entries(self) -> list[dict[str, Any]]:
        """Return every batch posted so far, in order, with its history and number of POSTs."""
        with self._changed:
            return [
                {
                    **self._status_object(one),
                    "posts": entry.posts,
                    "history": list(entry.history),
                    "signer": entry.batch.signer,
                    "transactions": [
                        {"id": each.id, "family": each.family} for each in entry.batch.transactions
                    ],
                }
                for one, entry in self._entries.items()
            ]

    def wait_until(self, ready: Callable[[], T], seconds: float) -> T:
        """Wait up to `seconds` until `ready` returns a true value; return its last value."""
        with self._changed:
            return self._changed.wait_for(ready, seconds)

    def pending(self) -> int:
        """Return how many batches wait for a block."""
        with self._changed:
            return len(self._queue)

    def seen(self) -> int:
        """Return how many different batches were posted so far."""
        with self._changed:
            return len(self._entries)

    # What goes wrong on demand

    def trick(self, changes: dict[str, Any]) -> Tricks:
        """Change some tricks, and return them all. With `block_time` 0 the queue is committed."""
        with self._changed:
            for name, value in changes.items():
                setattr(self.tricks, name, value)
            if self.block_time == 0:
                self._commit_block()
            self._changed.notify_all()
            return self.tricks

    def forget(self, *, committed: bool = False) -> None:
        """Forget the queue and INVALID batches, as a restart does; they become UNKNOWN.

        The committed state stays, and committed batches are never executed again. With `committed`
        these are UNKNOWN too until they are posted again, as on a validator that lags behind.
        """
        with self._changed:
            self._queue.clear()
            for entry in self._entries.values():
                if entry.status is not Status.COMMITTED or committed:
                    self._lose(entry, "forgotten")
            self._changed.notify_all()

    def pretend(self, batch_id: str, status: Status, message: str) -> None:
        """Report a false status until the batch is forgotten; RejectedError if it is unknown."""
        with self._changed:
            entry = self._entries.get(batch_id)
            if entry is None:
                raise RejectedError("No such batch")
            entry.become(status, "pretended")
            entry.forget_at = None
            entry.invalid = _invalid(entry.batch.transactions[0].id, message)
            self._changed.notify_all()

    # Inside

    def _take(self, entry: Entry) -> None:
        if self._forgotten(entry):
            self._lose(entry, "memory of an INVALID batch is over")
        if entry.status is not Status.UNKNOWN:
            return
        if entry.batch.id in self._committed_batches:
            entry.become(Status.COMMITTED, "was committed before")
        elif self.tricks.drop:
            self.tricks.drop -= 1
            entry.history.append({"at": _now(), "status": "DROPPED"})
        else:
            entry.become(Status.PENDING)
            self._queue.append(entry)

    def _make_blocks(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue) and not self._is_idle())
            time.sleep(self.block_time)
            with self._changed:
                self._commit_block()
                self._changed.notify_all()

    def _commit_block(self) -> None:
        while self._queue and not self._is_idle():
            self._execute(self._queue.popleft())

    def _is_idle(self) -> bool:
        return self.tricks.hold or self.tricks.frozen or self.tricks.processor_gone

    def _execute(self, entry: Entry) -> None:
        batch = entry.batch
        committed = [one.id for one in batch.transactions if one.id in self._committed_transactions]
        if committed:
            # The real validator leaves it out of every block, and never refuses it.
            entry.history.append({"at": _now(), "status": "STALLED", "why": committed[0]})
            return
        if self.tricks.invalid:
            self.tricks.invalid -= 1
            self._refuse(entry, batch.transactions[0].id, self.tricks.invalid_message)
            return
        try:
            writes = apply_batch(
                self._state,
                batch,
                issuers=self._issuers,
                committed=self._committed_transactions,
            )
        except InvalidBatchError as error:
            self._refuse(entry, error.transaction_id, error.message)
            return
        self._write(batch.id, writes)
        self._committed_batches.add(batch.id)
        self._committed_transactions.update((one.id, batch.id) for one in batch.transactions)
        entry.become(Status.COMMITTED)

    def _refuse(self, entry: Entry, transaction_id: str, message: str) -> None:
        logger.info("batch %s… is invalid: %s", entry.batch.id[:16], message)
        entry.become(Status.INVALID, message)
        entry.invalid = _invalid(transaction_id, message)
        entry.forget_at = self._forget_at()

    def _forget_at(self) -> float:
        return time.monotonic() + self._invalid_memory

    def _write(self, cause: str, writes: dict[str, Record]) -> None:
        self._state.update(writes)
        self._head = hashlib.sha512(f"{self._head}{cause}{sorted(writes)}".encode()).hexdigest()

    def _forgotten(self, entry: Entry) -> bool:
        return entry.forget_at is not None and time.monotonic() >= entry.forget_at

    def _lose(self, entry: Entry, why: str) -> None:
        if entry.status is not Status.UNKNOWN:
            entry.become(Status.UNKNOWN, why)
        entry.invalid = []
        entry.forget_at = None

    def _status_object(self, batch_id: str) -> dict[str, Any]:
        entry = self._entries.get(batch_id)
        if entry is not None and self._forgotten(entry):
            self._lose(entry, "memory of an INVALID batch is over")
        status = Status.UNKNOWN if entry is None else entry.status
        invalid = [] if entry is None or status is not Status.INVALID else entry.invalid
        return {"id": batch_id, "status": status.value, "invalid_transactions": invalid}


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _invalid(transaction_id: str, message: str) -> list[dict[str, str]]:
    return [{"id": transaction_id, "message": message, "extended_data": ""}]
