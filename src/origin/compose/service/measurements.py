"""The measurements that a compose retires to, read from DataHub."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from origin.compose.queries.compose import ComposingAccount, ConsumptionPointRow
from origin.compose.rules import Measurement
from origin.identity.service.tokens import UserTokens
from origin.keys.derivation import AddressKind, ExtendedKey, metering_point_key, period_key
from origin.keys.sealing import Sealer, master_key_context
from origin.peers import datahub
from origin.peers.datahub import DataHubClient

_CALLS_AT_ONCE = 8
"""Calls of DataHub that one compose has under way at a time."""


@dataclass(frozen=True)
class MeasurementReader:
    """Reads measurements from DataHub with their owner's access token."""

    sealer: Sealer
    datahub: DataHubClient
    user_tokens: UserTokens

    def read_all(
        self, owner: ComposingAccount, points: Mapping[str, ConsumptionPointRow], begin: datetime
    ) -> dict[str, Measurement | None]:
        """Return the measurement of each point that begins at this time, by GSRN; None if missing.

        :param points: At least one, by GSRN; all the owner's.
        :raises PeerError: DataHub cannot return them now.
        :raises TokensSpent: DataHub no longer accepts the owner's tokens.
        """
        master = ExtendedKey.from_base58(
            self.sealer.open(owner.master_key, master_key_context(owner.subject))
        )

        def read(point: ConsumptionPointRow) -> Measurement | None:
            found = self.user_tokens.with_user_token(
                owner.id,
                lambda token: self.datahub.consumed_measurement(token, point.gsrn, begin),
            )
            if found is None:
                return None
            return _measurement(found, metering_point_key(master, point.key_index))

        # Read the first one alone: if the token has expired, this refreshes it before the other calls.
        first, *others = points.values()
        found = {first.gsrn: read(first)}
        with ThreadPoolExecutor(max_workers=_CALLS_AT_ONCE) as pool:
            gsrns = [point.gsrn for point in others]
            return found | dict(zip(gsrns, pool.map(read, others), strict=True))


def _measurement(found: datahub.DataHubMeasurement, point_key: ExtendedKey) -> Measurement:
    derived = period_key(point_key, found.begin).address(AddressKind.MEASUREMENT)
    return Measurement(
        address=found.address,
        gsrn=found.gsrn,
        begin=found.begin,
        end=found.end,
        sector=found.sector,
        amount=found.amount,
        is_consumption=found.type == "consumption",
        # This key signs the settlement. The ledger refuses a settlement at another key's address.
        has_derived_address=found.address == derived,
    )
