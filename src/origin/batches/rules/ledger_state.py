"""The records of the ledger's state (contract: peers, The ledger)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from origin.keys.derivation import settlement_address


@dataclass(frozen=True, eq=False)
class LedgerNext:
    """What a spent GGO became.

    Two are equal if they have the same action and addresses, in any order.

    :ivar action: SPLIT, RETIRE or TRANSFER.
    :ivar addresses: The parts' addresses or the settlement's, in the ledger's order. The ledger may
        repeat an address.
    """

    action: str
    addresses: tuple[str, ...]

    @property
    def address_set(self) -> frozenset[str]:
        """The addresses, without order."""
        return frozenset(self.addresses)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LedgerNext):
            return NotImplemented
        return self.action == other.action and self.address_set == other.address_set

    def __hash__(self) -> int:
        return hash((self.action, self.address_set))


@dataclass(frozen=True)
class LedgerGgo:
    """A GGO as the ledger's state has it.

    :ivar origin: The address of the measurement, or of the GGO that this is a part of.
    :ivar amount: Wh.
    :ivar begin: With a time zone, as `end`.
    :ivar next: What it became; None: it is unspent.
    """

    address: str
    origin: str
    amount: int
    begin: datetime
    end: datetime
    sector: str
    technology_code: str
    fuel_code: str
    next: LedgerNext | None = None

    @property
    def action(self) -> str | None:
        """What spent it: SPLIT, RETIRE or TRANSFER; None: it is unspent."""
        return None if self.next is None else self.next.action

    @property
    def next_addresses(self) -> tuple[str, ...]:
        """What it became, in the ledger's order; empty: it is unspent."""
        return () if self.next is None else self.next.addresses


@dataclass(frozen=True)
class LedgerSettlement:
    """A settlement as the ledger's state has it.

    :ivar measurement: The measurement's address.
    :ivar amounts: Wh by the address of the retired GGO.
    """

    measurement: str
    amounts: Mapping[str, int]


class LedgerState(Protocol):
    """Reads the ledger's state. Each call may raise a PeerError."""

    def read_ggo(self, address: str) -> LedgerGgo | None:
        """Return the GGO at this address; None: nothing is there."""

    def read_settlement(self, address: str) -> LedgerSettlement | None:
        """Return the settlement at this address; None: nothing is there."""


def settlement_address_of(measurement: str) -> str:
    """Return where the ledger settles what is retired to this measurement.

    For comparisons: text that is not an address is returned as it is, and the ledger has nothing
    there.
    """
    try:
        return settlement_address(measurement)
    except ValueError:
        return measurement
