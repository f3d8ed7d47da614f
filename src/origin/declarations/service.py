"""Environment declarations of an account's consumption (contract: domain, Declarations)."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from origin.db.engine import Database
from origin.declarations.client.consumption import read_consumption
from origin.declarations.client.energytypes import EnergyTypeClient
from origin.declarations.queries import consumption_sectors, retired_to
from origin.declarations.rules.consumption import Consumption
from origin.declarations.rules.declarations import (
    Answer,
    Declarations,
    Question,
    ResidualMix,
    by_resolution,
    declare,
)
from origin.errors import MeteringPointUnavailable, PeerUnavailable
from origin.identity.service.tokens import UserTokens
from origin.peers.datahub import DataHubClient
from origin.shared.off_the_loop import off_the_loop

PATIENCE_S = 300.0
"""For both peers, however many pages they have: a year of quarters of an hour takes DataHub 95 s."""
SIDE_BY_SIDE = timedelta(days=800)
"""Of a longer range, which usually means "everything", only the hours measured are asked about."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeclarationService:
    """Answers environment declarations."""

    database: Database
    energy_types: EnergyTypeClient
    datahub: DataHubClient
    user_tokens: UserTokens

    def answer(self, user_id: int, question: Question) -> Answer:
        """Declare what this user's metering points consumed.

        :raises MeteringPointUnavailable: Some are not the user's, or do not consume.
        :raises PeerError: DataHub or EnergyTypeService can't tell now.
        :raises TokensSpent: DataHub takes the user's tokens no more.
        """
        with self.database.reading() as session:
            sectors = consumption_sectors(session, user_id, question.gsrns)
        unavailable = [gsrn for gsrn in dict.fromkeys(question.gsrns) if gsrn not in sectors]
        if unavailable:
            raise MeteringPointUnavailable(unavailable)
        with self.database.reading() as session:
            retired = list(retired_to(session, user_id, sectors, question.begin, question.end))
        consumption, mix = self._ask_peers(
            user_id, question, set(sectors.values()), {gsrn for gsrn, *_ in retired}
        )
        known = set(sectors.values()) | {sector for _, sector in consumption}

        def compute() -> Answer:
            return by_resolution(question, declare(consumption, retired, mix, known))

        found = off_the_loop(compute)
        _log(user_id, found.by_hour)
        return found

    def _ask_peers(
        self, user_id: int, question: Question, sectors: set[str], exact: set[str]
    ) -> tuple[Consumption, ResidualMix]:
        """The consumption, and the mix of at least its hours and sectors.

        :param exact: The points of which each period must be told, as something is retired to them.
        """
        with _Calls() as calls:
            consuming = calls.start(
                lambda: self._consumption(user_id, question, exact, calls.go_on)
            )
            if question.end - question.begin <= SIDE_BY_SIDE:
                mixing = calls.start(
                    lambda: self.energy_types.residual_mix(
                        sectors, question.begin, question.end, calls.go_on
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
        question: Question,
        exact: set[str],
        go_on: Callable[[], bool],
    ) -> Consumption:
        return self.user_tokens.with_user_token(
            user_id,
            lambda token: read_consumption(
                self.datahub,
                token,
                question.gsrns,
                question.begin,
                question.end,
                go_on,
                exact=exact,
            ),
        )


def _span(consumption: Consumption) -> tuple[datetime, datetime] | None:
    """The first and last begin that is measured."""
    ends = [time for each in consumption.values() for time in (min(each.begins), max(each.begins))]
    if not ends:
        return None
    return datetime.fromtimestamp(min(ends), UTC), datetime.fromtimestamp(max(ends), UTC)


class _Calls:
    """Calls to peers, side by side; when one fails or time is up, the others are given up."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # What still waits for a peer ends by that peer's time limit, unheard.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def go_on(self) -> bool:
        """Tell whether anybody still waits for the calls."""
        return not self._over.is_set()

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Begin a call."""
        return self._pool.submit(call)

    def wait(self, **calls: Future[Any]) -> None:
        """Wait for all of these, by the names of their peers.

        :raises PeerUnavailable: they take too long. Else what the first of them to fail raises.
        """
        done, waiting = wait(calls.values(), PATIENCE_S, FIRST_EXCEPTION)
        for each in done:
            each.result()
        for peer, each in calls.items():
            if each in waiting:
                raise PeerUnavailable(peer, f"not done after {PATIENCE_S:.0f} s")


def _log(user_id: int, hours: Declarations) -> None:
    if hours.left_out:
        log.warning(
            "Declaration of user %s: %s hours left out, as there is no residual mix; the first: %s",
            user_id,
            len(hours.left_out),
            datetime.fromtimestamp(hours.left_out[0], UTC).isoformat(),
        )
    if hours.exceeded:
        gsrn, begin = hours.exceeded[0]
        log.warning(
            "Declaration of user %s: %s measurements have more retired to them than they measure "
            "now; the first: %s at %s",
            user_id,
            len(hours.exceeded),
            gsrn,
            datetime.fromtimestamp(begin, UTC).isoformat(),
        )
