"""How much an order takes."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Self

WHOLE = 10**7
"""100 %, in the units of `Percentage.share`: percentages have at most five decimals."""


@dataclass(frozen=True)
class Amount:
    """So many Wh in all."""

    amount: int


@dataclass(frozen=True)
class Percentage:
    """A percentage of each GGO, or of each measurement's unmet rest.

    :ivar share: In units of 10⁻⁷, from 1 to `WHOLE`: 12.5 % is 1,250,000.
    """

    share: int

    @classmethod
    def from_percent(cls, percent: Decimal) -> Self:
        """Return it from a number above 0 and at most 100, with at most five decimals.

        :raises ValueError: The number is another.
        """
        share = percent.scaleb(5)
        if not 0 < share <= WHOLE or share != int(share):
            raise ValueError(percent)
        return cls(int(share))

    def of(self, amount: int) -> int:
        """Return the percentage of an amount, computed exactly and rounded down to the Wh."""
        return amount * self.share // WHOLE


@dataclass(frozen=True)
class All:
    """All that is selected."""


Take = Amount | Percentage | All


class Shortfall(Enum):
    """What happens if there is less than the order asks for, by the wire's names."""

    REFUSE = "refuse"
    PARTIAL = "partial"
