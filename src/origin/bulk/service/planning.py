"""Plans bulk orders, in requests and in workers alike. It takes no locks and changes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from origin.bulk.client import PublishedMeasurement
from origin.bulk.queries import facts as queries
from origin.bulk.queries.facts import Stock
from origin.bulk.rules.limits import MAX_CANDIDATES, MAX_SOURCES, check_candidates
from origin.bulk.rules.orders import BulkOrder, BulkRetirement, BulkTransfer
from origin.bulk.rules.plan import Plan, check_digest
from origin.bulk.rules.retirements import Measurement, check_points, plan_retirements
from origin.bulk.rules.takes import Amount
from origin.bulk.rules.transfers import Spread, check_accounts, plan_transfers
from origin.bulk.service.measurements import MeasurementsInPeriod
from origin.compose.queries.compose import ComposingAccount, ConsumptionPointRow
from origin.compose.rules import Recipient
from origin.db.engine import Database
from origin.errors import CallerDisabled
from origin.shared.native_threads import run_in_native_thread


@dataclass
class Preparation:
    """What was found for an order so far. Planning again reads only what may have changed.

    :ivar caller: The caller's account.
    :ivar accounts: The caller's and those of existing recipients, by subject.
    :ivar points: The consumption points of a retirement, by GSRN.
    :ivar measurements: By address; None: not read yet.
    """

    caller: ComposingAccount
    accounts: Mapping[str, ComposingAccount]
    points: Mapping[str, ConsumptionPointRow] = field(default_factory=dict)
    measurements: Mapping[str, PublishedMeasurement] | None = None


@dataclass(frozen=True)
class Planner:
    """Plans bulk orders.

    :param ledger_enabled: LEDGER_ENABLED.
    """

    database: Database
    measurements: MeasurementsInPeriod
    ledger_enabled: bool

    def prepare(self, user_id: int, order: BulkOrder) -> Preparation:
        """Check what needs no GGOs: the accounts or the metering points that the order names.

        :raises CallerDisabled: The account is disabled.
        :raises SameAccount: A target is the caller.
        :raises AccountUnavailable: A target is unknown or disabled.
        :raises MeteringPointUnavailable: A point is not one of the caller's consumption points.
        """
        targets = order.targets if isinstance(order, BulkTransfer) else []
        with self.database.raw_connection() as connection:
            accounts = queries.find_accounts(
                connection, user_id, {target.account for target in targets}
            )
            is_retirement = isinstance(order, BulkRetirement)
            points = queries.find_points(connection, user_id) if is_retirement else {}
        caller = next((each for each in accounts.values() if each.id == user_id), None)
        if caller is None or caller.disabled:
            raise CallerDisabled
        if isinstance(order, BulkTransfer):
            recipients = {
                subject: Recipient(each.id, each.disabled) for subject, each in accounts.items()
            }
            check_accounts(targets, caller.subject, recipients)
            return Preparation(caller, accounts)
        check_points([*order.points, *order.order.points], points)
        chosen = {gsrn: points[gsrn] for gsrn in order.points} if order.points else points
        return Preparation(caller, accounts, chosen)

    def plan(
        self,
        order: BulkOrder,
        prepared: Preparation,
        check_amounts: Callable[[int, int], None] = lambda _candidates, _paged: None,
        *,
        most_candidates: int = MAX_CANDIDATES,
    ) -> Plan:
        """Plan the order with what there is now.

        Call it without holding a connection.

        :param check_amounts: Called with the number of candidates and of the measurements that are to be
            read page by page. It may raise an error to prevent the planning.
        :param most_candidates: How many candidates to read. With a lower number than the default,
            `check_amounts` must raise an error if there are more.
        :raises Rejected: The order can't be carried out.
        :raises PeerError: DataHub cannot return the measurements now.
        :raises TokensSpent: DataHub no longer accepts the caller's tokens.
        """
        stock = self._stock(order, prepared, most_candidates)
        check_amounts(stock.count, 0)
        if isinstance(order, BulkTransfer):
            plan = run_in_native_thread(
                plan_transfers,
                stock.candidates,
                order.targets,
                order.order,
                order.spread,
                order.shortfall,
                selected=stock.amount,
            )
        else:
            measurements = self._measurements(
                order, prepared, lambda paged: check_amounts(stock.count, paged)
            )
            plan = run_in_native_thread(
                plan_retirements,
                stock.candidates,
                measurements,
                order.order,
                order.take,
                order.shortfall,
            )
        check_digest(plan, order.expected)
        return plan

    def _stock(self, order: BulkOrder, prepared: Preparation, most_candidates: int) -> Stock:
        """Return the GGOs that can be spent.

        :raises TooMany: There are more than a plan can have, or than can be read.
        """
        most = MAX_CANDIDATES
        first_are_enough = False
        if isinstance(order, BulkTransfer):
            takes_amounts = isinstance(order.targets[0].take, Amount)
            first_are_enough = takes_amounts and order.spread is Spread.SEQUENTIAL
            if first_are_enough:
                # One more than a plan can have: it shows that the plan would be too large.
                most = MAX_SOURCES + 1
        ggo_order = order.order if isinstance(order, BulkTransfer) else order.order.ggos
        with self.database.raw_connection() as connection:
            stock = queries.find_stock(
                connection,
                prepared.caller.id,
                order.select,
                ggo_order,
                ledger_enabled=self.ledger_enabled,
                most=min(most, most_candidates),
            )
        if not first_are_enough:
            check_candidates(stock.count, most)
        return stock

    def _measurements(
        self, order: BulkRetirement, prepared: Preparation, before_paging: Callable[[int], None]
    ) -> list[Measurement]:
        """Return the measurements with what is retired to them by now."""
        if prepared.measurements is None:
            prepared.measurements = self.measurements.read(
                prepared.caller, prepared.points, order.period, before_paging
            )
        published = prepared.measurements
        with self.database.raw_connection() as connection:
            retired = queries.retired_to(connection, published)
        return [
            Measurement(
                address,
                each.gsrn,
                each.begin,
                each.end,
                each.sector,
                each.amount,
                retired.get(address, 0),
            )
            for address, each in published.items()
        ]
