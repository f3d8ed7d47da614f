"""DataHubService: metering points, measurements, technologies (contract: peers, DataHubService).

All calls except `technologies` need a user's access token. Make them through
`UserTokens.with_user_token` (`origin.identity.service.tokens`), which renews an expired token.
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
"""DataHub derives a key for each measurement. That takes 2.7 ms, and blocks its other callers."""
ROWS_WITHIN_S = 60.0
"""Seconds for a response with a page of rows; DataHub may serve other callers first."""

_PEER = "DataHubService"
_WITH_ROWS = {"/measurements", "/measurements/summary", "/ggo"}
# Finds in msgspec's message the name of a missing field, or the path to a wrong value.
_PLACE = re.compile(r"required field `(\w+)`|`\$\.(.+)`$")

# PostgreSQL stores no NUL.
Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[^\0]*\Z")]
Wh = Annotated[int, Meta(ge=0, le=MAX_WH)]
GramsPerWh = Annotated[float, Meta(ge=-1e12, le=1e12)]
MeteringPointType = Literal["production", "consumption"]
WebhookEvent = Literal["on-meteringpoint-available", "on-ggo-issued"]
T = TypeVar("T")


class DataHubMeteringPoint(msgspec.Struct, frozen=True):
    """A metering point in DataHub; fields that the service does not use are left out."""

    gsrn: Text
    type: MeteringPointType
    sector: Text


class DataHubMeasurement(msgspec.Struct, frozen=True):
    """A measurement of one period `[begin, end)`; times in UTC, `amount` in Wh."""

    address: Text
    gsrn: Text
    begin: datetime
    end: datetime
    type: MeteringPointType
    sector: Text
    amount: Wh


class DataHubTechnology(msgspec.Struct, frozen=True):
    """The label of a pair of technology and fuel code. Field names are those on the wire."""

    technology: Text
    technologyCode: Text  # noqa: N815 - the wire's
    fuelCode: Text  # noqa: N815 - the wire's


class _TechnologiesResponse(msgspec.Struct):
    technologies: list[DataHubTechnology]


class DataHubGgo(msgspec.Struct, frozen=True):
    """An issued GGO. Field names are those on the wire; times in UTC, Wh, g/Wh."""

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
    """The rows of a list, parsed one by one."""

    valid: list[T]
    invalid: list[str]
    """What is wrong with each row that does not have the documented shape; quotes no value."""


class MeasurementRow(msgspec.Struct, gc=False):
    """The fields of a measurement that a declaration needs, unconverted: it reads 100,000s of them.

    The fields stand in the contract's order, which msgspec decodes fastest.
    """

    gsrn: str
    begin: str
    """ISO 8601."""
    type: str
    sector: str
    amount: int | float
    """Wh."""


class MeasurementRowWithEnd(MeasurementRow):
    """A measurement row with the end of its period, and its address."""

    end: str
    """ISO 8601."""
    address: str = ""
    """On the ledger; empty as long as DataHub does not have the metering point's key."""


class _MeasurementPage(msgspec.Struct):
    total: int | float
    measurements: list[MeasurementRow]
    success: bool = False


class _FullMeasurementPage(msgspec.Struct):
    total: int | float
    measurements: list[MeasurementRowWithEnd]
    success: bool = False


class MeasurementCount(msgspec.Struct):
    """The number of measurements, and one of them, if there is any."""

    total: int | float
    measurements: list[MeasurementRowWithEnd]
    success: bool = False


class SummaryGroup(msgspec.Struct):
    """The values of one group, one for each label; None where the group has none."""

    group: list[str]
    values: list[int | float | None]


class MeasurementSummary(msgspec.Struct):
    """Sums of measurements by label: the begin of a period, in UTC, as `2020-01-01 13:00`."""

    labels: list[str]
    groups: list[SummaryGroup]
    success: bool = False


A = TypeVar("A", _MeasurementPage, _FullMeasurementPage, MeasurementCount, MeasurementSummary)
M = TypeVar("M", _MeasurementPage, _FullMeasurementPage)

_page = msgspec.json.Decoder(_MeasurementPage)
_full_page = msgspec.json.Decoder(_FullMeasurementPage)
_counted = msgspec.json.Decoder(MeasurementCount)
_summary = msgspec.json.Decoder(MeasurementSummary)


def _read(decoder: msgspec.json.Decoder[A], raw: bytes, path: str) -> A:
    try:
        response = decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # Not chained: the cause may quote the answer.
        reason = f"{path}: unexpected answer ({type(error).__name__})"
        raise PeerMisbehaved(_PEER, reason) from None
    if not response.success:
        raise PeerMisbehaved(_PEER, f"{path} answered without success")
    return response


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

    All raise PeerUnauthorized for an expired token (401), PeerUnavailable for a missing response or
    a 5xx, and PeerMisbehaved for anything that the contract does not document.

    :param base_url: Without a trailing slash.
    """

    def __init__(self, base_url: str, *, tls_verify: bool) -> None:
        self._http = PeerClient(_PEER, tls_verify=tls_verify)
        self._slow = PeerClient(_PEER, tls_verify=tls_verify, response_timeout_s=ROWS_WITHIN_S)
        self._recent_timeouts = RecentTimeouts()
        self._base_url = base_url

    def metering_points(self, token: str) -> ParsedRows[DataHubMeteringPoint]:
        """Return all metering points of the token's user."""
        path = "/meteringpoints"
        response = self._successful(path, None, token)
        return _rows(DataHubMeteringPoint, response.get("meteringpoints"), path)

    def ggos(self, token: str, gsrn: str, begin: datetime, end: datetime) -> ParsedRows[DataHubGgo]:
        """Return the GGOs issued to this metering point whose begin is in the range, both ends included."""
        path = "/ggo"
        begins = {"begin": begin.isoformat(), "end": end.isoformat()}
        response = self._successful(path, {"gsrn": gsrn, "beginRange": begins}, token)
        return _rows(DataHubGgo, response.get("ggos"), path)

    def set_key(self, token: str, gsrn: str, key: str) -> None:
        """Send a metering point's extended private key, in Base58."""
        self._successful("/meteringpoints/set-key", {"gsrn": gsrn, "key": key}, token)

    def consumed_measurement(
        self, token: str, gsrn: str, begin: datetime
    ) -> DataHubMeasurement | None:
        """Return a consumption point's measurement of the period with this begin; None: not published."""
        path = "/measurements/consumed"
        response = self._call(path, {"gsrn": gsrn, "begin": begin.isoformat()}, token)
        success, found = response.get("success"), response.get("measurement")
        if success is False and found is None:
            return None
        if success is not True:
            raise PeerMisbehaved(_PEER, f"{path}: unexpected success")
        return _parsed(DataHubMeasurement, found, path)

    def any_measurement(self, token: str, gsrn: str) -> DataHubMeasurement | None:
        """Return any measurement of this metering point that has an address; None: there is none yet."""
        path = "/measurements"
        body = {"filters": {"gsrn": [gsrn]}, "offset": 0, "limit": 1}
        response = self._successful(path, body, token)
        found = response.get("measurements")
        if not isinstance(found, list) or (not found and response.get("total") != 0):
            raise PeerMisbehaved(_PEER, f"{path}: unexpected answer")
        # The address is empty as long as DataHub does not have the metering point's key.
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
        """Yield pages of these points' measurements whose begin is in the range, both ends included.

        The next page is prefetched while the caller works on the current one.
        """
        pages = self._all_pages(_page, token, _filters(gsrn, begin, end, kind))
        return (page.measurements for page in pages)

    def full_measurement_pages(
        self,
        token: str,
        *,
        gsrn: Sequence[str],
        begin: datetime,
        end: datetime,
        kind: MeteringPointType,
    ) -> Iterator[list[MeasurementRowWithEnd]]:
        """Do what `measurement_pages` does, with ends and addresses."""
        pages = self._all_pages(_full_page, token, _filters(gsrn, begin, end, kind))
        return (page.measurements for page in pages)

    def _all_pages(
        self, decoder: msgspec.json.Decoder[M], token: str, filters: dict[str, Any]
    ) -> Iterator[M]:
        path = "/measurements"

        def fetch(offset: int) -> tuple[M, int | None]:
            body = {"filters": filters, "offset": offset, "limit": MEASUREMENTS_PER_PAGE}
            response = _read(decoder, self._raw(path, body, token), path)
            following = offset + len(response.measurements)
            if following > response.total:
                raise PeerMisbehaved(_PEER, f"{path}: {following} of {response.total}")
            if following == response.total:
                return response, None
            if not response.measurements:
                reason = f"{path}: {offset} of {response.total}, then no more"
                raise PeerMisbehaved(_PEER, reason)
            return response, following

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
        """Return the number of this point's measurements whose begin is in the range, and one of them.

        DataHub derives only one key for this.
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
        """Return sums by metering point of measurements whose begin is in the range, ends included.

        DataHub derives no key for this. Labels without any measurement are left out. Periods that are
        shorter than the resolution are summed up.
        """
        path = "/measurements/summary"
        body = {
            "filters": _filters(gsrn, begin, end, kind),
            "resolution": resolution,
            "utcOffset": 0,
            "grouping": ["gsrn"],
            # With fill, DataHub excludes the end of the range.
            "fill": False,
        }
        response = _read(_summary, self._raw(path, body, token), path)
        if any(len(each.values) != len(response.labels) for each in response.groups):
            raise PeerMisbehaved(_PEER, f"{path}: unexpected number of values")
        return response

    def technologies(self) -> list[DataHubTechnology]:
        """Return all technologies; needs no token."""
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
        """Subscribe `url` to this event of the token's user; DataHub signs its posts with `secret`."""
        self._successful(f"/webhook/{event}/subscribe", {"url": url, "secret": secret}, token)

    def unsubscribe(self, token: str, event: WebhookEvent, *, url: str, secret: str) -> bool:
        """End all subscriptions of the token's user with this event, URL and secret.

        :returns: False if DataHub has none.
        """
        path, body = f"/webhook/{event}/unsubscribe", {"url": url, "secret": secret}
        success = self._call(path, body, token).get("success")
        if not isinstance(success, bool):
            raise PeerMisbehaved(_PEER, f"{path}: unexpected success")
        return success

    def _successful(self, path: str, body: Any, token: str | None) -> dict[str, Any]:
        response = self._call(path, body, token)
        if response.get("success") is not True:
            raise PeerMisbehaved(_PEER, f"{path} answered without success")
        return response

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
        """POST with the time limit for rows, unless an equal call timed out recently."""
        with self._recent_timeouts.guard(_PEER, path, body):
            return self._slow.request(
                "POST",
                self._base_url + path,
                headers={"Content-Type": "application/json", **headers},
                body=body,
                timeout=(CONNECT_TIMEOUT_S, ROWS_WITHIN_S),
            )


def _rows(shape: type[T], value: Any, path: str) -> ParsedRows[T]:
    """Parse each row by itself, so that an invalid row does not affect the others."""
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
    """Return this part of a response in this shape; unknown fields are ignored.

    :raises PeerMisbehaved: naming the field that differs from the contract.
    """
    try:
        return msgspec.convert(_with_times(shape, value), shape)
    except msgspec.ValidationError as error:
        # Only the place, and not chained: the cause may quote values.
        place = _PLACE.search(str(error))
        where = next(filter(None, place.groups())) if place else "answer"
        raise PeerMisbehaved(_PEER, f"{path}: unexpected {where}") from None


def _with_times(shape: type, value: Any) -> Any:
    """Convert the texts of time fields. Times without an offset are UTC.

    Reads more forms of ISO 8601 than msgspec does.
    """
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
        # RFC 3339 allows a lower-case z.
        time = datetime.fromisoformat(text.replace("z", "Z"))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise msgspec.ValidationError(f"Not a time - at `$.{name}`") from None
