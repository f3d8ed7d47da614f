"""The composition root: everything that is made once per process, from the settings.

`create_app` and the Celery app build one `Runtime` each; nothing else reads the environment or
makes clients, and nothing connects before it is used.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

from origin.batches.client.ledger import LedgerClient
from origin.db.engine import Database
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.identity.client import HydraClient
from origin.intake.queries.issuing import Points
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.keys.sealing import Sealer, Signer
from origin.peers.datahub import DataHubClient
from origin.settings import Settings
from origin.telemetry.metrics import LEDGER_ENABLED, RECOVERY_MODE, watch_pool
from origin.webhooks.client.host_limits import HostLimits
from origin.webhooks.client.receivers import ReceiverClient

log = logging.getLogger(__name__)


class Hints(Protocol):
    """Wake-ups for the workers, by task name. A lost one costs seconds: Beat sweeps."""

    def batches_due(self, delay_s: float = 0) -> None:
        """Batches want to go to the ledger."""

    def datahub_jobs_due(self) -> None:
        """DataHub is to be told or asked something."""

    def deliveries_due(self) -> None:
        """Webhooks want to go to subscribers."""


@dataclass(frozen=True)
class Runtime:
    """What use cases need of the world."""

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
    hints: Hints


def build_runtime(settings: Settings, hints: Hints) -> Runtime:
    """Make everything, connect to nothing."""
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
    return Runtime(
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
        hints=hints,
    )
