"""Compose: split a GGO into transfers and retires, all or nothing (contract: http-api, compose)."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from uuid import UUID

from origin.compose.queries import compose as queries
from origin.compose.queries.compose import (
    ComposingAccount,
    OrderFacts,
    PartTarget,
    SentCompose,
)
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
from origin.compose.service.measurements import MeasurementReader
from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.errors import CallerDisabled
from origin.keys.derivation import AddressKind
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.shared.clock import utcnow
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import BATCHES_ENDED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Composer:
    """Carries out composes.

    :param ledger_enabled: LEDGER_ENABLED.
    """

    database: Database
    wakeups: Wakeups
    public_branch_keys: PublicBranchKeys
    measurement_reader: MeasurementReader
    ledger_enabled: bool

    def compose(
        self,
        user_id: int,
        order: Order,
        request: SentCompose,
        before_commit: Callable[[RawConnection, UUID], None] | None = None,
    ) -> UUID:
        """Carry out an order on a GGO of this user's.

        When this returns, every query shows the result. The ledger gets it afterwards; without a
        ledger (LEDGER_ENABLED=0) it is final at once. Every error leaves the database unchanged.

        :param request: What its operation tells of the request.
        :param before_commit: Called in the same transaction, after the compose is written, with the
            operation's id.
        :returns: The operation's id.
        :raises CallerDisabled: the account was disabled meanwhile.
        :raises Rejected: the order breaks a rule.
        :raises PeerError: DataHub cannot return the measurements now.
        :raises TokensSpent: DataHub no longer accepts the user's tokens.
        """
        with self.database.raw_connection() as connection:
            facts = _find_facts(connection, user_id, order)
        caller = _caller(facts, user_id)
        source = self._check(order, facts)
        measurements = self._measurements(caller, order, source, facts)
        parts = parts_of(order, source, _recipients(facts), measurements)
        with self.database.raw_connection() as connection:
            _check_headroom(connection, order, measurements)
            targets = self._targets(connection, parts, facts.accounts)
        accounts = [account.id for account in facts.accounts.values()]
        has_webhooks = False
        # A single statement is a transaction by itself.
        is_single = not measurements and before_commit is None and self.ledger_enabled
        with self.database.raw_connection(transaction=not is_single) as connection:
            if measurements:
                points = [point.id for point in facts.points.values()]
                queries.lock_measurements(connection, points, _addresses(measurements))
                _check_headroom(connection, order, measurements)
            written = queries.write(connection, source, accounts, parts, targets, request)
            if written is None:
                _reject(connection, user_id, order)
            if not self.ledger_enabled:
                has_webhooks = queries.complete_unsent(connection, source.id, written.batch_id)
            if before_commit is not None:
                before_commit(connection, written.operation_id)
        self._wake(has_webhooks=has_webhooks)
        return written.operation_id

    def _check(self, order: Order, facts: OrderFacts) -> Source:
        source = facts.source
        if self.ledger_enabled and source is not None and source.never_sent:
            log.warning(
                "A GGO that was never sent to the ledger can't be composed: it was composed while "
                "the ledger was switched off, here or by the original service",
                extra={"event": "compose.never_sent", "address": order.address},
            )
        points = {gsrn: ConsumptionPoint(each.id, gsrn) for gsrn, each in facts.points.items()}
        return check_order(
            order,
            source,
            _recipients(facts),
            points,
            utcnow(),
            ledger_enabled=self.ledger_enabled,
        )

    def _measurements(
        self, caller: ComposingAccount, order: Order, source: Source, facts: OrderFacts
    ) -> dict[str, Measurement]:
        """Return the measurement of each retire, by GSRN. Call it without holding a connection."""
        if not order.retires:
            return {}
        found = self.measurement_reader.read_all(caller, facts.points, source.begin)
        return check_measurements(order, source, found)

    def _targets(
        self,
        connection: RawConnection,
        parts: Sequence[Part],
        accounts: Mapping[str, ComposingAccount],
    ) -> list[PartTarget]:
        """Give each part an unused key of its owner's, and the address derived from it."""
        if is_whole_retire(parts):
            return []
        counts = Counter(part.owner_id for part in parts)
        next_index = queries.allocate_trade_indexes(connection, counts)
        branches = {
            account.id: self.public_branch_keys.trade(account.subject, account.master_key)
            for account in accounts.values()
            if account.id in counts
        }
        targets = []
        for part in parts:
            key_index = next_index[part.owner_id]
            next_index[part.owner_id] += 1
            address = branches[part.owner_id].address(key_index, AddressKind.GGO)
            targets.append(PartTarget(part, key_index, address))
        return targets

    def _wake(self, *, has_webhooks: bool) -> None:
        """Wake the workers for a compose that was just committed."""
        if self.ledger_enabled:
            self.wakeups.batches_due()
            return
        BATCHES_ENDED.labels("COMPLETED").inc()
        if has_webhooks:
            self.wakeups.deliveries_due()


def _find_facts(connection: RawConnection, user_id: int, order: Order) -> OrderFacts:
    subjects = {transfer.account for transfer in order.transfers}
    gsrns = {retire.gsrn for retire in order.retires}
    return queries.find_facts(connection, user_id, order.address, subjects, gsrns)


def _caller(facts: OrderFacts, user_id: int) -> ComposingAccount:
    caller = next((each for each in facts.accounts.values() if each.id == user_id), None)
    if caller is None or caller.disabled:
        raise CallerDisabled
    return caller


def _recipients(facts: OrderFacts) -> dict[str, Recipient]:
    return {
        subject: Recipient(account.id, account.disabled)
        for subject, account in facts.accounts.items()
    }


def _addresses(measurements: Mapping[str, Measurement]) -> set[str]:
    return {each.address for each in measurements.values()}


def _check_headroom(
    connection: RawConnection, order: Order, measurements: Mapping[str, Measurement]
) -> None:
    retired = queries.retired_to(connection, _addresses(measurements))
    check_headroom(order, measurements, retired)


def _reject(connection: RawConnection, user_id: int, order: Order) -> NoReturn:
    """Reject the compose, because something changed after its facts were read without locks.

    :raises AccountUnavailable: an account is disabled.
    :raises GgoUnavailable: otherwise.
    """
    for account in _find_facts(connection, user_id, order).accounts.values():
        if account.disabled:
            raise AccountUnavailable(account.subject)
    raise GgoUnavailable(order.address)
