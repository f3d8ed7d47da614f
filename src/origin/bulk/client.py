"""Reads from DataHub what a bulk retirement can retire to, by range and page (contract: peers.md)."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from origin.declarations.client.consumption import (
    ConsumptionReader,
    amount_of,
    raising_peer_misbehaved,
)
from origin.peers.datahub import DataHubClient, MeasurementRowWithEnd

_HOUR = timedelta(hours=1)
_LAST = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PublishedMeasurement:
    """A consumption as DataHub published it; times in UTC.

    :ivar amount: Wh.
    :ivar address: On the ledger; empty as long as DataHub does not have the metering point's key. None: not
        read, as for most hours of a point that is measured hourly.
    """

    gsrn: str
    begin: datetime
    end: datetime
    sector: str
    amount: int
    address: str | None


def read_measurements(
    datahub: DataHubClient,
    token: str,
    gsrns: Collection[str],
    begin: datetime,
    end: datetime,
    before_paging: Callable[[int], None],
) -> list[PublishedMeasurement]:
    """Return the measurements of these consumption points that begin in the period.

    Of points that are measured hourly, sums by hour are read, which cost DataHub little. All others are
    read page by page.

    :param before_paging: Called with the number of measurements that are to be read page by page. It may
        raise an error to prevent that.
    :raises PeerError: As DataHubClient.
    """
    if not gsrns or begin >= end:
        return []
    reader = ConsumptionReader(datahub, token, begin, end - _LAST)
    found: list[PublishedMeasurement] = []
    paged = sorted(gsrns)
    if not reader.are_few(paged):
        hourly, others = reader.hourly(paged)
        for (gsrn, sector), measured in hourly.items():
            sample = reader.samples[gsrn]
            sampled = _time(sample.begin)
            for begun, amount in zip(measured.begins, measured.amounts, strict=True):
                at = datetime.fromtimestamp(begun, UTC)
                address = sample.address if at == sampled else None
                found.append(PublishedMeasurement(gsrn, at, at + _HOUR, sector, amount, address))
        before_paging(sum(others.values()))
        paged = list(others)
    if paged:
        found += _paged(datahub, token, paged, begin, end)
    return found


def _paged(
    datahub: DataHubClient, token: str, gsrns: Collection[str], begin: datetime, end: datetime
) -> Iterator[PublishedMeasurement]:
    """Yield measurements that are read page by page; one that moved to a later page once."""
    wanted = set(gsrns)
    seen: set[tuple[str, str]] = set()
    pages = datahub.full_measurement_pages(
        token, gsrn=sorted(wanted), begin=begin, end=end - _LAST, kind="consumption"
    )
    for page in pages:
        for row in page:
            place = row.gsrn, row.begin
            if row.gsrn not in wanted or row.type != "consumption" or place in seen:
                continue
            seen.add(place)
            with raising_peer_misbehaved("/measurements"):
                measurement = _published(row)
            if begin <= measurement.begin < end:
                yield measurement


def _published(row: MeasurementRowWithEnd) -> PublishedMeasurement:
    return PublishedMeasurement(
        row.gsrn, _time(row.begin), _time(row.end), row.sector, amount_of(row.amount), row.address
    )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
