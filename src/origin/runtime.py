"""The composition root: makes everything that lives as long as the process, from the settings.

`create_app` and the Celery app build one `Runtime` each. Nothing else reads the environment or makes
clients, and nothing connects before it is used.
"""

import logging
from dataclasses import dataclass, fields

from origin.accounts.service.administration import UserAdministration
from origin.accounts.service.login import Logins
from origin.batches.client.ledger import LedgerClient
from origin.batches.service.follow import Follower
from origin.batches.service.post import BatchPoster
from origin.batches.service.redo import BatchRedo
from origin.batches.service.runner import BatchRunner
from origin.batches.service.sign import BatchSigner
from origin.compose.service.compose import Composer
from origin.db.engine import Database
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.declarations.service import DeclarationService
from origin.forecasts.service import Forecasts
from origin.identity.client import HydraClient
from origin.identity.service.introspection import IntrospectionCache
from origin.identity.service.rate_limits import RateLimits
from origin.identity.service.tokens import UserTokens
from origin.intake.queries.issuing import Points
from origin.intake.service.back_fill import BackFill
from origin.intake.service.events import DataHubEvents
from origin.intake.service.issued_ggos import IssuedGgos
from origin.intake.service.jobs import DataHubJobs
from origin.intake.service.technologies import Technologies
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.keys.sealing import Sealer, Signer
from origin.maintenance.service.key_rotation import KeyRotation
from origin.monitoring.service.database_gauges import DatabaseGauges
from origin.monitoring.service.probes import Probes
from origin.peers.datahub import DataHubClient
from origin.reconciliation.service.reconcile import Reconciliation
from origin.reconciliation.service.repair import Repairs
from origin.recovery.service.forgotten_points import ForgottenPoints
from origin.recovery.service.recover import RecoveryService
from origin.settings import Settings
from origin.shared.wakeups import Wakeups
from origin.telemetry.metrics import LEDGER_ENABLED, RECOVERY_MODE, watch_pool
from origin.webhooks.client.host_limits import HostLimits
from origin.webhooks.client.receivers import ReceiverClient
from origin.webhooks.service.administration import SubscriptionAdministration
from origin.webhooks.service.delivery import DeliveryRunner
from origin.webhooks.service.outbox import Outbox
from origin.webhooks.service.subscriptions import Subscriptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """Settings, connections and clients: what the services are made of."""

    settings: Settings
    database: Database
    sealer: Sealer
    signer: Signer
    public_branch_keys: PublicBranchKeys
    points: Points
    hydra: HydraClient
    datahub: DataHubClient
    energy_types: EnergyTypeClient
    ledger: LedgerClient
    receivers: ReceiverClient
    host_limits: HostLimits
    wakeups: Wakeups


@dataclass(frozen=True)
class Runtime(Resources):
    """The resources and the services, each made once."""

    introspection_cache: IntrospectionCache
    rate_limits: RateLimits
    outbox: Outbox
    probes: Probes
    user_tokens: UserTokens
    back_fill: BackFill
    batch_poster: BatchPoster
    batch_redo: BatchRedo
    batch_signer: BatchSigner
    follower: Follower
    batch_runner: BatchRunner
    composer: Composer
    database_gauges: DatabaseGauges
    issued_ggos: IssuedGgos
    datahub_events: DataHubEvents
    forgotten_points: ForgottenPoints
    datahub_jobs: DataHubJobs
    declarations: DeclarationService
    delivery_runner: DeliveryRunner
    forecasts: Forecasts
    key_rotation: KeyRotation
    logins: Logins
    reconciliation: Reconciliation
    recovery: RecoveryService
    repairs: Repairs
    subscription_administration: SubscriptionAdministration
    subscriptions: Subscriptions
    technologies: Technologies
    user_administration: UserAdministration


def build_runtime(settings: Settings, wakeups: Wakeups) -> Runtime:
    """Make all resources and services. Connects to nothing."""
    return wire(_resources(settings, wakeups))


def wire(resources: Resources) -> Runtime:
    """Make the services on these resources."""
    r = resources
    outbox = Outbox(r.database, r.wakeups)
    user_tokens = UserTokens(database=r.database, sealer=r.sealer, hydra=r.hydra)
    back_fill = BackFill(
        database=r.database,
        datahub=r.datahub,
        user_tokens=user_tokens,
        outbox=outbox,
        sealer=r.sealer,
    )
    batch_poster = BatchPoster(
        database=r.database,
        ledger=r.ledger,
        poll_delay_s=r.settings.ledger_poll_delay,
        submit_retry_delay_s=r.settings.ledger_submit_retry_delay,
    )
    batch_redo = BatchRedo(database=r.database, outbox=outbox)
    batch_signer = BatchSigner(database=r.database, sealer=r.sealer)
    follower = Follower(
        database=r.database,
        ledger=r.ledger,
        batch_poster=batch_poster,
        batch_redo=batch_redo,
        outbox=outbox,
        poll_delay_s=r.settings.ledger_poll_delay,
    )
    batch_runner = BatchRunner(
        settings=r.settings,
        database=r.database,
        wakeups=r.wakeups,
        batch_signer=batch_signer,
        batch_poster=batch_poster,
        follower=follower,
    )
    composer = Composer(
        database=r.database,
        settings=r.settings,
        wakeups=r.wakeups,
        sealer=r.sealer,
        datahub=r.datahub,
        user_tokens=user_tokens,
        public_branch_keys=r.public_branch_keys,
    )
    issued_ggos = IssuedGgos(points=r.points, database=r.database, wakeups=r.wakeups)
    datahub_events = DataHubEvents(
        outbox=outbox,
        sealer=r.sealer,
        wakeups=r.wakeups,
        database=r.database,
        issued_ggos=issued_ggos,
    )
    forgotten_points = ForgottenPoints(
        datahub=r.datahub,
        user_tokens=user_tokens,
        outbox=outbox,
        sealer=r.sealer,
        database=r.database,
        back_fill=back_fill,
    )
    datahub_jobs = DataHubJobs(
        settings=r.settings,
        database=r.database,
        sealer=r.sealer,
        datahub=r.datahub,
        user_tokens=user_tokens,
        forgotten_points=forgotten_points,
        outbox=outbox,
        wakeups=r.wakeups,
        back_fill=back_fill,
    )
    declarations = DeclarationService(
        database=r.database, energy_types=r.energy_types, datahub=r.datahub, user_tokens=user_tokens
    )
    delivery_runner = DeliveryRunner(
        database=r.database,
        wakeups=r.wakeups,
        settings=r.settings,
        host_limits=r.host_limits,
        receivers=r.receivers,
        sealer=r.sealer,
    )
    forecasts = Forecasts(outbox=outbox)
    key_rotation = KeyRotation(database=r.database, sealer=r.sealer)
    logins = Logins(
        settings=r.settings,
        database=r.database,
        sealer=r.sealer,
        hydra=r.hydra,
        outbox=outbox,
        wakeups=r.wakeups,
    )
    reconciliation = Reconciliation(
        settings=r.settings,
        database=r.database,
        batch_redo=batch_redo,
        ledger=r.ledger,
        sealer=r.sealer,
    )
    recovery = RecoveryService(
        database=r.database,
        wakeups=r.wakeups,
        forgotten_points=forgotten_points,
        ledger=r.ledger,
        public_branch_keys=r.public_branch_keys,
        outbox=outbox,
        ledger_enabled=r.settings.ledger_enabled,
    )
    repairs = Repairs(database=r.database, wakeups=r.wakeups)
    subscription_administration = SubscriptionAdministration(database=r.database, wakeups=r.wakeups)
    subscriptions = Subscriptions(receivers=r.receivers, database=r.database, sealer=r.sealer)
    technologies = Technologies(datahub=r.datahub, database=r.database)
    user_administration = UserAdministration(
        database=r.database, wakeups=r.wakeups, user_tokens=user_tokens
    )
    return Runtime(
        **{each.name: getattr(r, each.name) for each in fields(Resources)},
        introspection_cache=IntrospectionCache(r.hydra, r.settings.token_cache_seconds),
        rate_limits=RateLimits(r.settings),
        database_gauges=DatabaseGauges(r.database.engine.url),
        probes=Probes(r.database, r.settings),
        outbox=outbox,
        user_tokens=user_tokens,
        back_fill=back_fill,
        batch_poster=batch_poster,
        batch_redo=batch_redo,
        batch_signer=batch_signer,
        follower=follower,
        batch_runner=batch_runner,
        composer=composer,
        issued_ggos=issued_ggos,
        datahub_events=datahub_events,
        forgotten_points=forgotten_points,
        datahub_jobs=datahub_jobs,
        declarations=declarations,
        delivery_runner=delivery_runner,
        forecasts=forecasts,
        key_rotation=key_rotation,
        logins=logins,
        reconciliation=reconciliation,
        recovery=recovery,
        repairs=repairs,
        subscription_administration=subscription_administration,
        subscriptions=subscriptions,
        technologies=technologies,
        user_administration=user_administration,
    )


def _resources(settings: Settings, wakeups: Wakeups) -> Resources:
    secret = settings.hydra_client_secret.get_secret_value()
    database = Database(settings.database_url, settings.database_conn_poll_size)
    watch_pool(database.engine)
    LEDGER_ENABLED.set(settings.ledger_enabled)
    RECOVERY_MODE.set(settings.recovery_mode)
    if settings.recovery_mode:
        log.warning("RECOVERY_MODE is set: composes, imports, signing and posting rest")
    secrets = [each.get_secret_value() for each in settings.key_encryption_secrets]
    sealer = Sealer(secrets)
    public_branch_keys = PublicBranchKeys(sealer)
    return Resources(
        settings=settings,
        database=database,
        sealer=sealer,
        signer=Signer(secrets),
        public_branch_keys=public_branch_keys,
        points=Points(database, public_branch_keys),
        hydra=HydraClient(
            settings.hydra_url,
            settings.hydra_introspect_url,
            client_id=settings.hydra_client_id,
            client_secret=secret,
            introspect_auth=settings.hydra_introspect_auth,
            tls_verify=settings.tls_verify,
        ),
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
