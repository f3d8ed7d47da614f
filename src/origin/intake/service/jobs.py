"""Run due DataHub jobs. A job that fails is tried again until it succeeds."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import get_args

from origin.db.datahub_jobs import JobKind
from origin.errors import OriginError, TokensSpent
from origin.intake.service.job_queue import Job, JobQueue
from origin.intake.service.job_work import JobWork
from origin.shared.deadlines import Deadline
from origin.shared.thread_pools import ContextThreadPool

PARALLEL = 8
"""Jobs at a time. Each holds a database connection for moments only, so a small pool is enough."""
FETCHES_AT_ONCE = 2
"""Fetches of GGOs at a time, per process: each keeps one of DataHub's workers busy."""
MAX_RUN_S = 20.0
"""After this time a run claims nothing more, so that a hanging DataHub holds up nothing else."""

_FETCHES: Sequence[JobKind] = ("fetch_ggos",)
_OTHERS: Sequence[JobKind] = tuple(kind for kind in get_args(JobKind) if kind not in _FETCHES)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataHubJobs:
    """Runs due DataHub jobs."""

    queue: JobQueue
    work: JobWork
    _fetching: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one run of this process that fetches GGOs."""

    def run_due(self) -> int:
        """Run due jobs, a few at a time, until none is left or MAX_RUN_S have passed.

        Fetches of GGOs are slow, so they run beside the others.

        :returns: How many jobs ran, successfully or not.
        """
        deadline = Deadline(MAX_RUN_S)
        with ContextThreadPool(1) as beside:
            fetching = beside.submit(self._run_fetches, deadline)
            count = self._run_kinds(_OTHERS, PARALLEL, deadline)
            count += fetching.result()
        # The other jobs may have asked for fetches meanwhile.
        return count if deadline.is_over() else count + self._run_fetches(deadline)

    def _run_fetches(self, deadline: Deadline) -> int:
        """Run fetches of GGOs, unless another run of this process does."""
        if not self._fetching.acquire(blocking=False):
            return 0
        try:
            return self._run_kinds(_FETCHES, FETCHES_AT_ONCE, deadline)
        finally:
            self._fetching.release()

    def _run_kinds(self, kinds: Sequence[JobKind], at_once: int, deadline: Deadline) -> int:
        """Run jobs of these kinds, and renew their leases. A slow job delays no other."""
        count, is_over = 0, False
        under_way: dict[Future[None], Job] = {}
        with ContextThreadPool(at_once) as pool:
            while True:
                free = at_once - len(under_way)
                if free and not is_over:
                    jobs = self.queue.claim(kinds, free)
                    under_way |= {pool.submit(self._run, job): job for job in jobs}
                    count += len(jobs)
                if not under_way:
                    return count
                done, _ = wait(under_way, self.queue.renew_after_s, return_when=FIRST_COMPLETED)
                for each in done:
                    del under_way[each]
                    # `_run` raises only if the database is out of reach.
                    each.result()
                for job in under_way.values():
                    if time.monotonic() - job.held_since > self.queue.renew_after_s:
                        self.queue.renew(job)
                is_over = deadline.is_over()

    def _run(self, job: Job) -> None:
        """Run one job, and record what came of it."""
        begun = time.monotonic()
        try:
            is_done = self.work.do(job)
        except TokensSpent:
            self.queue.park(job)
        except OriginError as error:
            log.warning("DataHub job %s (%s) failed: %s", job.id, job.kind, error)
            self.queue.retry(job, str(error), time.monotonic() - begun)
        except Exception as error:
            # A bug in one job must neither stop the other jobs nor end this one.
            log.exception("DataHub job %s (%s) failed", job.id, job.kind)
            self.queue.retry(job, type(error).__name__, time.monotonic() - begun)
        else:
            if is_done:
                self.queue.end(job)
