"""Declares an account's consumption (contract: domain.md, Declarations)."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from origin.db.engine import Database
from origin.declarations.client.consumption import read_consumption
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.declarations.queries import consumption_sectors, retired_to
from origin.declarations.rules.consumption import Consumption
from origin.declarations.rules.declarations import (
    DeclarationQuery,
    EnvironmentDeclaration,
    HourlyDeclarations,
    ResidualMix,
    by_resolution,
    declare,
)
from origin.errors import MeteringPointUnavailable, PeerUnavailable
from origin.identity.service.tokens import UserTokens
from origin.peers.datahub import DataHubClient
from origin.shared.native_threads import run_in_native_thread
from origin.shared.thread_pools import ContextThreadPool

PATIENCE_S = 300.0
"""For both peers and all their pages. A year of quarter-hours takes DataHub 95 s."""
SIDE_BY_SIDE = timedelta(days=800)
"""Up to this length, both peers are asked at the same time. A longer range usually means "everything":
there the mix is asked for the measured hours only."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeclarationService:
    """Answers environment declarations."""

    database: Database
    energy_types: EnergyTypeClient
    datahub: DataHubClient
    user_tokens: UserTokens

    def answer(self, user_id: int, query: DeclarationQuery) -> EnvironmentDeclaration:
        """Declare what this user's metering points consumed.

        :raises MeteringPointUnavailable: A point isn't the user's, or isn't a consumption point.
        :raises PeerError: DataHub or EnergyTypeService doesn't answer as documented, or in time.
        :raises TokensSpent: DataHub no longer accepts the user's tokens.
        """
        with self.database.reading() as session:
            sectors = consumption_sectors(session, user_id, query.gsrns)
        unavailable = [gsrn for gsrn in dict.fromkeys(query.gsrns) if gsrn not in sectors]
        if unavailable:
            raise MeteringPointUnavailable(unavailable)
        with self.database.reading() as session:
            retired = list(retired_to(session, user_id, sectors, query.begin, query.end))
        consumption, mix = self._ask_peers(
            user_id, query, set(sectors.values()), {gsrn for gsrn, *_ in retired}
        )
        known = set(sectors.values()) | {sector for _, sector in consumption}

        def compute() -> EnvironmentDeclaration:
            return by_resolution(query, declare(consumption, retired, mix, known))

        found = run_in_native_thread(compute)
        _log(user_id, found.by_hour)
        return found

    def _ask_peers(
        self, user_id: int, query: DeclarationQuery, sectors: set[str], exact: set[str]
    ) -> tuple[Consumption, ResidualMix]:
        """Return the consumption, and the mix of at least its hours and sectors.

        :param exact: The points with retired GGOs, of which every single period is needed.
        """
        with _Calls() as calls:
            consuming = calls.start(lambda: self._consumption(user_id, query, exact, calls.go_on))
            if query.end - query.begin <= SIDE_BY_SIDE:
                mixing = calls.start(
                    lambda: self.energy_types.residual_mix(
                        sectors, query.begin, query.end, calls.go_on
                    )
                )
                calls.wait(DataHubService=consuming, EnergyTypeService=mixing)
                consumption, mix = consuming.result(), mixing.result()
                asked = sectors
            else:
                calls.wait(DataHubService=consuming)
                consumption, mix, asked = consuming.result(), {}, set[str]()
            missing = ({sector for _, sector in consumption} | sectors) - asked
            if missing and (span := _span(consumption)):
                more = calls.start(
                    lambda: self.energy_types.residual_mix(missing, *span, calls.go_on)
                )
                calls.wait(EnergyTypeService=more)
                mix |= more.result()
        return consumption, mix

    def _consumption(
        self,
        user_id: int,
        query: DeclarationQuery,
        exact: set[str],
        go_on: Callable[[], bool],
    ) -> Consumption:
        return self.user_tokens.with_user_token(
            user_id,
            lambda token: read_consumption(
                self.datahub,
                token,
                query.gsrns,
                query.begin,
                query.end,
                go_on,
                exact=exact,
            ),
        )


def _span(consumption: Consumption) -> tuple[datetime, datetime] | None:
    """Return the first and the last measured begin."""
    ends = [time for each in consumption.values() for time in (min(each.begins), max(each.begins))]
    if not ends:
        return None
    return datetime.fromtimestamp(min(ends), UTC), datetime.fromtimestamp(max(ends), UTC)


class _Calls:
    """Concurrent calls to peers. If one fails or takes too long, the others are abandoned."""

    def __init__(self) -> None:
        self._pool = ContextThreadPool(2)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # A call that still waits for its peer ends by that peer's time limit. Nobody reads its result.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def go_on(self) -> bool:
        """Return whether the results are still wanted."""
        return not self._over.is_set()

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Start a call."""
        return self._pool.submit(call)

    def wait(self, **calls: Future[Any]) -> None:
        """Wait for these calls, named by their peers.

        :raises PeerUnavailable: a call takes longer than `PATIENCE_S`.
        :raises Exception: what the first failing call raises.
        """
        done, waiting = wait(calls.values(), PATIENCE_S, FIRST_EXCEPTION)
        for each in done:
            each.result()
        for peer, each in calls.items():
            if each in waiting:
                raise PeerUnavailable(peer, f"not done after {PATIENCE_S:.0f} s")


def _log(user_id: int, hours: HourlyDeclarations) -> None:
    if hours.left_out:
        log.warning(
            "Declaration of user %s: %s hours left out, as they have no residual mix; the first is %s",
            user_id,
            len(hours.left_out),
            datetime.fromtimestamp(hours.left_out[0], UTC).isoformat(),
        )
    if hours.exceeded:
        gsrn, begin = hours.exceeded[0]
        log.warning(
            "Declaration of user %s: %s measurements have more retired to them than they measure "
            "now; the first is that of %s at %s",
            user_id,
            len(hours.exceeded),
            gsrn,
            datetime.fromtimestamp(begin, UTC).isoformat(),
        )
