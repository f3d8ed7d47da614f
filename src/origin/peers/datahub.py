"""DataHubService: metering points, measurements, technologies (contract: peers, DataHubService).

Every call but `technologies` carries a user's access token; go through
`origin.identity.service.tokens.with_user_token`, which renews a spent one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import orjson
from msgspec import Meta

from origin.errors import PeerMisbehaved, PeerUnauthorized, PeerUnavailable
from origin.peers.http import CONNECT_TIMEOUT_S, PeerClient, PeerResponse
from origin.peers.prefetch import prefetch
from origin.peers.recent_timeouts import RecentTimeouts
from origin.shared.limits import MAX_WH

MEASUREMENTS_PER_PAGE = 1000
"""DataHub derives a key for each, in 2.7 ms of one worker's time, in which others wait for it."""
ROWS_WITHIN_S = 60.0
"""How long an answer with a page of rows may take, of a DataHub that serves others first."""

_PEER = "DataHubService"
_WITH_ROWS = {"/measurements", "/measurements/summary", "/ggo"}
# Where msgspec's sentences tell what they are about: a missing field, else the path to a value.
_PLACE = re.compile(r"required field `(\w+)`|`\$\.(.+)`$")

# PostgreSQL stores no NUL.
Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[^\0]*\Z")]
Wh = Annotated[int, Meta(ge=0, le=MAX_WH)]
GramsPerWh = Annotated[float, Meta(ge=-1e12, le=1e12)]
MeteringPointType = Literal["production", "consumption"]
WebhookEvent = Literal["on-meteringpoint-available", "on-ggo-issued"]
T = TypeVar("T")


class DataHubMeteringPoint(msgspec.Struct, frozen=True):
    """A meter as DataHub knows it, as far as it matters here."""

    gsrn: Text
    type: MeteringPointType
    sector: Text


class DataHubMeasurement(msgspec.Struct, frozen=True):
    """What a meter measured in one period `[begin, end)`; times in UTC, `amount` in Wh."""

    address: Text
    gsrn: Text
    begin: datetime
    end: datetime
    type: MeteringPointType
    sector: Text
    amount: Wh


class DataHubTechnology(msgspec.Struct, frozen=True):
    """The label of a pair of technology and fuel code; in the fields' names of the wire."""

    technology: Text
    technologyCode: Text  # noqa: N815 - the wire's
    fuelCode: Text  # noqa: N815 - the wire's


class _TechnologiesResponse(msgspec.Struct):
    technologies: list[DataHubTechnology]


class DataHubGgo(msgspec.Struct, frozen=True):
    """A GGO as it was issued; in the fields' names of the wire. Times in UTC, Wh, g/Wh."""

    address: Text
    gsrn: Text
    begin: datetime
    end: datetime
    sector: Text
    amount: Wh
    issueTime: datetime  # noqa: N815 - the wire's
    expireTime: datetime  # noqa: N815 - the wire's
    technologyCode: Text | None = None  # noqa: N815 - the wire's
    fuelCode: Text | None = None  # noqa: N815 - the wire's
    emissions: dict[Text, GramsPerWh] | None = None


@dataclass(frozen=True)
class ParsedRows(Generic[T]):
    """A list as far as its rows are of the documented shape."""

    valid: list[T]
    invalid: list[str]
    """What is wrong with each of the others; no value of theirs is quoted."""


class MeasurementRow(msgspec.Struct, gc=False):
    """Of a measurement what a declaration needs, as it came: there are hundreds of thousands.

    In the contract's order, in which they are read most quickly.
    """

    gsrn: str
    begin: str
    """ISO 8601."""
    type: str
    sector: str
    amount: int | float
    """Wh."""


class MeasurementRowWithEnd(MeasurementRow):
    """A reading with its end."""

    end: str
    """ISO 8601."""


class _MeasurementPage(msgspec.Struct):
    total: int | float
    measurements: list[MeasurementRow]
    success: bool = False


class MeasurementCount(msgspec.Struct):
    """How many measurements there are, and one of them, if any."""

    total: int | float
    measurements: list[MeasurementRowWithEnd]
    success: bool = False


class SummaryGroup(msgspec.Struct):
    """What one group has at each label; None where it has nothing."""

    group: list[str]
    values: list[int | float | None]


class MeasurementSummary(msgspec.Struct):
    """Sums of measurements by label: the begin of a period, in UTC, as `2020-01-01 13:00`."""

    labels: list[str]
    groups: list[SummaryGroup]
    success: bool = False


A = TypeVar("A", _MeasurementPage, MeasurementCount, MeasurementSummary)

_page = msgspec.json.Decoder(_MeasurementPage)
_counted = msgspec.json.Decoder(MeasurementCount)
_summary = msgspec.json.Decoder(MeasurementSummary)


def _read(decoder: msgspec.json.Decoder[A], raw: bytes, path: str) -> A:
    try:
        answer = decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # Not chained: the cause may quote the answer.
        reason = f"{path}: unexpected answer ({type(error).__name__})"
        raise PeerMisbehaved(_PEER, reason) from None
    if not answer.success:
        raise PeerMisbehaved(_PEER, f"{path} answered without success")
    return answer


def _filters(
    gsrn: Sequence[str], begin: datetime, end: datetime, kind: MeteringPointType | None
) -> dict[str, Any]:
    begins = {
        name: time.astimezone(UTC).isoformat() for name, time in (("begin", begin), ("end", end))
    }
    filters: dict[str, Any] = {"gsrn": list(gsrn), "beginRange": begins}
    return filters if kind is None else filters | {"type": kind}


class DataHubClient:
    """Calls to DataHubService.

    All raise PeerUnauthorized for a spent token (401), PeerUnavailable for no answer or a 5xx,
    PeerMisbehaved for anything that isn't documented.

    :param base_url: Without a trailing slash.
    """

    def __init__(self, base_url: str, *, tls_verify: bool) -> None:
        self._http = PeerClient(_PEER, tls_verify=tls_verify)
        self._slow = PeerClient(_PEER, tls_verify=tls_verify, response_timeout_s=ROWS_WITHIN_S)
        self._recent_timeouts = RecentTimeouts()
        self._base_url = base_url

    def metering_points(self, token: str) -> ParsedRows[DataHubMeteringPoint]:
        """All metering points of the token's user."""
        path = "/meteringpoints"
        answer = self._successful(path, None, token)
        return _rows(DataHubMeteringPoint, answer.get("meteringpoints"), path)

    def ggos(self, token: str, gsrn: str, begin: datetime, end: datetime) -> ParsedRows[DataHubGgo]:
        """What was issued to this point and begins in the range, both ends included."""
        path = "/ggo"
        begins = {"begin": begin.isoformat(), "end": end.isoformat()}
        answer = self._successful(path, {"gsrn": gsrn, "beginRange": begins}, token)
        return _rows(DataHubGgo, answer.get("ggos"), path)

    def set_key(self, token: str, gsrn: str, key: str) -> None:
        """Hand over a metering point's extended private key, in Base58."""
        self._successful("/meteringpoints/set-key", {"gsrn": gsrn, "key": key}, token)

    def consumed_measurement(
        self, token: str, gsrn: str, begin: datetime
    ) -> DataHubMeasurement | None:
        """What a consumption point measured in the period that begins then; None: not published."""
        path = "/measurements/consumed"
        answer = self._call(path, {"gsrn": gsrn, "begin": begin.isoformat()}, token)
        success, found = answer.get("success"), answer.get("measurement")
        if success is False and found is None:
            return None
        if success is not True:
            raise PeerMisbehaved(_PEER, f"{path}: unexpected success")
        return _parsed(DataHubMeasurement, found, path)

    def any_measurement(self, token: str, gsrn: str) -> DataHubMeasurement | None:
        """One measurement of this point that has an address; None: it has no such yet."""
        path = "/measurements"
        body = {"filters": {"gsrn": [gsrn]}, "offset": 0, "limit": 1}
        answer = self._successful(path, body, token)
        found = answer.get("measurements")
        if not isinstance(found, list) or (not found and answer.get("total") != 0):
            raise PeerMisbehaved(_PEER, f"{path}: unexpected answer")
        # Without the point's key DataHub knows no address, and says so.
        if not found or (isinstance(found[0], dict) and found[0].get("address", "?") in ("", None)):
            return None
        return _parsed(DataHubMeasurement, found[0], path)

    def measurement_pages(
        self,
        token: str,
        *,
        gsrn: Sequence[str],
        begin: datetime,
        end: datetime,
        kind: MeteringPointType | None = None,
    ) -> Iterator[list[MeasurementRow]]:
        """Measurements of these points that begin in the range, both ends included.

        Fetched page by page, one ahead of what is read.
        """
        path = "/measurements"
        filters = _filters(gsrn, begin, end, kind)

        def fetch(offset: int) -> tuple[list[MeasurementRow], int | None]:
            body = {"filters": filters, "offset": offset, "limit": MEASUREMENTS_PER_PAGE}
            answer = _read(_page, self._raw(path, body, token), path)
            following = offset + len(answer.measurements)
            if following > answer.total:
                raise PeerMisbehaved(_PEER, f"{path}: {following} of {answer.total}")
            if following == answer.total:
                return answer.measurements, None
            if not answer.measurements:
                reason = f"{path}: {offset} of {answer.total}, then no more"
                raise PeerMisbehaved(_PEER, reason)
            return answer.measurements, following

        return prefetch(fetch, 0)

    def count_measurements(
        self,
        token: str,
        *,
        gsrn: str,
        begin: datetime,
        end: datetime,
        kind: MeteringPointType,
    ) -> MeasurementCount:
        """How many measurements of this point begin in the range, and one of them.

        DataHub derives one key for it.
        """
        path = "/measurements"
        body = {"filters": _filters([gsrn], begin, end, kind), "offset": 0, "limit": 1}
        return _read(_counted, self._raw(path, body, token), path)

    def summary(
        self,
        token: str,
        resolution: Literal["month", "hour"],
        *,
        gsrn: Sequence[str],
        begin: datetime,
        end: datetime,
        kind: MeteringPointType,
    ) -> MeasurementSummary:
        """Sums by point of the measurements that begin in the range, both ends included.

        DataHub derives no key for it. Labels at which no point has anything are left out. Periods
        that are shorter than the resolution can't be told apart.
        """
        path = "/measurements/summary"
        body = {
            "filters": _filters(gsrn, begin, end, kind),
            "resolution": resolution,
            "utcOffset": 0,
            "grouping": ["gsrn"],
            # With it the end of the range would be left out.
            "fill": False,
        }
        answer = _read(_summary, self._raw(path, body, token), path)
        if any(len(each.values) != len(answer.labels) for each in answer.groups):
            raise PeerMisbehaved(_PEER, f"{path}: unexpected number of values")
        return answer

    def technologies(self) -> list[DataHubTechnology]:
        """All technologies; needs no token."""
        path = "/technologies"
        return _parsed(_TechnologiesResponse, self._successful(path, None, None), path).technologies

    def subscribe(
        self,
        token: str,
        event: WebhookEvent,
        *,
        url: str,
        secret: str,
    ) -> None:
        """Have DataHub post this event of the token's user to `url`, signed with `secret`."""
        self._successful(f"/webhook/{event}/subscribe", {"url": url, "secret": secret}, token)

    def unsubscribe(self, token: str, event: WebhookEvent, *, url: str, secret: str) -> bool:
        """End all subscriptions of the token's user that were made with these words.

        :returns: False where DataHub knows none.
        """
        path, body = f"/webhook/{event}/unsubscribe", {"url": url, "secret": secret}
        success = self._call(path, body, token).get("success")
        if not isinstance(success, bool):
            raise PeerMisbehaved(_PEER, f"{path}: unexpected success")
        return success

    def _successful(self, path: str, body: Any, token: str | None) -> dict[str, Any]:
        answer = self._call(path, body, token)
        if answer.get("success") is not True:
            raise PeerMisbehaved(_PEER, f"{path} answered without success")
        return answer

    def _call(self, path: str, body: Any, token: str | None) -> dict[str, Any]:
        return self._http.json_object(self._response(path, body, token))

    def _raw(self, path: str, body: Any, token: str) -> bytes:
        return self._response(path, body, token).content

    def _response(self, path: str, body: Any, token: str | None) -> PeerResponse:
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = self._base_url + path
        if body is None:
            response = self._http.request("POST", url, headers=headers)
        elif path in _WITH_ROWS:
            response = self._slowly(path, orjson.dumps(body), headers)
        else:
            response = self._http.post_json(url, body, headers)
        status = response.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            raise PeerUnauthorized(_PEER, f"{path} answered 401")
        if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise PeerUnavailable(_PEER, f"{path} answered {status}")
        if status != HTTPStatus.OK:
            raise PeerMisbehaved(_PEER, f"{path} answered {status}")
        return response

    def _slowly(self, path: str, body: bytes, headers: dict[str, str]) -> PeerResponse:
        """A call whose answer takes DataHub long."""
        with self._recent_timeouts.guard(_PEER, path, body):
            return self._slow.request(
                "POST",
                self._base_url + path,
                headers={"Content-Type": "application/json", **headers},
                body=body,
                timeout=(CONNECT_TIMEOUT_S, ROWS_WITHIN_S),
            )


def _rows(shape: type[T], value: Any, path: str) -> ParsedRows[T]:
    """Each row by itself, so that an odd one keeps no other from being read."""
    if not isinstance(value, list):
        raise PeerMisbehaved(_PEER, f"{path}: unexpected answer")
    valid, invalid = [], []
    for number, row in enumerate(value):
        try:
            valid.append(_parsed(shape, row, path))
        except PeerMisbehaved as error:
            invalid.append(f"row {number}: {error.reason}")
    return ParsedRows(valid, invalid)


def _parsed(shape: type[T], value: Any, path: str) -> T:
    """This part of an answer, of which fields that aren't known are left out.

    :raises PeerMisbehaved: naming the field that isn't as documented.
    """
    try:
        return msgspec.convert(_with_times(shape, value), shape)
    except msgspec.ValidationError as error:
        # The place alone, and not chained: the cause may quote the answer.
        place = _PLACE.search(str(error))
        where = next(filter(None, place.groups())) if place else "answer"
        raise PeerMisbehaved(_PEER, f"{path}: unexpected {where}") from None


def _with_times(shape: type, value: Any) -> Any:
    """Read the times, in more forms of ISO 8601 than msgspec knows; without an offset they are UTC."""
    if not isinstance(value, dict):
        return value
    texts = {
        name: value[name]
        for name, kind in shape.__annotations__.items()
        if kind is datetime and isinstance(value.get(name), str)
    }
    return value | {name: _time(name, text) for name, text in texts.items()}


def _time(name: str, text: str) -> datetime:
    try:
        # RFC 3339 lets the Z be small.
        time = datetime.fromisoformat(text.replace("z", "Z"))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise msgspec.ValidationError(f"Not a time - at `$.{name}`") from None
