"""Splitting a GGO into transfers, retires and a remainder (contract: http-api, compose).

Pure rules over facts that the caller has read: first without locks, so that a hopeless order costs
no call to DataHub, and once more under the locks that make the decision final.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from origin.errors import MeteringPointUnavailable, Rejected
from origin.ggos.rules.expiry import is_expired


class NothingOrdered(Rejected):
    """The order has neither transfers nor retires."""

    code = "nothing_ordered"


@dataclass(eq=False)
class GgoUnavailable(Rejected):
    """The caller has no GGO at this address that can be spent now."""

    code = "ggo_unavailable"
    address: str


class AmountExceedsAvailable(Rejected):
    """The order asks for more Wh than the GGO has."""

    code = "amount_exceeds_available"


@dataclass(eq=False)
class UnknownRecipients(Rejected):
    """These subjects have no account.

    :ivar subjects: By the position of their transfer in the order, from 0.
    """

    code = "unknown_recipients"
    subjects: Mapping[int, str]


@dataclass(eq=False)
class AccountUnavailable(Rejected):
    """The subject's account is disabled or, in version 2, unknown.

    :ivar positions: Of all targets of a bulk transfer whose accounts are unavailable, from 0.
    """

    code = "account_unavailable"
    subject: str
    positions: Sequence[int] = ()


@dataclass(eq=False)
class MeasurementUnavailable(Rejected):
    """The metering point has no measurement that begins at this time."""

    code = "measurement_unavailable"
    gsrn: str
    begin: datetime


@dataclass(eq=False)
class MeasurementUnfit(Rejected):
    """Nothing can be retired to the measurement at this address.

    It is no consumption, of another period or sector, or at an address that our keys do not give.
    """

    code = "measurement_unfit"
    address: str


@dataclass(eq=False)
class HeadroomExceeded(Rejected):
    """The retire's amount is more than may still be retired to the measurement, both in Wh."""

    code = "headroom_exceeded"
    headroom: int
    amount: int


@dataclass(frozen=True)
class Transfer:
    """A transfer as requested: `amount` in Wh, `account` is the recipient's subject."""

    amount: int
    account: str
    reference: str | None = None


@dataclass(frozen=True)
class Retire:
    """A retire as requested: `amount` in Wh to the caller's own consumption at this GSRN."""

    amount: int
    gsrn: str


@dataclass(frozen=True)
class Order:
    """What a compose asks for; `transfers` and `retires` in the request's order."""

    address: str
    transfers: Sequence[Transfer] = ()
    retires: Sequence[Retire] = ()

    @property
    def amount(self) -> int:
        """The Wh of all transfers and retires."""
        transfers = sum(transfer.amount for transfer in self.transfers)
        return transfers + sum(retire.amount for retire in self.retires)


@dataclass(frozen=True)
class Source:
    """The GGO to compose, as it is in the database; `amount` in Wh, times in UTC."""

    id: int
    owner_id: int
    address: str
    amount: int
    begin: datetime
    end: datetime
    sector: str
    expire_time: datetime
    stored: bool
    retired: bool
    locked: bool
    key_mismatch: bool
    never_sent: bool = False

    def is_tradable(self, now: datetime, *, ledger_enabled: bool) -> bool:
        """Tell whether it is stored, not retired, not locked and not expired (contract: domain, GGO).

        A GGO that was never sent to the ledger is tradable only without a ledger: the ledger would
        refuse to spend it.
        """
        spendable = self.stored and not self.retired and not self.locked
        in_step = not self.key_mismatch and not (self.never_sent and ledger_enabled)
        return spendable and in_step and not is_expired(self.expire_time, now)


@dataclass(frozen=True)
class Recipient:
    """An account that a transfer names as its target."""

    id: int
    disabled: bool


@dataclass(frozen=True)
class ConsumptionPoint:
    """A consumption metering point of the caller's."""

    id: int
    gsrn: str


@dataclass(frozen=True)
class Measurement:
    """The consumption at a metering point in the GGO's period, as DataHub published it.

    :ivar amount: Wh.
    :ivar has_derived_address: Whether our own keys derive the same address.
    """

    address: str
    gsrn: str
    begin: datetime
    end: datetime
    sector: str
    amount: int
    is_consumption: bool
    has_derived_address: bool


class PartKind(Enum):
    """What a part of the source becomes."""

    TRANSFER = "transfer"
    REMAINDER = "remainder"
    RETIRE = "retire"


@dataclass(frozen=True)
class Part:
    """A part of the source: a target of the split, or the whole GGO if nothing is split; Wh."""

    kind: PartKind
    owner_id: int
    amount: int
    reference: str | None = None
    retire_gsrn: str | None = None
    retire_address: str | None = None


def check_order(
    order: Order,
    source: Source | None,
    recipients: Mapping[str, Recipient],
    points: Mapping[str, ConsumptionPoint],
    now: datetime,
    *,
    ledger_enabled: bool = True,
) -> Source:
    """Check everything that needs no measurements.

    :param source: The caller's GGO at the order's address, if there is one.
    :param recipients: Known accounts by subject.
    :param points: The caller's consumption points by GSRN.
    :param ledger_enabled: LEDGER_ENABLED.
    :returns: The source.
    :raises Rejected: The order breaks a rule.
    """
    if not order.transfers and not order.retires:
        raise NothingOrdered
    _check_recipients(order.transfers, recipients)
    if source is None or not source.is_tradable(now, ledger_enabled=ledger_enabled):
        raise GgoUnavailable(order.address)
    if order.amount > source.amount:
        raise AmountExceedsAvailable
    for retire in order.retires:
        if retire.gsrn not in points:
            raise MeteringPointUnavailable([retire.gsrn])
    return source


def _check_recipients(transfers: Sequence[Transfer], recipients: Mapping[str, Recipient]) -> None:
    unknown = {
        index: transfer.account
        for index, transfer in enumerate(transfers)
        if transfer.account not in recipients
    }
    if unknown:
        raise UnknownRecipients(unknown)
    for transfer in transfers:
        if recipients[transfer.account].disabled:
            raise AccountUnavailable(transfer.account)


def check_measurements(
    order: Order, source: Source, measurements: Mapping[str, Measurement | None]
) -> dict[str, Measurement]:
    """Check that each retire has a measurement that the GGO may be retired to.

    :param measurements: What DataHub answered for the source's period, by GSRN.
    :returns: The measurement of each retire, by GSRN.
    :raises MeasurementUnavailable: There is none.
    :raises MeasurementUnfit: The GGO may not be retired to it.
    """
    found: dict[str, Measurement] = {}
    for retire in order.retires:
        measurement = measurements.get(retire.gsrn)
        if measurement is None:
            raise MeasurementUnavailable(retire.gsrn, source.begin)
        fits = (
            measurement.is_consumption
            and measurement.has_derived_address
            and measurement.gsrn == retire.gsrn
            and measurement.sector == source.sector
            and measurement.begin == source.begin
            and measurement.end == source.end
        )
        if not fits:
            raise MeasurementUnfit(measurement.address)
        found[retire.gsrn] = measurement
    return found


def check_headroom(
    order: Order, measurements: Mapping[str, Measurement], retired: Mapping[str, int]
) -> None:
    """Check that no more is retired to a measurement than was measured (the retire headroom).

    :param retired: Wh retired to each measurement before, in flight included, by its address.
    :raises HeadroomExceeded: More would be.
    """
    taken: dict[str, int] = defaultdict(int, retired)
    for retire in order.retires:
        measurement = measurements[retire.gsrn]
        headroom = max(measurement.amount - taken[measurement.address], 0)
        if retire.amount > headroom:
            raise HeadroomExceeded(headroom, retire.amount)
        taken[measurement.address] += retire.amount


def parts_of(
    order: Order,
    source: Source,
    recipients: Mapping[str, Recipient],
    measurements: Mapping[str, Measurement],
) -> list[Part]:
    """Return the parts of a checked order: transfers, then the remainder, then retires.

    They sum to the source's amount. A retire of the whole GGO is one part: nothing is split.
    """
    parts = [
        Part(
            PartKind.TRANSFER,
            recipients[transfer.account].id,
            transfer.amount,
            reference=transfer.reference,
        )
        for transfer in order.transfers
    ]
    remainder = source.amount - order.amount
    if remainder:
        parts.append(Part(PartKind.REMAINDER, source.owner_id, remainder))
    parts.extend(
        Part(
            PartKind.RETIRE,
            source.owner_id,
            retire.amount,
            retire_gsrn=retire.gsrn,
            retire_address=measurements[retire.gsrn].address,
        )
        for retire in order.retires
    )
    assert sum(part.amount for part in parts) == source.amount
    assert all(part.amount > 0 for part in parts)
    return parts


def is_whole_retire(parts: Sequence[Part]) -> bool:
    """Tell whether one retire takes the whole GGO, so that no split is needed."""
    return len(parts) == 1 and parts[0].kind is PartKind.RETIRE
