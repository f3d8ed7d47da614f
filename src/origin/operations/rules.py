"""Operations: what they are, and how they are named by an Idempotency-Key (contract: v2, Operations).

`origin.operations.queries.operations` has the rule of an operation's status, in SQL.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from origin.errors import Rejected

IDEMPOTENCY_KEYS_KEPT_FOR = timedelta(hours=24)
"""How long an answer to a compose is repeated under its Idempotency-Key; pruning deletes it afterwards.
Operations keep their keys for ever."""


class Kind(StrEnum):
    """What an operation orders."""

    COMPOSE = "compose"
    TRANSFER = "transfer"
    RETIREMENT = "retirement"


class Status(StrEnum):
    """What has become of an operation. It follows from its row and its batches, and is stored nowhere."""

    QUEUED = "queued"
    PENDING = "pending"
    COMPLETED = "completed"
    PARTIALLY_COMPLETED = "partially_completed"
    DECLINED = "declined"
    REFUSED = "refused"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen, unless a declined batch is done again."""
        return self not in {Status.QUEUED, Status.PENDING}


class ItemStatus(StrEnum):
    """What has become of one source of an operation: the state of its batch."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    DECLINED = "declined"


class AlreadyPlanned(Rejected):
    """The operation is planned already: its GGOs are on their way, so it can't be cancelled."""

    code = "already_planned"


class AlreadyFinal(Rejected):
    """The operation is final already, so it can't be cancelled."""

    code = "already_final"


@dataclass(frozen=True)
class Hold:
    """A request's right to work under an Idempotency-Key.

    :ivar request_hash: SHA-256 of the body's bytes, in hex. A repeat must have the same.
    :ivar holder: Random; another request that takes the key over has another one.
    """

    user_id: int
    key: str
    request_hash: str
    holder: str


@dataclass(frozen=True)
class NewOperation:
    """An order as its request came.

    :ivar client: The client id of the token, if it is known.
    :ivar body: The request's JSON, as it was sent.
    """

    user_id: int
    kind: Kind
    client: str | None
    body: str


@dataclass(frozen=True)
class KeyOwner:
    """The operation of version 2 that has an Idempotency-Key for ever."""

    id: UUID
    kind: Kind
    request_hash: str
