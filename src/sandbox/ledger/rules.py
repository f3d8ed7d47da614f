"""The ledger's rules: what each transaction may change in the state (contract: domain).

`apply_batch` applies a batch to a state (a mapping from address to record) and returns the records
that it writes, or raises InvalidBatchError. It knows nothing of HTTP, queues or batch signatures.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.addresses import Kind, address_of, kind_of, same_key
from sandbox.ledger.envelope import Batch, Transaction
from sandbox.ledger.payloads import (
    FAMILY_VERSION,
    IssueGGO,
    MeasurementType,
    PublishMeasurement,
    RejectedError,
    RetireGGO,
    Settle,
    SplitGGO,
    TransferGGO,
)
from sandbox.times import iso

Record = dict[str, Any]
State = Mapping[str, Record]


class InvalidBatchError(Exception):
    """A batch breaks a rule; `transaction_id` is the transaction that does."""

    def __init__(self, transaction_id: str, message: str) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        self.message = message


class BatchRun:
    """A batch being applied: the state before it, and its writes so far."""

    def __init__(self, state: State, issuers: frozenset[bytes]) -> None:
        self.state = state
        self.issuers = issuers
        self.writes: dict[str, Record] = {}
        self.unsettled: dict[str, str] = {}
        """Maps addresses of GGOs retired but not yet settled to the retiring transactions' ids."""


class Context:
    """One transaction's access to the state, limited to the addresses in its header."""

    def __init__(self, run: BatchRun, transaction: Transaction) -> None:
        self.run = run
        self.transaction = transaction

    def get(self, address: str) -> Record | None:
        """Return the record at an address; RejectedError if no input covers it."""
        if not _covered(address, self.transaction.inputs):
            raise RejectedError(f"Tried to read an address outside of the inputs: {address}")
        return self.run.writes.get(address) or self.run.state.get(address)

    def put(self, address: str, record: Record) -> None:
        """Write a record; RejectedError if no output covers the address."""
        if not _covered(address, self.transaction.outputs):
            raise RejectedError(f"Tried to write to an address outside of the outputs: {address}")
        self.run.writes[address] = record

    def signed_by_owner_of(self, kind: Kind, address: str) -> None:
        """Raise RejectedError unless the address is the signer's."""
        if address_of(kind, self.transaction.signer) != address:
            raise RejectedError(f"Not signed by the key of the {kind} address {address}")

    def unspent_ggo(self, address: str) -> Record:
        """Return the signer's unspent GGO at an address; RejectedError if there is none."""
        require_address(Kind.GGO, address)
        self.signed_by_owner_of(Kind.GGO, address)
        ggo = self.get(address)
        if ggo is None:
            raise RejectedError(f"No GGO at {address}")
        if ggo["next"] is not None:
            raise RejectedError(f"The GGO at {address} is used already: {ggo['next']['action']}")
        return ggo

    def require_unused(self, kind: Kind, address: str) -> None:
        """Raise RejectedError unless an address is well-formed and unused."""
        require_address(kind, address)
        if self.get(address) is not None:
            raise RejectedError(f"The address {address} is in use already")

    def spend(self, address: str, ggo: Record, action: str, addresses: list[str]) -> None:
        """Record how a GGO was spent."""
        self.put(address, {**ggo, "next": {"action": action, "addresses": addresses}})

    def require_issuer(self) -> None:
        """Raise RejectedError unless the issuing body signed the transaction."""
        if self.transaction.signer not in self.run.issuers:
            raise RejectedError("Only the issuing body may do this")


def require_address(kind: Kind, address: str) -> None:
    """Raise RejectedError unless an address is well-formed, of this kind, with a right checksum."""
    if kind_of(address) is not kind:
        raise RejectedError(f"Not a {kind} address: {address}")


def _covered(address: str, announced: tuple[str, ...]) -> bool:
    return any(address.startswith(prefix) for prefix in announced)


def measurement_record(payload: PublishMeasurement) -> Record:
    """Return the state's record of a measurement; RejectedError if its period is empty."""
    if payload.begin >= payload.end:
        raise RejectedError("A measurement begins before it ends")
    return {
        "amount": payload.amount,
        "type": payload.type.value,
        "begin": iso(payload.begin),
        "end": iso(payload.end),
        "sector": payload.sector,
    }


def issued_record(payload: IssueGGO, measurement: Record | None) -> Record:
    """Return the GGO to issue on a measurement; RejectedError unless it is a production above 0 Wh.

    Both addresses must belong to the same key, so that a measurement gives only one GGO.
    """
    if measurement is None:
        raise RejectedError(f"No measurement at {payload.origin}")
    if not same_key(payload.origin, payload.destination):
        raise RejectedError("The GGO's address is not of the measurement's key")
    if measurement["type"] != MeasurementType.PRODUCTION:
        raise RejectedError("A GGO is issued on a production only")
    if measurement["amount"] < 1:
        raise RejectedError("Nothing was produced")
    return {
        "origin": payload.origin,
        "amount": measurement["amount"],
        "begin": measurement["begin"],
        "end": measurement["end"],
        "sector": measurement["sector"],
        "tech_type": payload.tech_type,
        "fuel_type": payload.fuel_type,
        # The real processor doesn't store emissions.
        "emissions": None,
        "next": None,
    }


def _publish(context: Context) -> None:
    payload = PublishMeasurement.read(context.transaction.payload)
    context.require_issuer()
    if len(context.transaction.outputs) != 1:
        raise RejectedError("A measurement is published at one address")
    address = context.transaction.outputs[0]
    context.require_unused(Kind.MEASUREMENT, address)
    context.put(address, measurement_record(payload))


def _issue(context: Context) -> None:
    payload = IssueGGO.read(context.transaction.payload)
    context.require_issuer()
    require_address(Kind.MEASUREMENT, payload.origin)
    context.require_unused(Kind.GGO, payload.destination)
    context.put(payload.destination, issued_record(payload, context.get(payload.origin)))


def _transfer(context: Context) -> None:
    payload = TransferGGO.read(context.transaction.payload)
    ggo = context.unspent_ggo(payload.origin)
    context.require_unused(Kind.GGO, payload.destination)
    context.spend(payload.origin, ggo, "TRANSFER", [payload.destination])
    context.put(payload.destination, {**ggo, "origin": payload.origin})


def _split(context: Context) -> None:
    payload = SplitGGO.read(context.transaction.payload)
    ggo = context.unspent_ggo(payload.origin)
    if any(part.amount < 1 for part in payload.parts):
        raise RejectedError("Each part of a split has at least 1 Wh")
    total = sum(part.amount for part in payload.parts)
    if total != ggo["amount"]:
        raise RejectedError(f"The parts sum to {total} Wh, the GGO has {ggo['amount']} Wh")
    addresses = [part.address for part in payload.parts]
    context.spend(payload.origin, ggo, "SPLIT", addresses)
    for part in payload.parts:
        # An address that occurs twice in a split is already in use the second time.
        context.require_unused(Kind.GGO, part.address)
        context.put(part.address, {**ggo, "origin": payload.origin, "amount": part.amount})


def _retire(context: Context) -> None:
    payload = RetireGGO.read(context.transaction.payload)
    ggo = context.unspent_ggo(payload.origin)
    require_address(Kind.SETTLEMENT, payload.settlement_address)
    context.spend(payload.origin, ggo, "RETIRE", [payload.settlement_address])
    context.run.unsettled[payload.origin] = context.transaction.id


def _settle(context: Context) -> None:
    payload = Settle.read(context.transaction.payload)
    require_address(Kind.MEASUREMENT, payload.measurement_address)
    require_address(Kind.SETTLEMENT, payload.settlement_address)
    context.signed_by_owner_of(Kind.MEASUREMENT, payload.measurement_address)
    # One settlement per measurement; otherwise its amount could be used twice.
    context.signed_by_owner_of(Kind.SETTLEMENT, payload.settlement_address)
    measurement = context.get(payload.measurement_address)
    if measurement is None:
        raise RejectedError(f"No measurement at {payload.measurement_address}")
    if measurement["type"] != MeasurementType.CONSUMPTION:
        raise RejectedError("A GGO is retired to a consumption only")
    settlement = context.get(payload.settlement_address)
    parts = [] if settlement is None else list(settlement["parts"])
    for address in payload.ggo_addresses:
        amount = _settled_amount(context, address, payload.settlement_address, measurement)
        parts.append({"ggo": address, "amount": amount})
    total = sum(part["amount"] for part in parts)
    if total > measurement["amount"]:
        raise RejectedError(f"{total} Wh are settled, {measurement['amount']} Wh were measured")
    context.put(
        payload.settlement_address,
        {"measurement": payload.measurement_address, "parts": parts},
    )


def _settled_amount(
    context: Context, address: str, settlement_address: str, measurement: Record
) -> int:
    """Return the Wh of a GGO that this batch retired for this settlement, and mark it settled.

    RejectedError if it wasn't retired so, or its period or sector is not the measurement's.
    """
    ggo = context.get(address)
    if ggo is None:
        raise RejectedError(f"No GGO at {address}")
    if ggo["next"] != {"action": "RETIRE", "addresses": [settlement_address]}:
        raise RejectedError(f"The GGO at {address} is not retired to this settlement")
    if context.run.unsettled.pop(address, None) is None:
        raise RejectedError(f"The GGO at {address} is settled already")
    for field in ("begin", "end", "sector"):
        if ggo[field] != measurement[field]:
            raise RejectedError(f"The GGO at {address} has another {field} than the measurement")
    return int(ggo["amount"])


_HANDLERS: dict[str, Callable[[Context], None]] = {
    "PublishMeasurementRequest": _publish,
    "IssueGGORequest": _issue,
    "TransferGGORequest": _transfer,
    "SplitGGORequest": _split,
    "RetireGGORequest": _retire,
    "SettlementRequest": _settle,
}


def apply_batch(
    state: State,
    batch: Batch,
    *,
    issuers: frozenset[bytes] = frozenset(),
    committed: Mapping[str, str] | None = None,
) -> dict[str, Record]:
    """Apply a batch's transactions in order; return its writes, or raise InvalidBatchError.

    `issuers` are the compressed public keys that may publish and issue; `committed` maps the ids
    of the transactions committed so far to their batches' ids.
    """
    run = BatchRun(state, issuers)
    known = committed or {}
    earlier: set[str] = set()
    for transaction in batch.transactions:
        try:
            _apply(run, transaction, known, earlier)
        except RejectedError as error:
            raise InvalidBatchError(transaction.id, str(error)) from error
        earlier.add(transaction.id)
    for address, transaction_id in run.unsettled.items():
        raise InvalidBatchError(transaction_id, f"The GGO at {address} is retired but not settled")
    return run.writes


def _apply(
    run: BatchRun, transaction: Transaction, committed: Mapping[str, str], earlier: set[str]
) -> None:
    if transaction.id in committed:
        raise RejectedError(f"Committed before, in batch {committed[transaction.id]}")
    missing = [
        one for one in transaction.dependencies if one not in committed and one not in earlier
    ]
    if missing:
        raise RejectedError(f"Depends on a transaction that is not committed: {missing[0]}")
    handler = _HANDLERS.get(transaction.family)
    if handler is None or transaction.version != FAMILY_VERSION:
        raise RejectedError(f"No such family: {transaction.family} {transaction.version}")
    handler(Context(run, transaction))
