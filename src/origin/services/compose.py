"""Compose: split a GGO into transfers and retires, all or nothing (contract: http-api, compose)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.orm import Session

from origin.clients import datahub
from origin.clock import utcnow
from origin.db import composing
from origin.db.composing import Account, Point, Target
from origin.db.encryption import Sealer, master_key_context
from origin.domain.compose import (
    ConsumptionPoint,
    Measurement,
    Order,
    Part,
    Recipient,
    Source,
    check_headroom,
    check_measurements,
    check_order,
    is_whole_retire,
    parts_of,
)
from origin.domain.keys import AddressKind, Key, metering_point_key, period_key, trade_branch
from origin.errors import Refused
from origin.runtime import Runtime
from origin.services.tokens import with_user_token

_SIDE_BY_SIDE = 8
"""Measurements that one compose asks DataHub for at a time."""


@dataclass(frozen=True)
class _Facts:
    """What was read before the transaction, and doesn't change under it."""

    caller: Account
    accounts: Mapping[str, Account]
    measurements: Mapping[str, Measurement]

    @property
    def recipients(self) -> dict[str, Recipient]:
        return _recipients(self.accounts)


def compose(
    runtime: Runtime,
    user_id: int,
    order: Order,
    also: Callable[[Session], None] = lambda _: None,
) -> None:
    """Carry out an order on a GGO of this user's.

    When it returns, every query shows it as done; the ledger learns of it afterwards.

    :param also: Done in the same transaction.
    :raises Refused: a rule of the contract forbids it; nothing has changed.
    :raises PeerError: DataHub can't tell the measurements now; nothing has changed.
    :raises TokensSpent: DataHub takes the user's tokens no more; nothing has changed.
    """
    source, facts = _gather(runtime, user_id, order)
    parts = parts_of(order, source, facts.recipients, facts.measurements)
    targets = _targets(runtime, parts, facts.accounts)
    with runtime.database.transaction() as session:
        _check_again(session, facts, order)
        if is_whole_retire(parts):
            composing.write_whole_retire(session, source, parts[0])
        else:
            composing.write_split(session, source, targets)
        also(session)
    runtime.hints.batches_due()


def _gather(runtime: Runtime, user_id: int, order: Order) -> tuple[Source, _Facts]:
    """Read what the order needs, check it, and have DataHub tell the measurements."""
    with runtime.database.reading() as session:
        accounts = composing.find_accounts(session, user_id, {t.account for t in order.transfers})
        points = composing.find_points(session, user_id, {r.gsrn for r in order.retires})
        found = composing.find_source(session, user_id, order.address, lock=False)
        source = check_order(
            order, found, _recipients(accounts), _consumption_points(points), utcnow()
        )
    caller = next(account for account in accounts.values() if account.id == user_id)
    measurements = _measurements(runtime, caller, points, source)
    checked = check_measurements(order, source, measurements)
    with runtime.database.reading() as session:
        retired = composing.retired_to(session, [each.address for each in checked.values()])
    check_headroom(order, checked, retired)
    return source, _Facts(caller, accounts, checked)


def _check_again(session: Session, facts: _Facts, order: Order) -> None:
    """Check under locks what may have changed meanwhile: the source, and what is retired."""
    caller = facts.caller
    _refuse_disabled(session, facts, order)
    source = composing.find_source(session, caller.id, order.address, lock=True)
    # By the clock as it is once the lock is there: it may have been waited for.
    if source is None or not source.is_tradable(utcnow()):
        raise Refused(f"GGO not found or is unavailable: {order.address}")
    addresses = {each.address for each in facts.measurements.values()}
    composing.lock_measurements(session, addresses)
    if addresses:
        retired = composing.retired_to(session, sorted(addresses))
        check_headroom(order, facts.measurements, retired)


def _refuse_disabled(session: Session, facts: _Facts, order: Order) -> None:
    """Refuse what goes to, or comes from, an account that was disabled meanwhile."""
    disabled = composing.lock_accounts(session, [each.id for each in facts.accounts.values()])
    for subject in (*(each.account for each in order.transfers), facts.caller.subject):
        if facts.accounts[subject].id in disabled:
            raise Refused(f"Account unavailable ({subject})")


def _recipients(accounts: Mapping[str, Account]) -> dict[str, Recipient]:
    return {
        subject: Recipient(account.id, account.disabled) for subject, account in accounts.items()
    }


def _consumption_points(points: Mapping[str, Point]) -> dict[str, ConsumptionPoint]:
    return {gsrn: ConsumptionPoint(point.id, gsrn) for gsrn, point in points.items()}


def _master(sealer: Sealer, account: Account) -> Key:
    return Key.from_base58(sealer.open(account.master_key, master_key_context(account.subject)))


def _measurements(
    runtime: Runtime, caller: Account, points: Mapping[str, Point], source: Source
) -> dict[str, Measurement | None]:
    """What was consumed at each of the points in the source's period."""
    if not points:
        return {}
    master = _master(runtime.sealer, caller)

    def ask(point: Point) -> Measurement | None:
        found = with_user_token(
            runtime,
            caller.id,
            lambda token: runtime.datahub.consumed_measurement(token, point.gsrn, source.begin),
        )
        if found is None:
            return None
        return _measurement(found, metering_point_key(master, point.key_index))

    # The first alone: a spent token is renewed once, not by all at the same time.
    first, *others = points.values()
    found = {first.gsrn: ask(first)}
    with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE) as pool:
        gsrns = [point.gsrn for point in others]
        return found | dict(zip(gsrns, pool.map(ask, others), strict=True))


def _measurement(found: datahub.Measurement, point_key: Key) -> Measurement:
    return Measurement(
        address=found.address,
        gsrn=found.gsrn,
        begin=found.begin,
        end=found.end,
        sector=found.sector,
        amount=found.amount,
        is_consumption=found.type == "consumption",
        # The settlement must be signed by this key: at any other address the ledger refuses it.
        address_holds=found.address
        == period_key(point_key, found.begin).address(AddressKind.MEASUREMENT),
    )


def _targets(
    runtime: Runtime, parts: Sequence[Part], accounts: Mapping[str, Account]
) -> list[Target]:
    """Give each part a key of its owner's that was never used before, and its address."""
    if is_whole_retire(parts):
        return []
    counts = Counter(part.owner_id for part in parts)
    with runtime.database.transaction() as session:
        following = composing.allocate_trade_indexes(session, counts)
    branches = {
        account.id: trade_branch(_master(runtime.sealer, account))
        for account in accounts.values()
        if account.id in counts
    }
    targets = []
    for part in parts:
        key_index = following[part.owner_id]
        following[part.owner_id] += 1
        address = branches[part.owner_id].child(key_index).address(AddressKind.GGO)
        targets.append(Target(part, key_index, address))
    return targets
