"""Accepts a plan: hands out keys, then writes all of it or nothing."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn
from uuid import UUID

from origin.bulk.queries import acceptance as queries
from origin.bulk.queries import facts
from origin.bulk.queries.acceptance import PartRow, SourceRow
from origin.bulk.rules.plan import Item, Part, Plan
from origin.bulk.service.planning import Preparation
from origin.compose.queries.compose import allocate_trade_indexes, guard_points
from origin.compose.rules import AccountUnavailable, PartKind
from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.errors import CallerDisabled
from origin.keys.derivation import AddressKind, PublicBranchKey
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.shared.native_threads import run_in_native_thread
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import BATCHES_ENDED

Write = Callable[[RawConnection, datetime, Plan], UUID]
"""Writes the accepted operation, and returns its id."""

_Rows = Sequence[tuple[SourceRow, Sequence[PartRow]]]


class PlanOutdated(Exception):
    """A GGO of the plan can't be spent any more, or more was retired meanwhile: plan again."""


@dataclass(frozen=True)
class Acceptance:
    """Writes plans.

    :param ledger_enabled: LEDGER_ENABLED.
    """

    database: Database
    wakeups: Wakeups
    public_branch_keys: PublicBranchKeys
    ledger_enabled: bool

    def accept(self, plan: Plan, prepared: Preparation, write_operation: Write) -> UUID:
        """Write the plan: its operation, its batches and their parts. Every error leaves all unchanged.

        When this returns, every query shows the result. Workers are woken.

        :param write_operation: Called in the same transaction, under all locks.
        :returns: The operation's id.
        :raises PlanOutdated: Something has changed since the plan was made.
        :raises CallerDisabled: The account was disabled meanwhile.
        :raises AccountUnavailable: A recipient's account was.
        """
        rows = self._rows(plan, prepared)
        has_webhooks = False
        with self.database.raw_connection(transaction=True) as connection:
            queries.announce(connection)
            at = self._lock(connection, plan, prepared)
            operation_id = write_operation(connection, at, plan)
            queries.write(connection, operation_id, at, rows)
            if not self.ledger_enabled:
                has_webhooks = queries.complete_unsent(connection, operation_id)
        self._wake(len(plan.items), has_webhooks=has_webhooks)
        return operation_id

    def _rows(self, plan: Plan, prepared: Preparation) -> _Rows:
        """Give each part an unused key of its owner's, and the address derived from it."""
        owner_of = _Owners(prepared)
        counts = Counter(owner_of(part) for item in plan.items for part in _targets(item))
        if not counts:
            next_index: dict[int, int] = {}
        else:
            with self.database.raw_connection() as connection:
                next_index = allocate_trade_indexes(connection, counts)
        branches = {
            account.id: self.public_branch_keys.trade(account.subject, account.master_key)
            for account in prepared.accounts.values()
            if account.id in counts
        }
        return run_in_native_thread(_made_rows, plan, owner_of, next_index, branches)

    def _lock(self, connection: RawConnection, plan: Plan, prepared: Preparation) -> datetime:
        """Take all locks in the order of composes, and check the plan again.

        :returns: The time of all that is written.
        """
        retires = [
            part for item in plan.items for part in item.parts if part.kind is PartKind.RETIRE
        ]
        if retires:
            gsrns = {part.gsrn for part in retires}
            guard_points(
                connection,
                [point.id for gsrn, point in prepared.points.items() if gsrn in gsrns],
            )
            _check_headroom(connection, retires, prepared)
        self._lock_accounts(connection, plan, prepared)
        ids = [item.source.id for item in plan.items]
        locked = queries.lock_spendable(
            connection, prepared.caller.id, ids, ledger_enabled=self.ledger_enabled
        )
        at = queries.entry_time(connection)
        if locked < len(ids) or at >= min(item.source.expire_time for item in plan.items):
            raise PlanOutdated
        return at

    def _lock_accounts(self, connection: RawConnection, plan: Plan, prepared: Preparation) -> None:
        owner_of = _Owners(prepared)
        needed = {owner_of(part) for item in plan.items for part in item.parts}
        needed.add(prepared.caller.id)
        if missing := needed - queries.lock_active_accounts(connection, needed):
            _reject(missing, prepared)

    def _wake(self, batches: int, *, has_webhooks: bool) -> None:
        """Wake the workers for a plan that was just committed."""
        if self.ledger_enabled:
            self.wakeups.batches_due()
            return
        BATCHES_ENDED.labels("COMPLETED").inc(batches)
        if has_webhooks:
            self.wakeups.deliveries_due()


class _Owners:
    """Tells who owns a part, by id."""

    def __init__(self, prepared: Preparation) -> None:
        self._caller = prepared.caller.id
        self._ids = {subject: account.id for subject, account in prepared.accounts.items()}

    def __call__(self, part: Part) -> int:
        return self._caller if part.account is None else self._ids[part.account]


def _targets(item: Item) -> Sequence[Part]:
    """Return the parts that become GGOs of their own: none if the source is retired as a whole."""
    is_whole_retire = len(item.parts) == 1 and item.parts[0].kind is PartKind.RETIRE
    return () if is_whole_retire else item.parts


def _made_rows(
    plan: Plan,
    owner_of: Callable[[Part], int],
    next_index: dict[int, int],
    branches: Mapping[int, PublicBranchKey],
) -> _Rows:
    def part_rows(item: Item) -> Iterator[PartRow]:
        for position, part in enumerate(_targets(item)):
            owner_id = owner_of(part)
            key_index = next_index[owner_id]
            next_index[owner_id] += 1
            address = branches[owner_id].address(key_index, AddressKind.GGO)
            yield PartRow(
                item.source.id,
                position,
                owner_id,
                part.amount,
                address,
                key_index,
                part.reference,
                part.gsrn,
                part.measurement_address,
            )

    rows = []
    for sequence, item in enumerate(plan.items):
        parts = list(part_rows(item))
        retired_to = (None, None) if parts else _retired_to(item.parts[0])
        rows.append((SourceRow(item.source.id, sequence, item.moved, *retired_to), parts))
    return rows


def _retired_to(part: Part) -> tuple[str | None, str | None]:
    return part.gsrn, part.measurement_address


def _check_headroom(
    connection: RawConnection, retires: Sequence[Part], prepared: Preparation
) -> None:
    """Check that no more is retired to a measurement than was measured.

    :raises PlanOutdated: Composes or bulks have retired to it meanwhile.
    """
    planned: dict[str, int] = defaultdict(int)
    for part in retires:
        assert part.measurement_address is not None
        planned[part.measurement_address] += part.amount
    measured = prepared.measurements or {}
    retired = facts.retired_to(connection, planned)
    if any(
        amount + retired.get(address, 0) > measured[address].amount
        for address, amount in planned.items()
    ):
        raise PlanOutdated


def _reject(disabled: set[int], prepared: Preparation) -> NoReturn:
    """Reject the order, because accounts were disabled after it was planned.

    :raises CallerDisabled: The caller's.
    :raises AccountUnavailable: A recipient's.
    """
    if prepared.caller.id in disabled:
        raise CallerDisabled
    subject = next(each.subject for each in prepared.accounts.values() if each.id in disabled)
    raise AccountUnavailable(subject)
