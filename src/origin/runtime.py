"""The composition root: makes everything that lives as long as the process, from the settings.

`create_app` and the Celery app build one `Runtime` each. Nothing else makes clients or services, and
nothing connects before it is used.
"""

import logging
from dataclasses import dataclass

from origin.accounts.service.administration import UserAdministration
from origin.accounts.service.login import Logins
from origin.adoption.service.adopt import AdoptionService
from origin.adoption.service.early_rows import EarlyRows
from origin.balances.service.back_fill import EntryTimes
from origin.balances.service.balances import BalanceService
from origin.balances.service.moments import Moments
from origin.batches.client.ledger import LedgerClient
from origin.batches.service.carry_out import Verdicts
from origin.batches.service.follow import Follower
from origin.batches.service.post import BatchPoster
from origin.batches.service.redo import BatchRedo
from origin.batches.service.runner import BatchRunner
from origin.batches.service.sign import BatchSigner
from origin.batches.service.take_over import TakeOver
from origin.bulk.schemas.orders import read_order
from origin.bulk.service.acceptance import Acceptance
from origin.bulk.service.measurements import MeasurementsInPeriod
from origin.bulk.service.orders import BulkOrders
from origin.bulk.service.planning import Planner
from origin.bulk.service.queue import BulkQueue
from origin.compose.service.compose import Composer
from origin.compose.service.measurements import MeasurementReader
from origin.db.engine import Database
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.declarations.service import DeclarationService
from origin.doctor.service.database import DatabaseChecks
from origin.doctor.service.doctor import Doctor
from origin.doctor.service.environment import SettingsCheck
from origin.doctor.service.peers import PeerChecks
from origin.doctor.service.redis import RedisChecks
from origin.doctor.service.work import WorkChecks
from origin.forecasts.service import Forecasts
from origin.identity.client import HydraClient
from origin.identity.service.introspection import IntrospectionCache
from origin.identity.service.rate_limits import RateLimits
from origin.identity.service.token_refresh import TokenRefresher
from origin.identity.service.tokens import UserTokens
from origin.intake.service.back_fill import BackFill
from origin.intake.service.events import DataHubEvents
from origin.intake.service.issued_ggos import IssuedGgos
from origin.intake.service.job_queue import JobQueue
from origin.intake.service.job_work import JobWork
from origin.intake.service.jobs import DataHubJobs
from origin.intake.service.known_points import KnownPoints
from origin.intake.service.proven_indexes import ProvenIndexes
from origin.intake.service.technologies import Technologies
from origin.keys.announcing import SecretAnnouncer
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.keys.sealing import Sealer, Signer
from origin.maintenance.service.key_rotation import KeyRotation
from origin.maintenance.service.secret_changes import SecretChanges
from origin.monitoring.service.database_gauges import DatabaseGauges
from origin.monitoring.service.probes import Probes
from origin.operations.service.back_fill import OperationBackFill
from origin.operations.service.operations import Operations
from origin.operations.service.waiting import Waiting
from origin.peers.datahub import DataHubClient
from origin.reconciliation.service.reconcile import Reconciliation
from origin.reconciliation.service.repair import Repairs
from origin.recovery.service.forgotten_points import ForgottenPoints
from origin.recovery.service.recover import RecoveryService
from origin.settings import Settings
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import LEDGER_ENABLED, RECONCILE_INTERVAL, RECOVERY_MODE, watch_pool
from origin.web.v2.problems import detail_of
from origin.webhooks.client.host_limits import HostLimits
from origin.webhooks.client.receivers import ReceiverClient
from origin.webhooks.service.administration import SubscriptionAdministration
from origin.webhooks.service.delivery import DeliveryRunner
from origin.webhooks.service.outbox import Outbox
from origin.webhooks.service.subscriptions import Subscriptions

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Runtime:
    """Settings, connections, clients, and the services made of them; each is made once.

    `dataclasses.replace(runtime, ledger=…)` makes all services again, with another ledger client.
    """

    settings: Settings
    database: Database
    sealer: Sealer
    signer: Signer
    public_branch_keys: PublicBranchKeys
    hydra: HydraClient
    datahub: DataHubClient
    energy_types: EnergyTypeClient
    ledger: LedgerClient
    receivers: ReceiverClient
    host_limits: HostLimits
    wakeups: Wakeups

    def __post_init__(self) -> None:
        """Make the services, each after those that it needs."""
        self._make_identity()
        self._make_webhooks()
        self._make_batches()
        self._make_intake()
        self._make_compose()
        self._make_administration()

    def _make_identity(self) -> None:
        self.introspection_cache = IntrospectionCache(self.hydra, self.settings.token_cache_seconds)
        self.rate_limits = RateLimits(self.settings)
        self.user_tokens = UserTokens(
            database=self.database,
            refresher=TokenRefresher(database=self.database, sealer=self.sealer, hydra=self.hydra),
        )

    def _make_webhooks(self) -> None:
        self.outbox = Outbox(self.database, self.wakeups)
        self.subscriptions = Subscriptions(
            receivers=self.receivers, database=self.database, sealer=self.sealer
        )
        self.subscription_administration = SubscriptionAdministration(
            database=self.database, wakeups=self.wakeups
        )
        self.delivery_runner = DeliveryRunner(
            database=self.database,
            wakeups=self.wakeups,
            host_limits=self.host_limits,
            receivers=self.receivers,
            sealer=self.sealer,
            lease_s=self.settings.lease_seconds,
            retry_delay_s=self.settings.webhook_retry_delay,
        )

    def _make_batches(self) -> None:
        self.batch_signer = BatchSigner(database=self.database, sealer=self.sealer)
        self.batch_poster = BatchPoster(
            database=self.database,
            ledger=self.ledger,
            poll_delay_s=self.settings.ledger_poll_delay,
            submit_retry_delay_s=self.settings.ledger_submit_retry_delay,
        )
        self.batch_redo = BatchRedo(database=self.database, outbox=self.outbox)
        verdicts = Verdicts(
            database=self.database,
            ledger=self.ledger,
            batch_poster=self.batch_poster,
            batch_redo=self.batch_redo,
            outbox=self.outbox,
            poll_delay_s=self.settings.ledger_poll_delay,
        )
        self.take_over = TakeOver(
            ledger=self.ledger,
            verdicts=verdicts,
            ledger_enabled=self.settings.ledger_enabled,
        )
        self.batch_runner = BatchRunner(
            settings=self.settings,
            database=self.database,
            wakeups=self.wakeups,
            batch_signer=self.batch_signer,
            batch_poster=self.batch_poster,
            follower=Follower(ledger=self.ledger, verdicts=verdicts),
            take_over=self.take_over,
        )
        self.reconciliation = Reconciliation(
            settings=self.settings,
            database=self.database,
            batch_redo=self.batch_redo,
            ledger=self.ledger,
            sealer=self.sealer,
        )
        self.repairs = Repairs(database=self.database, wakeups=self.wakeups)

    def _make_intake(self) -> None:
        self.technologies = Technologies(datahub=self.datahub, database=self.database)
        self.issued_ggos = IssuedGgos(
            database=self.database,
            public_branch_keys=self.public_branch_keys,
            known_points=KnownPoints(self.database),
            wakeups=self.wakeups,
        )
        self.datahub_events = DataHubEvents(
            outbox=self.outbox,
            wakeups=self.wakeups,
            database=self.database,
            issued_ggos=self.issued_ggos,
        )
        self.back_fill = BackFill(
            database=self.database,
            datahub=self.datahub,
            user_tokens=self.user_tokens,
            outbox=self.outbox,
            issued_ggos=self.issued_ggos,
        )
        self.proven_indexes = ProvenIndexes(
            datahub=self.datahub,
            user_tokens=self.user_tokens,
            outbox=self.outbox,
            sealer=self.sealer,
            database=self.database,
            issued_ggos=self.issued_ggos,
        )
        self.forgotten_points = ForgottenPoints(
            datahub=self.datahub,
            user_tokens=self.user_tokens,
            outbox=self.outbox,
            issued_ggos=self.issued_ggos,
            database=self.database,
            back_fill=self.back_fill,
            proven_indexes=self.proven_indexes,
        )
        job_queue = JobQueue(settings=self.settings, database=self.database)
        self.datahub_jobs = DataHubJobs(
            queue=job_queue,
            work=JobWork(
                settings=self.settings,
                database=self.database,
                sealer=self.sealer,
                datahub=self.datahub,
                user_tokens=self.user_tokens,
                proven_indexes=self.proven_indexes,
                issued_ggos=self.issued_ggos,
                outbox=self.outbox,
                wakeups=self.wakeups,
                back_fill=self.back_fill,
                queue=job_queue,
            ),
        )

    def _make_compose(self) -> None:
        """Make the services of operations, composes, forecasts and declarations."""
        self.operations = Operations(database=self.database, waiting=Waiting(self.database))
        self.operation_back_fill = OperationBackFill(self.database)
        self.entry_times = EntryTimes(self.database)
        self.composer = Composer(
            database=self.database,
            wakeups=self.wakeups,
            public_branch_keys=self.public_branch_keys,
            measurement_reader=MeasurementReader(
                sealer=self.sealer, datahub=self.datahub, user_tokens=self.user_tokens
            ),
            ledger_enabled=self.settings.ledger_enabled,
        )
        self.balances = BalanceService(
            database=self.database,
            moments=Moments(self.database),
            ledger_enabled=self.settings.ledger_enabled,
        )
        self._make_bulk()
        self.forecasts = Forecasts(database=self.database, outbox=self.outbox)
        self.declarations = DeclarationService(
            database=self.database,
            energy_types=self.energy_types,
            datahub=self.datahub,
            user_tokens=self.user_tokens,
        )

    def _make_bulk(self) -> None:
        planner = Planner(
            database=self.database,
            measurements=MeasurementsInPeriod(
                datahub=self.datahub,
                user_tokens=self.user_tokens,
                public_branch_keys=self.public_branch_keys,
            ),
            ledger_enabled=self.settings.ledger_enabled,
        )
        acceptance = Acceptance(
            database=self.database,
            wakeups=self.wakeups,
            public_branch_keys=self.public_branch_keys,
            ledger_enabled=self.settings.ledger_enabled,
        )
        self.bulk_orders = BulkOrders(
            database=self.database,
            wakeups=self.wakeups,
            planner=planner,
            acceptance=acceptance,
        )
        self.bulk_queue = BulkQueue(
            settings=self.settings,
            database=self.database,
            planner=planner,
            acceptance=acceptance,
            read_order=read_order,
            detail_of=detail_of,
        )

    def _make_administration(self) -> None:
        """Make the services of logins, monitoring, administration, adoption and recovery."""
        self.probes = Probes(self.database, self.settings)
        self.database_gauges = DatabaseGauges(self.database.engine.url)
        self.logins = Logins(
            settings=self.settings,
            database=self.database,
            sealer=self.sealer,
            hydra=self.hydra,
            outbox=self.outbox,
            wakeups=self.wakeups,
            issued_ggos=self.issued_ggos,
        )
        self.user_administration = UserAdministration(
            database=self.database, wakeups=self.wakeups, user_tokens=self.user_tokens
        )
        self.secret_announcer = SecretAnnouncer(database=self.database, sealer=self.sealer)
        self.secret_changes = SecretChanges(database=self.database, sealer=self.sealer)
        self.key_rotation = KeyRotation(
            database=self.database, sealer=self.sealer, changes=self.secret_changes
        )
        self.adoption = AdoptionService(
            settings=self.settings,
            sealer=self.sealer,
            public_branch_keys=self.public_branch_keys,
            early_rows=EarlyRows(
                outbox=self.outbox, sealer=self.sealer, issued_ggos=self.issued_ggos
            ),
            wakeups=self.wakeups,
        )
        self.doctor = self._make_doctor()
        self.recovery = RecoveryService(
            database=self.database,
            wakeups=self.wakeups,
            forgotten_points=self.forgotten_points,
            ledger=self.ledger,
            public_branch_keys=self.public_branch_keys,
            outbox=self.outbox,
            ledger_enabled=self.settings.ledger_enabled,
        )

    def _make_doctor(self) -> Doctor:
        database_checks = DatabaseChecks(self.database)
        peers = PeerChecks(
            settings=self.settings,
            database_checks=database_checks,
            hydra=self.hydra,
            datahub=self.datahub,
            energy_types=self.energy_types,
            ledger=self.ledger,
        )
        work = WorkChecks(
            settings=self.settings,
            database_checks=database_checks,
            secret_changes=self.secret_changes,
        )
        return Doctor(
            [
                SettingsCheck(self.settings).check(),
                *database_checks.all(),
                *RedisChecks(self.settings).all(),
                *peers.all(),
                *work.all(),
            ]
        )


def build_runtime(settings: Settings, wakeups: Wakeups) -> Runtime:
    """Make all resources and services; connect to nothing."""
    database = Database(settings.database_url, settings.database_conn_poll_size)
    watch_pool(database.engine)
    LEDGER_ENABLED.set(settings.ledger_enabled)
    RECOVERY_MODE.set(settings.recovery_mode)
    RECONCILE_INTERVAL.set(settings.reconcile_interval)
    if settings.recovery_mode:
        log.warning("RECOVERY_MODE is set: composes, imports, signing and posting rest")
    secrets = [each.get_secret_value() for each in settings.key_encryption_secrets]
    sealer = Sealer(secrets)
    public_branch_keys = PublicBranchKeys(sealer)
    return Runtime(
        settings=settings,
        database=database,
        sealer=sealer,
        signer=Signer(secrets),
        public_branch_keys=public_branch_keys,
        hydra=_hydra(settings),
        datahub=DataHubClient(settings.datahub_service_url, tls_verify=settings.tls_verify),
        energy_types=EnergyTypeClient(
            settings.energy_type_service_url, tls_verify=settings.tls_verify
        ),
        ledger=LedgerClient(settings.ledger_url, tls_verify=settings.tls_verify),
        receivers=ReceiverClient(
            tls_verify=settings.tls_verify,
            allow_private=settings.webhook_allow_private,
            forbidden=settings.webhook_forbidden_networks,
        ),
        host_limits=HostLimits(),
        wakeups=wakeups,
    )


def _hydra(settings: Settings) -> HydraClient:
    return HydraClient(
        settings.hydra_url,
        settings.hydra_introspect_url,
        client_id=settings.hydra_client_id,
        client_secret=settings.hydra_client_secret.get_secret_value(),
        introspect_auth=settings.hydra_introspect_auth,
        tls_verify=settings.tls_verify,
    )
