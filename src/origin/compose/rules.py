"""Splitting a GGO into transfers, retires and what remains (contract: http-api, compose).

Pure rules over facts that the caller has read: first without locks, to ask DataHub no more than
is needed, and once more under the locks that make the answer final.
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
    """The subject's account is disabled."""

    code = "account_unavailable"
    subject: str


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
    """A wish: so many Wh to that account, under that reference."""

    amount: int
    account: str
    reference: str | None = None


@dataclass(frozen=True)
class Retire:
    """A wish: so many Wh retired to the caller's own consumption at that metering point."""

    amount: int
    gsrn: str


@dataclass(frozen=True)
class Order:
    """What a compose asks for; `transfers` and `retires` as in the request."""

    address: str
    transfers: Sequence[Transfer] = ()
    retires: Sequence[Retire] = ()

    @property
    def amount(self) -> int:
        """The Wh asked for."""
        transfers = sum(transfer.amount for transfer in self.transfers)
        return transfers + sum(retire.amount for retire in self.retires)


@dataclass(frozen=True)
class Source:
    """The GGO to be composed, as it stands."""

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
        """Stored, not retired, in step with the ledger, not expired (contract: domain, GGO).

        The ledger knows nothing of a GGO that was never sent to it, and would refuse to spend it.
        """
        spendable = self.stored and not self.retired and not self.locked
        in_step = not self.key_mismatch and not (self.never_sent and ledger_enabled)
        return spendable and in_step and not is_expired(self.expire_time, now)


@dataclass(frozen=True)
class Recipient:
    """An account that is named as a transfer's target."""

    id: int
    disabled: bool


@dataclass(frozen=True)
class ConsumptionPoint:
    """A consumption metering point of the caller's."""

    id: int
    gsrn: str


@dataclass(frozen=True)
class Measurement:
    """What was consumed at a metering point in the GGO's period, as DataHub published it.

    :param address_holds: Whether our own keys give this address, too.
    """

    address: str
    gsrn: str
    begin: datetime
    end: datetime
    sector: str
    amount: int
    is_consumption: bool
    address_holds: bool


class PartKind(Enum):
    """What becomes of a part of the source."""

    TRANSFER = "transfer"
    REMAINDER = "remainder"
    RETIRE = "retire"


@dataclass(frozen=True)
class Part:
    """A part of the source: a target of the split, or the whole where nothing is split."""

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
    """Check all that can be known without the measurements.

    :param source: The caller's own GGO at the order's address, if there is one.
    :param recipients: Known accounts by subject.
    :param points: The caller's consumption points by GSRN.
    :param ledger_enabled: LEDGER_ENABLED.
    :returns: the source.
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
    """Check that each retire has a measurement that it may be retired to.

    :param measurements: What DataHub answered for the source's period, by GSRN.
    :returns: the measurements, all there.
    :raises MeasurementUnavailable: There is none.
    :raises MeasurementUnfit: Nothing may be retired to it.
    """
    found: dict[str, Measurement] = {}
    for retire in order.retires:
        measurement = measurements.get(retire.gsrn)
        if measurement is None:
            raise MeasurementUnavailable(retire.gsrn, source.begin)
        fits = (
            measurement.is_consumption
            and measurement.address_holds
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
    """Check that no measurement has more retired to it than was measured.

    :param retired: Wh retired already, in flight included, by the measurement's address.
    :raises HeadroomExceeded: One has.
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
    """The parts of a checked order: transfers, then the remainder, then what is retired.

    They sum to the source's amount. One retire of the whole is one part: nothing is split.
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
    """Whether one retire takes the whole GGO, so that no split is needed."""
    return len(parts) == 1 and parts[0].kind is PartKind.RETIRE
