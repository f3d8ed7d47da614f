"""DataHub's data in memory: metering points, keys, measurements, GGOs, subscriptions."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.addresses import Kind
from sandbox.datahub.derivation import KeyProblemError, addresses_at, require_private_key
from sandbox.datahub.wire import Filters, Ggo, Measurement, MeteringPoint, Range
from sandbox.web import RefusalError

Period = tuple[str, datetime]
"""A metering point's GSRN and the begin of a period."""


class Bulk(NamedTuple):
    """A measurement of a long series. Its address is derived when read, as in the real DataHub."""

    begin: datetime
    end: datetime
    amount: int


Row = Measurement | Bulk


@dataclass
class Point:
    """A metering point with its owner. `key` is its extended private key, None until it is set."""

    sub: str
    shown: MeteringPoint
    key: str | None = None
    key_calls: list[dict[str, str]] = field(default_factory=list)


class Subscribed(NamedTuple):
    """One subscription. Several may be equal: each gets every event."""

    sub: str
    event: str
    url: str
    secret: str


class Store:
    """All data. Thread-safe; `changed` is notified of new keys and subscriptions."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._clear()

    def _clear(self) -> None:
        self._points: dict[str, Point] = {}
        self._measurements: dict[str, dict[datetime, Row]] = {}
        self._ggos: dict[Period, Ggo] = {}
        self._subscriptions: list[Subscribed] = []

    def reset(self) -> None:
        """Forget everything."""
        with self.changed:
            self._clear()
            self.changed.notify_all()

    def add_point(self, sub: str, shown: MeteringPoint) -> None:
        """Add or update a metering point; RefusalError 409 if it belongs to another user."""
        with self.changed:
            known = self._points.get(shown.gsrn)
            if known is not None and known.sub != sub:
                raise RefusalError(409, f"Metering point {shown.gsrn} is another user's")
            if known is None:
                self._points[shown.gsrn] = Point(sub, shown)
            else:
                known.shown = shown

    def point(self, gsrn: str, sub: str | None = None) -> Point:
        """Return a metering point; RefusalError 400 if it is unknown or not `sub`'s."""
        with self.changed:
            point = self._points.get(gsrn)
            if point is None or sub not in (None, point.sub):
                raise RefusalError(400, f"No metering point {gsrn}")
            return point

    def points_of(self, sub: str) -> list[MeteringPoint]:
        """Return a user's metering points in the order of their GSRNs."""
        with self.changed:
            mine = [point.shown for point in self._points.values() if point.sub == sub]
        return sorted(mine, key=lambda shown: shown.gsrn)

    def set_key(self, gsrn: str, sub: str, key: str) -> None:
        """Set a metering point's key.

        RefusalError 400 if the key is malformed, or differs from one that measurements use already.
        """
        with self.changed:
            point = self.point(gsrn, sub)
            point.key_calls.append({"at": datetime.now(UTC).isoformat(), "key": key})
            try:
                require_private_key(key)
            except KeyProblemError as error:
                raise RefusalError(400, f"key: {error}") from error
            if point.key not in (None, key) and self._used(gsrn):
                raise RefusalError(400, f"Metering point {gsrn} has another key already")
            point.key = key
            self.changed.notify_all()

    def _used(self, gsrn: str) -> bool:
        return bool(self._measurements.get(gsrn))

    def keys(self) -> list[dict[str, Any]]:
        """Return each metering point's key and every call that set one."""
        with self.changed:
            return [
                {"gsrn": gsrn, "sub": point.sub, "key": point.key, "calls": list(point.key_calls)}
                for gsrn, point in self._points.items()
            ]

    def have_keys(self, gsrns: list[str]) -> bool:
        """Return whether these metering points (none given: all) have keys."""
        with self.changed:
            wanted = gsrns or list(self._points)
            return all(gsrn in self._points and self._points[gsrn].key for gsrn in wanted)

    def put(self, measurements: list[Measurement], ggos: list[Ggo]) -> None:
        """Add or correct measurements, and add GGOs, all at once."""
        with self.changed:
            for one in measurements:
                self._measurements.setdefault(one.gsrn, {})[one.begin] = one
            self._ggos.update({(one.gsrn, one.begin): one for one in ggos})

    def put_series(self, gsrn: str, series: Iterable[Bulk]) -> None:
        """Add a long series of measurements to a metering point."""
        with self.changed:
            self._measurements.setdefault(gsrn, {}).update({one.begin: one for one in series})

    def measurement(self, gsrn: str, begin: datetime) -> Measurement | None:
        """Return the measurement of a period, or None."""
        with self.changed:
            row = self._measurements.get(gsrn, {}).get(begin)
            return None if row is None else self.shown(gsrn, row)

    def shown(self, gsrn: str, row: Row) -> Measurement:
        """Return a measurement as it goes over the wire."""
        if isinstance(row, Measurement):
            return row
        point = self.point(gsrn)
        return Measurement(
            address=""
            if point.key is None
            else addresses_at(point.key, row.begin)[Kind.MEASUREMENT],
            gsrn=gsrn,
            begin=row.begin,
            end=row.end,
            type=point.shown.type,
            sector=point.shown.sector,
            amount=row.amount,
        )

    def ggo(self, gsrn: str, begin: datetime) -> Ggo | None:
        """Return the GGO issued for a period, or None."""
        with self.changed:
            return self._ggos.get((gsrn, begin))

    def rows_of(self, sub: str, filters: Filters) -> list[tuple[str, Row]]:
        """Return a user's measurements that match, each with its GSRN, by begin and GSRN."""
        with self.changed:
            found = [
                (gsrn, row)
                for gsrn, point in self._points.items()
                if point.sub == sub and (not filters.gsrn or gsrn in filters.gsrn)
                for row in _matching(point.shown, self._measurements.get(gsrn, {}), filters)
            ]
        return sorted(found, key=lambda one: (one[1].begin, one[0]))

    def ggos_of(self, gsrn: str, begins: Range) -> list[Ggo]:
        """Return the GGOs issued to a metering point in a range, by begin."""
        with self.changed:
            found = [
                one
                for one in self._ggos.values()
                if one.gsrn == gsrn and begins.begin <= one.begin <= begins.end
            ]
        return sorted(found, key=lambda one: one.begin)

    def subscribe(self, sub: str, event: str, url: str, secret: str) -> None:
        """Add a subscription; equal ones add up."""
        with self.changed:
            self._subscriptions.append(Subscribed(sub, event, url, secret))
            self.changed.notify_all()

    def unsubscribe(self, sub: str, event: str, url: str, secret: str) -> bool:
        """Remove all subscriptions equal to this one; return whether there were any."""
        with self.changed:
            gone = Subscribed(sub, event, url, secret)
            kept = [one for one in self._subscriptions if one != gone]
            was_there = len(kept) < len(self._subscriptions)
            self._subscriptions = kept
            self.changed.notify_all()
            return was_there

    def subscribers(self, sub: str, event: str) -> Sequence[tuple[str, str]]:
        """Return URL and secret of each subscription to a user's events."""
        with self.changed:
            return [
                (one.url, one.secret)
                for one in self._subscriptions
                if (one.sub, one.event) == (sub, event)
            ]

    def subscriptions(self) -> list[dict[str, str]]:
        """Return all subscriptions, without their secrets."""
        with self.changed:
            return [
                {"sub": one.sub, "event": one.event, "url": one.url} for one in self._subscriptions
            ]


def _matching(point: MeteringPoint, rows: dict[datetime, Row], filters: Filters) -> Iterator[Row]:
    sectors = [filters.sector] if isinstance(filters.sector, str) else filters.sector
    begins = filters.beginRange
    for begin, row in rows.items():
        of = row if isinstance(row, Measurement) else point
        if (
            filters.begin in (None, begin)
            and (begins is None or begins.begin <= begin <= begins.end)
            and (not sectors or of.sector in sectors)
            and filters.type in (None, of.type)
        ):
            yield row
