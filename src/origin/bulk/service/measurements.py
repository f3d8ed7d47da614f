"""The measurements that a bulk retirement can retire to."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from origin.bulk.client import PublishedMeasurement, read_measurements
from origin.compose.queries.compose import ComposingAccount, ConsumptionPointRow
from origin.identity.service.tokens import UserTokens
from origin.keys.derivation import HARDENED, AddressKind, PublicBranchKey, period_index
from origin.keys.public_branch_keys import PublicBranchKeys
from origin.peers.datahub import DataHubClient
from origin.shared.native_threads import run_in_native_thread
from origin.shared.periods import Period

log = logging.getLogger(__name__)

_FIRST = datetime.fromtimestamp(0, UTC)
_LAST = datetime.fromtimestamp(HARDENED, UTC)
"""No keys can be derived for periods that begin before the first, or from the last on."""


@dataclass(frozen=True)
class FittingMeasurements:
    """Measurements at the addresses that our keys derive: GGOs can be retired to them."""

    by_address: Mapping[str, PublishedMeasurement]
    misplaced: frozenset[str]
    """GSRNs of points with measurements at other addresses, or at none."""


@dataclass(frozen=True)
class MeasurementsInPeriod:
    """Reads measurements from DataHub with their owner's access token."""

    datahub: DataHubClient
    user_tokens: UserTokens
    public_branch_keys: PublicBranchKeys

    def read(
        self,
        owner: ComposingAccount,
        points: Mapping[str, ConsumptionPointRow],
        period: Period,
        before_paging: Callable[[int], None],
    ) -> Mapping[str, PublishedMeasurement]:
        """Return the measurements of these points that begin in the period, by address.

        Call it without holding a connection.

        :param points: The owner's, by GSRN.
        :param before_paging: As `read_measurements`.
        :raises PeerError: DataHub cannot return them now.
        :raises TokensSpent: DataHub no longer accepts the owner's tokens.
        """
        begin, end = max(period.begin, _FIRST), min(period.end, _LAST)
        if not points or begin >= end:
            return {}
        published = self.user_tokens.with_user_token(
            owner.id,
            lambda token: read_measurements(self.datahub, token, points, begin, end, before_paging),
        )
        branches = {
            gsrn: self.public_branch_keys.metering_point(
                owner.subject, owner.master_key, point.key_index
            )
            for gsrn, point in points.items()
        }
        fitting = run_in_native_thread(_fitting, published, branches)
        for gsrn in sorted(fitting.misplaced):
            log.warning(
                "Measurements of metering point %s are not at the addresses that its key derives: "
                "nothing can be retired to them",
                gsrn,
            )
        return fitting.by_address


def _fitting(
    published: Iterable[PublishedMeasurement], branches: Mapping[str, PublicBranchKey]
) -> FittingMeasurements:
    """Keep the measurements whose addresses are those that our keys derive.

    DataHub's address of an hourly point is known of one measurement alone; it stands for all.
    """
    found: dict[str, PublishedMeasurement] = {}
    misplaced: set[str] = set()
    for each in published:
        index = period_index(each.begin)
        address = branches[each.gsrn].address(index, AddressKind.MEASUREMENT)
        if each.address in {None, address}:
            found[address] = each
        else:
            misplaced.add(each.gsrn)
    hourly = {each.gsrn for each in found.values() if each.address is None}
    unknown = misplaced & hourly
    fitting = {address: each for address, each in found.items() if each.gsrn not in unknown}
    return FittingMeasurements(fitting, frozenset(misplaced))
