"""Checks of the peers: one real call of each, its certificate, and its clock."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from origin.batches.client.ledger import LedgerClient
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.doctor import queries
from origin.doctor.client import CannotLook, look_at, place_of
from origin.doctor.rules import Check, Finding, fail, judge_certificate, judge_clock, ok, warn
from origin.doctor.service.database import DatabaseChecks
from origin.errors import PeerClientRefused, PeerError, PeerUnauthorized
from origin.identity.client import HydraClient
from origin.peers.datahub import DataHubClient
from origin.settings import Settings
from origin.shared.clock import utcnow

_NO_TOKEN = "account-service-doctor"  # noqa: S105 - nobody's
_NO_ADDRESS = "0" * 70
_SECTOR = "DK1"


@dataclass(frozen=True)
class PeerChecks:
    """Makes the checks of the peers. They need no user, and change nothing."""

    settings: Settings
    database_checks: DatabaseChecks
    hydra: HydraClient
    datahub: DataHubClient
    energy_types: EnergyTypeClient
    ledger: LedgerClient

    def all(self) -> Sequence[Check]:
        """Return the checks that fit the settings."""
        settings = self.settings
        checks = [
            self._peer("hydra", "HYDRA_URL", settings.hydra_url, self._ask_hydra),
            self._peer(
                "hydra introspection",
                "HYDRA_INTROSPECT_URL",
                settings.hydra_introspect_url,
                self._introspect,
            ),
            self._peer(
                "datahub", "DATAHUB_SERVICE_URL", settings.datahub_service_url, self._ask_datahub
            ),
            self._peer(
                "energy types",
                "ENERGY_TYPE_SERVICE_URL",
                settings.energy_type_service_url,
                self._ask_energy_types,
            ),
        ]
        if not settings.ledger_enabled:
            return checks
        return [
            *checks,
            self._peer("ledger", "LEDGER_URL", settings.ledger_url, self._ask_ledger),
            self.database_checks.after_connecting(
                "ledger state", self._compare_ggo, ["ledger_", "tls_verify"]
            ),
        ]

    def _peer(self, name: str, variable: str, url: str, ask: Callable[[], None]) -> Check:
        def run() -> Iterator[Finding]:
            check_it = f"Check {variable} ({place_of(url)})"
            try:
                seen = look_at(url, tls_verify=self.settings.tls_verify)
            except CannotLook as error:
                yield fail(name, f"It can't be reached. {error} {check_it}, and whether it runs.")
                return
            try:
                ask()
            except PeerClientRefused:
                yield fail(
                    name, "It refuses HYDRA_CLIENT_ID with HYDRA_CLIENT_SECRET. Correct them."
                )
            except PeerError as error:
                yield fail(name, f"It answers, but not as it should: {error.reason}. {check_it}.")
            else:
                yield ok(name, f"{place_of(url)} answers.")
            if seen.expires_at is not None:
                yield judge_certificate(f"{name} certificate", seen.expires_at, utcnow())
            if seen.ahead_s is not None:
                yield judge_clock(f"{name} clock", name, seen.ahead_s, seen.error_s)

        needs = [variable.lower(), "tls_verify", *(["hydra_"] if "HYDRA" in variable else [])]
        return Check(name, run, needs)

    def _ask_hydra(self) -> None:
        """Fetch the public keys, and try our credentials with a made-up refresh token."""
        self.hydra.fetch_keys()
        try:
            self.hydra.refresh(_NO_TOKEN)
        except PeerClientRefused:
            raise
        except PeerUnauthorized:
            # It knows us, and not the token.
            return

    def _introspect(self) -> None:
        self.hydra.introspect(_NO_TOKEN)

    def _ask_datahub(self) -> None:
        self.datahub.technologies()

    def _ask_energy_types(self) -> None:
        end = utcnow()
        self.energy_types.residual_mix([_SECTOR], end - timedelta(hours=1), end)

    def _ask_ledger(self) -> None:
        self.ledger.read_ggo(_NO_ADDRESS)

    def _compare_ggo(self) -> Iterator[Finding]:
        """Compare the latest issued GGO with the ledger."""
        check = "ledger state"
        with self.database_checks.database.reading() as session:
            known = queries.newest_issued_ggo(session)
        if known is None:
            yield ok(check, "Not checked: no GGO has been issued yet.")
            return
        try:
            found = self.ledger.read_ggo(known.address)
        except PeerError as error:
            yield fail(check, f"The GGO {known.address} can't be read: {error.reason}.")
            return
        if found is None:
            yield fail(
                check,
                f"The ledger has nothing at {known.address}, where the database has an issued GGO. Is "
                "LEDGER_URL another ledger's? Compare all: `flask ledger reconcile`.",
            )
        elif found.amount != known.amount:
            yield warn(
                check,
                f"The GGO {known.address} has {found.amount} Wh on the ledger, and {known.amount} Wh "
                "here. Compare all: `flask ledger reconcile`.",
            )
        else:
            yield ok(check, "The ledger has the latest GGO, with the same amount.")
