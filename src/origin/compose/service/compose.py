"""Compose: split a GGO into transfers and retires, all or nothing (contract: http-api, compose)."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

from origin.compose import queries
from origin.compose.queries import Account, Found, Point, Target
from origin.compose.rules import (
    AccountUnavailable,
    ConsumptionPoint,
    GgoUnavailable,
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
from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.errors import CallerDisabled
from origin.identity.service.tokens import UserTokens
from origin.keys.derivation import AddressKind, ExtendedKey, metering_point_key, period_key
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.keys.sealing import Sealer, master_key_context
from origin.peers import datahub
from origin.peers.datahub import DataHubClient
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import BATCHES_ENDED

log = logging.getLogger(__name__)

_SIDE_BY_SIDE = 8
"""Measurements that one compose asks DataHub for at a time."""


@dataclass(frozen=True)
class Composer:
    """Carries out composes."""

    database: Database
    settings: Settings
    wakeups: Wakeups
    sealer: Sealer
    datahub: DataHubClient
    user_tokens: UserTokens
    public_branch_keys: PublicBranchKeys

    def compose(
        self,
        user_id: int,
        order: Order,
        also: Callable[[RawConnection], None] | None = None,
    ) -> None:
        """Carry out an order on a GGO of this user's.

        When it returns, every query shows it as done; the ledger learns of it afterwards. Without a
        ledger (LEDGER_ENABLED=0) it is final at once.

        :param also: Done in the same transaction.
        :raises CallerDisabled: The account was disabled meanwhile; nothing has changed.
        :raises Rejected: The order breaks a rule; nothing has changed.
        :raises PeerError: DataHub can't tell the measurements now; nothing has changed.
        :raises TokensSpent: DataHub takes the user's tokens no more; nothing has changed.
        """
        with self.database.raw_connection() as link:
            found = _find(link, user_id, order)
        caller = next((each for each in found.accounts.values() if each.id == user_id), None)
        if caller is None or caller.disabled:
            raise CallerDisabled
        ledger_enabled = self.settings.ledger_enabled
        if ledger_enabled and found.source is not None and found.source.never_sent:
            log.warning(
                "A GGO that was never sent to the ledger can't be composed",
                extra={"event": "compose.never_sent", "address": order.address},
            )
        source = check_order(
            order,
            found.source,
            _recipients(found.accounts),
            _consumption_points(found.points),
            utcnow(),
            ledger_enabled=ledger_enabled,
        )
        measurements = self._checked_measurements(caller, order, source, found.points)
        parts = parts_of(order, source, _recipients(found.accounts), measurements)
        addresses = {each.address for each in measurements.values()}
        accounts = [account.id for account in found.accounts.values()]
        with self.database.raw_connection() as link:
            check_headroom(order, measurements, queries.retired_to(link, addresses))
            targets = self._targets(link, parts, found.accounts)
        has_webhooks = False
        # One statement is a transaction by itself.
        is_alone = not addresses and also is None and ledger_enabled
        with self.database.raw_connection(transaction=not is_alone) as link:
            if addresses:
                queries.lock_measurements(link, addresses)
                check_headroom(order, measurements, queries.retired_to(link, addresses))
            batch_id = queries.write(link, source, accounts, parts, targets)
            if batch_id is None:
                _reject(link, user_id, order)
            if not ledger_enabled:
                has_webhooks = queries.complete_unsent(link, source.id, batch_id)
            if also is not None:
                also(link)
        if ledger_enabled:
            self.wakeups.batches_due()
            return
        BATCHES_ENDED.labels("COMPLETED").inc()
        if has_webhooks:
            self.wakeups.deliveries_due()

    def _checked_measurements(
        self,
        caller: Account,
        order: Order,
        source: Source,
        points: Mapping[str, Point],
    ) -> dict[str, Measurement]:
        """What was consumed at each of the points in the source's period, fit to be retired to.

        No connection is held while DataHub is asked.
        """
        if not order.retires:
            return {}
        asked = self._measurements(caller, points, source)
        return check_measurements(order, source, asked)

    def _measurements(
        self, caller: Account, points: Mapping[str, Point], source: Source
    ) -> dict[str, Measurement | None]:
        """What was consumed at each of the points in the source's period."""
        master = _master(self.sealer, caller)

        def ask(point: Point) -> Measurement | None:
            found = self.user_tokens.with_user_token(
                caller.id,
                lambda token: self.datahub.consumed_measurement(token, point.gsrn, source.begin),
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

    def _targets(
        self, link: RawConnection, parts: Sequence[Part], accounts: Mapping[str, Account]
    ) -> list[Target]:
        """Give each part a key of its owner's that was never used before, and its address."""
        if is_whole_retire(parts):
            return []
        counts = Counter(part.owner_id for part in parts)
        following = queries.allocate_trade_indexes(link, counts)
        branches = {
            account.id: self.public_branch_keys.trade(account.subject, account.master_key)
            for account in accounts.values()
            if account.id in counts
        }
        targets = []
        for part in parts:
            key_index = following[part.owner_id]
            following[part.owner_id] += 1
            address = branches[part.owner_id].address(key_index, AddressKind.GGO)
            targets.append(Target(part, key_index, address))
        return targets


def _find(link: RawConnection, user_id: int, order: Order) -> Found:
    subjects = {each.account for each in order.transfers}
    return queries.find(link, user_id, order.address, subjects, {r.gsrn for r in order.retires})


def _reject(link: RawConnection, user_id: int, order: Order) -> NoReturn:
    """Raise the error for what has changed since the order was checked.

    :raises AccountUnavailable: One of the accounts is disabled.
    :raises GgoUnavailable: Otherwise.
    """
    accounts = _find(link, user_id, order).accounts
    for account in accounts.values():
        if account.disabled:
            raise AccountUnavailable(account.subject)
    raise GgoUnavailable(order.address)


def _recipients(accounts: Mapping[str, Account]) -> dict[str, Recipient]:
    return {
        subject: Recipient(account.id, account.disabled) for subject, account in accounts.items()
    }


def _consumption_points(points: Mapping[str, Point]) -> dict[str, ConsumptionPoint]:
    return {gsrn: ConsumptionPoint(point.id, gsrn) for gsrn, point in points.items()}


def _master(sealer: Sealer, account: Account) -> ExtendedKey:
    return ExtendedKey.from_base58(
        sealer.open(account.master_key, master_key_context(account.subject))
    )


def _measurement(found: datahub.DataHubMeasurement, point_key: ExtendedKey) -> Measurement:
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
