"""Plans the orders that requests have left to workers.

A worker may die at any moment: nothing is written before the transaction that accepts the plan, and the
order is due again when its lease ends. If two workers plan the same order, the second to commit finds
it accepted, and rolls back.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from origin.bulk.queries import queue as queries
from origin.bulk.queries.queue import ClaimedOrder
from origin.bulk.rules.orders import BulkOrder
from origin.bulk.rules.plan import Plan
from origin.bulk.rules.retirements import GIVE_UP_AFTER, MeasurementsUnavailable
from origin.bulk.service.acceptance import Acceptance, PlanOutdated
from origin.bulk.service.orders import TRIES
from origin.bulk.service.planning import Planner
from origin.compose.rules import AccountUnavailable
from origin.db.engine import Database
from origin.db.raw_connections import RawConnection
from origin.errors import CallerDisabled, OriginError, PeerError, Rejected, TokensSpent
from origin.operations.queries import writing
from origin.operations.rules import Kind
from origin.settings import Settings
from origin.shared.deadlines import Deadline
from origin.shared.retries import backoff_s, jittered
from origin.shared.thread_pools import ContextThreadPool

AT_ONCE = 2
"""Orders that a process plans at a time."""
MAX_RUN_S = 20.0
"""After this time a run claims nothing more, so that a hanging DataHub holds up nothing else."""
_POLL_S = 1.0
"""How often a run looks for further orders while it works on some."""
_CONTENDED_S = 1.0
"""When to plan again, if the GGOs of all plans went to others."""

log = logging.getLogger(__name__)


class _NotQueued(Exception):
    """The order was cancelled meanwhile, or another worker has planned it."""


@dataclass(frozen=True)
class BulkQueue:
    """Plans queued orders.

    :param read_order: Reads the body of an order (`origin.bulk.schemas.orders`).
    :param detail_of: Returns an error's `detail`, as clients see it (`origin.web.v2.problems`).
    """

    settings: Settings
    database: Database
    planner: Planner
    acceptance: Acceptance
    read_order: Callable[[Kind, str], BulkOrder]
    detail_of: Callable[[OriginError], str]
    _running: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one run of this process."""

    def run_due(self) -> int:
        """Plan due orders, a few at a time, until none is left or MAX_RUN_S have passed.

        :returns: How many orders were worked on; 0 if another run of this process does it.
        """
        if not self._running.acquire(blocking=False):
            return 0
        try:
            return self._run(Deadline(MAX_RUN_S))
        finally:
            self._running.release()

    def _run(self, deadline: Deadline) -> int:
        renew_after_s = self.settings.lease_seconds / 3
        under_way: dict[Future[None], ClaimedOrder] = {}
        count = 0
        with ContextThreadPool(AT_ONCE) as pool:
            while True:
                while len(under_way) < AT_ONCE and not deadline.is_over():
                    order = self._claim()
                    if order is None:
                        break
                    under_way[pool.submit(self._work_on, order)] = order
                    count += 1
                if not under_way:
                    return count
                done, _ = wait(under_way, _POLL_S, return_when=FIRST_COMPLETED)
                for each in done:
                    del under_way[each]
                    # `_work_on` raises only if the database is out of reach.
                    each.result()
                for order in under_way.values():
                    if time.monotonic() - order.held_since > renew_after_s:
                        self._renew(order)

    def _claim(self) -> ClaimedOrder | None:
        with self.database.raw_connection() as connection:
            return queries.claim(
                connection,
                lease_s=self.settings.lease_seconds,
                given_up_after_s=GIVE_UP_AFTER.total_seconds(),
            )

    def _renew(self, order: ClaimedOrder) -> None:
        with self.database.raw_connection() as connection:
            until = queries.renew(connection, order, self.settings.lease_seconds)
        if until is not None:
            order.lease_until, order.held_since = until, time.monotonic()

    def _work_on(self, order: ClaimedOrder) -> None:
        """Plan one order, and record what came of it."""
        begun = time.monotonic()
        try:
            self._plan_and_accept(order)
        except _NotQueued:
            log.info("Operation %s is not queued any more", order.id)
        except PlanOutdated:
            self._put_off(order, "its GGOs were used by others", jittered(_CONTENDED_S))
        except TokensSpent as error:
            self._refuse(order, error)
        except CallerDisabled:
            self._refuse(order, AccountUnavailable(order.subject))
        except Rejected as error:
            self._refuse(order, error)
        except PeerError as error:
            if order.is_overdue:
                self._refuse(order, MeasurementsUnavailable())
            else:
                self._retry(order, str(error), begun)
        except OriginError as error:
            self._retry(order, str(error), begun)
        except Exception as error:
            # A bug in one order must neither stop the others nor end this one.
            log.exception("Planning operation %s failed", order.id)
            self._retry(order, type(error).__name__, begun)

    def _plan_and_accept(self, claimed: ClaimedOrder) -> None:
        def accept(connection: RawConnection, at: datetime, plan: Plan) -> UUID:
            if not writing.accept(connection, claimed.id, at, plan.totals.requested):
                raise _NotQueued
            return claimed.id

        order = self.read_order(claimed.kind, claimed.body)
        prepared = self.planner.prepare(claimed.user_id, order)
        for left in reversed(range(TRIES)):
            plan = self.planner.plan(order, prepared)
            try:
                self.acceptance.accept(plan, prepared, accept)
            except PlanOutdated:
                if not left:
                    raise
            else:
                return

    def _refuse(self, order: ClaimedOrder, error: OriginError) -> None:
        assert error.code is not None
        with self.database.raw_connection() as connection:
            writing.refuse(connection, order.id, error.code, self.detail_of(error))
        log.info("Operation %s is refused: %s", order.id, error)

    def _retry(self, order: ClaimedOrder, reason: str, begun: float) -> None:
        """Try again later. The pause is at least as long as this attempt took."""
        log.warning("Operation %s can't be planned now: %s", order.id, reason)
        delay_s = backoff_s(self.settings.datahub_retry_delay, order.attempts)
        self._put_off(order, reason, max(delay_s, time.monotonic() - begun))

    def _put_off(self, order: ClaimedOrder, reason: str, delay_s: float) -> None:
        with self.database.raw_connection() as connection:
            queries.put_off(connection, order, delay_s, reason)
