"""Claim DataHub jobs, renew their leases, and record their results."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from origin.db.datahub_jobs import JobKind
from origin.db.engine import Database
from origin.intake.queries import job_queue
from origin.settings import Settings
from origin.shared.retries import backoff_s

log = logging.getLogger(__name__)


@dataclass
class Job:
    """A claimed job. Hold `lock` while writing to its row: its lease is renewed while it runs.

    :ivar fetched_until: For `fetch_ggos`: GGOs that begin before this time are stored.
    :ivar fetch_hours: For `fetch_ggos`: the longest stretch to ask for; None: no limit.
    :ivar attempts: The number of attempts, including this one.
    :ivar lease_until: The end of the lease. It shows whether this run still holds the job.
    """

    id: int
    user_id: int
    kind: JobKind
    metering_point_id: int | None
    fetched_until: datetime | None
    fetch_hours: int | None
    attempts: int
    lease_until: datetime
    held_since: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class JobQueue:
    """Claims jobs, and records what came of them. It changes no job that another run has claimed."""

    settings: Settings
    database: Database

    @property
    def renew_after_s(self) -> float:
        """How long after a claim or a renewal a lease should be renewed, in seconds."""
        return self.settings.lease_seconds / 3

    def claim(self, kinds: Sequence[JobKind], limit: int) -> list[Job]:
        """Claim up to `limit` due jobs of these kinds."""
        with self.database.transaction() as session:
            rows = job_queue.claim(
                session, kinds=kinds, limit=limit, lease_s=self.settings.lease_seconds
            )
        return [
            Job(
                id=row.id,
                user_id=row.user_id,
                kind=row.kind,
                metering_point_id=row.metering_point_id,
                fetched_until=row.fetched_until,
                fetch_hours=row.fetch_hours,
                attempts=row.attempts,
                lease_until=row.next_attempt_at,
            )
            for row in rows
        ]

    def renew(self, job: Job) -> None:
        """Extend the job's lease, unless its end is being written."""
        if not job.lock.acquire(blocking=False):
            return
        try:
            with self.database.transaction() as session:
                until = job_queue.extend_lease(
                    session, job.id, job.lease_until, self.settings.lease_seconds
                )
            if until is not None:
                job.lease_until, job.held_since = until, time.monotonic()
        finally:
            job.lock.release()

    def end(self, job: Job) -> None:
        """Delete a job that is done, unless it was asked for again while it ran."""
        with job.lock, self.database.transaction() as session:
            job_queue.end_job(session, job.id, job.lease_until)

    def retry(self, job: Job, reason: str, took_s: float) -> None:
        """Schedule another attempt. The pause is at least as long as this attempt took."""
        delay_s = max(backoff_s(self.settings.datahub_retry_delay, job.attempts), took_s)
        with job.lock, self.database.transaction() as session:
            job_queue.schedule_retry(
                session,
                job.id,
                job.lease_until,
                delay_s=delay_s,
                reason=reason,
                fetch_hours=job.fetch_hours,
            )

    def park(self, job: Job) -> None:
        """Park the job until the user's next login makes it due.

        If the user has logged in meanwhile, the job is due already, and this changes nothing.
        """
        with job.lock, self.database.transaction() as session:
            job_queue.park(session, job.id, job.lease_until, "the user must log in again")
        log.info("DataHub job %s (%s) waits for user %s to log in", job.id, job.kind, job.user_id)

    def note_fetched(self, job: Job, until: datetime, *, is_due: bool) -> bool:
        """Record how far a fetch of GGOs has come.

        :param is_due: Whether to end the lease, so that the job is due at once.
        :returns: False if the job is no longer this run's.
        """
        job.attempts = 1
        with job.lock, self.database.transaction() as session:
            return job_queue.note_fetched(
                session,
                job.id,
                job.lease_until,
                until=until,
                fetch_hours=job.fetch_hours,
                is_due=is_due,
            )
