"""Client of EnergyTypeService, which knows the residual mix (contract: peers.md, EnergyTypeService)."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http import HTTPStatus

from origin.declarations.client.residual_mix import ResidualMixReader, UnreadableMix
from origin.declarations.rules.consumption import HOUR_S, hour_of, unix_s
from origin.declarations.rules.declarations import ResidualMix
from origin.errors import PeerMisbehaved, PeerUnavailable
from origin.peers.http import PeerClient
from origin.peers.prefetch import prefetch

HOURS_PER_CALL = 31 * 24
"""A year in one answer could be a hundred megabytes."""

_PEER = "EnergyTypeService"
_PATH = "/residual-mix"


class EnergyTypeClient:
    """Calls EnergyTypeService.

    :param base_url: Without a trailing slash.
    """

    def __init__(self, base_url: str, *, tls_verify: bool) -> None:
        self._http = PeerClient(_PEER, tls_verify=tls_verify)
        self._url = base_url + _PATH

    def residual_mix(
        self,
        sectors: Iterable[str],
        begin: datetime,
        end: datetime,
        go_on: Callable[[], bool] = lambda: True,
    ) -> ResidualMix:
        """Return the mix of these sectors in every hour of the range, both ends included.

        Hours and sectors without a mix are missing. The mix is fetched in parts; while one is read, the
        next one is fetched.

        :param go_on: Called before the first part and after each. If it returns False, the result so
            far is returned.
        :raises PeerUnavailable: no answer, 429 or a 5xx.
        :raises PeerMisbehaved: the answer isn't as documented.
        """
        wanted = sorted(set(sectors))
        reader = ResidualMixReader(wanted)
        # EnergyTypeService excludes `begin_to`.
        past_end = hour_of(unix_s(end)) + HOUR_S

        def fetch(start: int) -> tuple[tuple[int, int, bytes], int | None]:
            stop = min(start + HOURS_PER_CALL * HOUR_S, past_end)
            query = [("sector", sector) for sector in wanted]
            query += [("begin_from", _iso(start)), ("begin_to", _iso(stop))]
            return (start, stop, self._ask(query)), stop if stop < past_end else None

        if not wanted or not go_on():
            return reader.mix
        for start, stop, raw in prefetch(fetch, hour_of(unix_s(begin))):
            try:
                reader.add(raw, start, stop)
            except UnreadableMix as error:
                raise PeerMisbehaved(_PEER, f"{_PATH}: unexpected answer ({error})") from None
            if not go_on():
                break
        return reader.mix

    def _ask(self, query: list[tuple[str, str]]) -> bytes:
        response = self._http.request(
            "GET", self._url, params=query, headers={"Accept": "application/json"}
        )
        status = response.status_code
        if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise PeerUnavailable(_PEER, f"{_PATH} answered {status}")
        if status != HTTPStatus.OK:
            raise PeerMisbehaved(_PEER, f"{_PATH} answered {status}")
        return response.content


def _iso(unix_time: int) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat()
