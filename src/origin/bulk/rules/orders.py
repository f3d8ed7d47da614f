"""Bulk orders as they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from origin.bulk.rules.retirements import RetirementOrder
from origin.bulk.rules.stock import GgoOrder
from origin.bulk.rules.takes import Amount, Shortfall, Take
from origin.bulk.rules.transfers import Spread, Target
from origin.shared.periods import Period


@dataclass(frozen=True)
class Selection:
    """Which of the caller's GGOs an order may spend. An empty list stands for all.

    :ivar technology: Labels; `Unknown` selects GGOs without one.
    :ivar period: GGOs that begin in it; None: at any time.
    :ivar expires_before: Only GGOs that expire before then.
    """

    sector: Sequence[str] = ()
    technology: Sequence[str] = ()
    technology_code: Sequence[str] = ()
    fuel_code: Sequence[str] = ()
    issue_gsrn: Sequence[str] = ()
    address: Sequence[str] = ()
    period: Period | None = None
    expires_before: datetime | None = None


@dataclass(frozen=True)
class BulkTransfer:
    """An order to transfer GGOs.

    :ivar expected: The digest of the plan that the caller expects, if any.
    """

    select: Selection
    targets: Sequence[Target]
    order: GgoOrder
    spread: Spread
    shortfall: Shortfall
    expected: str | None

    @property
    def requested(self) -> int | None:
        """The Wh of all targets; None if they follow from what is selected."""
        amounts = [target.take.amount for target in self.targets if isinstance(target.take, Amount)]
        return sum(amounts) if amounts else None


@dataclass(frozen=True)
class BulkRetirement:
    """An order to retire GGOs to the caller's own consumption.

    :ivar points: GSRNs; empty: all of the caller's consumption points.
    :ivar period: Of the measurements, by their begin.
    :ivar expected: The digest of the plan that the caller expects, if any.
    """

    select: Selection
    points: Sequence[str]
    period: Period
    take: Take
    order: RetirementOrder
    shortfall: Shortfall
    expected: str | None

    @property
    def requested(self) -> int | None:
        """The total amount in Wh; None if it follows from the measurements."""
        return self.take.amount if isinstance(self.take, Amount) else None


BulkOrder = BulkTransfer | BulkRetirement
