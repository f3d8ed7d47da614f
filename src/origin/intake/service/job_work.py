"""What each kind of DataHub job does (contract: peers, DataHubService)."""

import logging
import time
from dataclasses import dataclass
from typing import assert_never, cast

from origin.db.datahub_jobs import enqueue, enqueue_points
from origin.db.engine import Database
from origin.db.locks import lock_user
from origin.errors import PeerError, PeerMisbehaved
from origin.identity.service.tokens import UserTokens
from origin.intake.queries.metering_points import (
    key_to_send,
    note_key_sent,
    producing_points,
    types_and_sectors,
)
from origin.intake.queries.owners import owner_of
from origin.intake.rules.back_fill import end_of_stretch, hours_after_failure, hours_after_success
from origin.intake.rules.events import FIRST_BEGIN, MeteringPointEvent
from origin.intake.service import metering_points
from origin.intake.service.back_fill import BackFill
from origin.intake.service.early_events import apply_ggos
from origin.intake.service.issued_ggos import IssuedGgos
from origin.intake.service.job_queue import Job, JobQueue
from origin.intake.service.proven_indexes import ProvenIndexes
from origin.keys.derivation import ExtendedKey, metering_point_key
from origin.keys.sealing import Sealer, master_key_context
from origin.peers.datahub import DataHubClient, WebhookEvent
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.shared.deadlines import Deadline
from origin.shared.wakeups import Wakeups
from origin.webhooks.service.outbox import Outbox

FETCH_RUN_S = 10.0
"""After this time a fetch of GGOs pauses, and other jobs run first."""

_MAX_LOGGED_ROWS = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobWork:
    """Does one claimed job at DataHub, with the user's access token."""

    settings: Settings
    database: Database
    sealer: Sealer
    datahub: DataHubClient
    user_tokens: UserTokens
    proven_indexes: ProvenIndexes
    issued_ggos: IssuedGgos
    outbox: Outbox
    wakeups: Wakeups
    back_fill: BackFill
    queue: JobQueue

    def do(self, job: Job) -> bool:
        """Do the job.

        :returns: False if it is to be kept: it goes on later, or is no longer this run's.
        :raises TokensSpent: The user must log in again.
        :raises PeerError: DataHub or Hydra is out of reach, or breaks the contract.
        """
        match job.kind:
            case "send_key":
                self._send_key(job)
            case "subscribe_metering_points":
                self._subscribe_metering_points(job)
            case "subscribe_ggos":
                self._subscribe_ggos(job)
            case "import_metering_points":
                self._import_metering_points(job)
            case "fetch_ggos":
                return self._fetch_ggos(job)
            case _:
                assert_never(job.kind)
        return True

    def _send_key(self, job: Job) -> None:
        point_id = cast("int", job.metering_point_id)
        with self.database.reading() as session:
            row = key_to_send(session, point_id)
        master = ExtendedKey.from_base58(
            self.sealer.open(row.master_key, master_key_context(row.subject))
        )
        key = metering_point_key(master, row.key_index).base58()
        self.user_tokens.with_user_token(
            job.user_id, lambda token: self.datahub.set_key(token, row.gsrn, key)
        )
        with self.database.transaction() as session:
            note_key_sent(session, point_id)

    def _subscribe_metering_points(self, job: Job) -> None:
        was_subscribed = self._subscribe(job, "on-meteringpoint-available")
        if job.attempts == 1 and not was_subscribed:
            return
        # No webhook reported new points for a while, so the first import may have missed some.
        with self.database.transaction() as session:
            enqueue(session, job.user_id, ["import_metering_points"])

    def _subscribe_ggos(self, job: Job) -> None:
        self._subscribe(job, "on-ggo-issued")
        # Webhooks report what is issued from now on. What was issued before must be fetched.
        with self.database.transaction() as session:
            points = producing_points(session, job.user_id)
            enqueue_points(session, job.user_id, "fetch_ggos", points)

    def _subscribe(self, job: Job, event: WebhookEvent) -> bool:
        """Unsubscribe, then subscribe: DataHub would report each event once per subscription.

        :returns: Whether there was a subscription before.
        """
        settings = self.settings
        body = {
            "url": f"{settings.project_url}/webhook/{event}",
            "secret": settings.webhook_secret.get_secret_value(),
        }

        def resubscribe(token: str) -> bool:
            try:
                was_subscribed = self.datahub.unsubscribe(token, event, **body)
            except PeerMisbehaved as error:
                # Events that come twice do no harm; missing events do.
                log.warning("Subscribing to %s without unsubscribing: %s", event, error)
                was_subscribed = False
            self.datahub.subscribe(token, event, **body)
            return was_subscribed

        return self.user_tokens.with_user_token(job.user_id, resubscribe)

    def _import_metering_points(self, job: Job) -> None:
        """Add the metering points that DataHub knows of the user, and issue kept GGOs.

        :raises PeerMisbehaved: Some of DataHub's rows break the contract. The others were added.
        """
        with self.database.reading() as session:
            known = types_and_sectors(session, job.user_id)
        points = self.user_tokens.with_user_token(job.user_id, self.datahub.metering_points)
        events = [
            MeteringPointEvent(point.gsrn, point.type, point.sector) for point in points.valid
        ]
        self.proven_indexes.add_forgotten_points(job.user_id, events)
        with self.outbox.transaction() as session:
            owner = owner_of(session, job.user_id)
            metering_points.store(session, self.issued_ggos, owner, events, stored_before=known)
        self.wakeups.datahub_jobs_due()
        has_more = True
        while has_more:
            with self.outbox.transaction() as session:
                lock_user(session, owner.id)
                has_more = apply_ggos(session, self.issued_ggos, owner)
        if points.invalid:
            raise PeerMisbehaved("DataHubService", "; ".join(points.invalid[:_MAX_LOGGED_ROWS]))

    def _fetch_ggos(self, job: Job) -> bool:
        """Fetch what was issued to a metering point, stretch by stretch; progress is recorded.

        If a stretch fails, the next attempt asks for half as much.

        :returns: Whether all was fetched.
        """
        point_id = cast("int", job.metering_point_id)
        deadline = Deadline(FETCH_RUN_S)
        begin = job.fetched_until or FIRST_BEGIN
        months = self.back_fill.busy_months(point_id, begin)
        while True:
            begun = time.monotonic()
            end = end_of_stretch(begin, utcnow(), months=months, hours=job.fetch_hours)
            try:
                until = self.back_fill.fetch(point_id, begin, end)
            except PeerError:
                job.fetch_hours = hours_after_failure(begin, end)
                raise
            if until is None:
                return True
            job.fetch_hours = hours_after_success(job.fetch_hours, time.monotonic() - begun)
            is_over = deadline.is_over()
            if not self.queue.note_fetched(job, until, is_due=is_over) or is_over:
                return False
            begin = until
