"""Takes bulk orders from requests: plans small ones at once, and leaves large ones to a worker."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from origin.bulk.rules import limits
from origin.bulk.rules.limits import check_dry_run, is_planned_in_request
from origin.bulk.rules.orders import BulkOrder
from origin.bulk.rules.plan import Plan
from origin.bulk.service.acceptance import Acceptance, PlanOutdated
from origin.bulk.service.planning import Planner, Preparation
from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.operations.queries import writing
from origin.operations.rules import Hold, NewOperation
from origin.operations.service import idempotency
from origin.shared.wakeups import Wakeups

TRIES = 5
"""How often a request or a worker plans, if GGOs of its plans keep going to others."""


class _TooLarge(Exception):
    """A worker must plan the order."""


@dataclass(frozen=True)
class BulkOrders:
    """Takes bulk orders."""

    database: Database
    wakeups: Wakeups
    planner: Planner
    acceptance: Acceptance

    def dry_run(self, user_id: int, order: BulkOrder) -> Plan:
        """Return the plan that the order would have now.

        :raises Rejected: The order would be rejected.
        :raises PeerError: DataHub cannot return the measurements now.
        :raises TokensSpent: DataHub no longer accepts the user's tokens.
        """
        prepared = self.planner.prepare(user_id, order)
        return self.planner.plan(order, prepared, lambda _, paged: check_dry_run(paged))

    def order(self, order: BulkOrder, new: NewOperation, hold: Hold) -> UUID:
        """Accept an order, or queue it for a worker, and return its operation's id.

        Every error leaves the database unchanged.

        :param new: The operation to insert.
        :param hold: Of the request's Idempotency-Key.
        :raises Rejected: The order can't be carried out.
        :raises CallerDisabled: The account was disabled meanwhile.
        :raises KeyInUse: Another request has taken over the key.
        :raises PeerError: DataHub cannot return the measurements now.
        :raises TokensSpent: DataHub no longer accepts the user's tokens.
        """
        prepared = self.planner.prepare(new.user_id, order)
        for _ in range(TRIES):
            try:
                return self._plan_and_accept(order, prepared, new, hold)
            except PlanOutdated:
                continue
            except _TooLarge:
                break
        return self._queue(order, new, hold)

    def _plan_and_accept(
        self, order: BulkOrder, prepared: Preparation, new: NewOperation, hold: Hold
    ) -> UUID:
        def insert(connection: RawConnection, at: datetime, plan: Plan) -> UUID:
            requested = plan.totals.requested
            made = writing.insert(connection, new, hold, accepted_at=at, requested=requested)
            idempotency.answer_with(connection, hold, made)
            return made

        # More would be read for nothing: a worker plans then.
        most = limits.MAX_CANDIDATES_IN_REQUEST
        plan = self.planner.plan(order, prepared, _check_amounts, most_candidates=most)
        return self.acceptance.accept(plan, prepared, insert)

    def _queue(self, order: BulkOrder, new: NewOperation, hold: Hold) -> UUID:
        with self.database.raw_connection(transaction=True) as connection:
            made = writing.insert(connection, new, hold, requested=order.requested)
            idempotency.answer_with(connection, hold, made)
        self.wakeups.bulk_due()
        return made


def _check_amounts(candidates: int, paged_measurements: int) -> None:
    if not is_planned_in_request(candidates, paged_measurements):
        raise _TooLarge
