"""What DataHub knows: metering points, their keys, measurements, GGOs, subscriptions."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.datahub.derivation import KeyProblemError, require_private_key
from sandbox.datahub.wire import Filters, Ggo, Measurement, MeteringPoint, Range
from sandbox.web import RefusalError

Period = tuple[str, datetime]
"""A metering point's GSRN and the begin of a period."""


@dataclass
class Point:
    """A metering point with its owner. `key` is the extended private key, once it has come."""

    sub: str
    shown: MeteringPoint
    key: str | None = None
    key_calls: list[dict[str, str]] = field(default_factory=list)


class Store:
    """Everything in memory. Safe for threads; `changed` may be waited on."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._clear()

    def _clear(self) -> None:
        self._points: dict[str, Point] = {}
        self._measurements: dict[Period, Measurement] = {}
        self._ggos: dict[Period, Ggo] = {}
        self._subscriptions: dict[tuple[str, str], dict[str, str]] = {}

    def reset(self) -> None:
        """Forget everything."""
        with self.changed:
            self._clear()
            self.changed.notify_all()

    def add_point(self, sub: str, shown: MeteringPoint) -> None:
        """Add a metering point, or correct what is shown of it; RefusalError 409 if another's."""
        with self.changed:
            known = self._points.get(shown.gsrn)
            if known is not None and known.sub != sub:
                raise RefusalError(409, f"Metering point {shown.gsrn} is another user's")
            if known is None:
                self._points[shown.gsrn] = Point(sub, shown)
            else:
                known.shown = shown

    def point(self, gsrn: str, sub: str | None = None) -> Point:
        """Return a metering point; RefusalError 400 if there is none (of this user)."""
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
        """Keep a point's key; RefusalError 400 for a bad one, or another once addresses are out."""
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
        return any(period[0] == gsrn for period in self._measurements)

    def keys(self) -> list[dict[str, Any]]:
        """Return each metering point's key and every call that set one."""
        with self.changed:
            return [
                {"gsrn": gsrn, "sub": point.sub, "key": point.key, "calls": list(point.key_calls)}
                for gsrn, point in self._points.items()
            ]

    def have_keys(self, gsrns: list[str]) -> bool:
        """Whether the keys of these metering points (none named: all) have come."""
        with self.changed:
            wanted = gsrns or list(self._points)
            return all(gsrn in self._points and self._points[gsrn].key for gsrn in wanted)

    def put(self, measurements: list[Measurement], ggos: list[Ggo]) -> None:
        """Add or correct measurements, and add GGOs, all at once."""
        with self.changed:
            self._measurements.update({(one.gsrn, one.begin): one for one in measurements})
            self._ggos.update({(one.gsrn, one.begin): one for one in ggos})

    def measurement(self, gsrn: str, begin: datetime) -> Measurement | None:
        """Return the measurement of a period, or None."""
        with self.changed:
            return self._measurements.get((gsrn, begin))

    def ggo(self, gsrn: str, begin: datetime) -> Ggo | None:
        """Return the GGO issued for a period, or None."""
        with self.changed:
            return self._ggos.get((gsrn, begin))

    def measurements_of(self, sub: str, filters: Filters) -> list[Measurement]:
        """Return a user's measurements that match, by begin and GSRN."""
        with self.changed:
            mine = {gsrn for gsrn, point in self._points.items() if point.sub == sub}
            found = [
                one
                for one in self._measurements.values()
                if one.gsrn in mine and _matches(one, filters)
            ]
        return sorted(found, key=lambda one: (one.begin, one.gsrn))

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
        """Send a user's events of this kind to a URL from now on."""
        with self.changed:
            self._subscriptions.setdefault((sub, event), {})[url] = secret
            self.changed.notify_all()

    def subscribers(self, sub: str, event: str) -> dict[str, str]:
        """Return the URLs subscribed to a user's events, with their secrets."""
        with self.changed:
            return dict(self._subscriptions.get((sub, event), {}))

    def subscriptions(self) -> list[dict[str, str]]:
        """Return all subscriptions, without their secrets."""
        with self.changed:
            return [
                {"sub": sub, "event": event, "url": url}
                for (sub, event), urls in self._subscriptions.items()
                for url in urls
            ]


def _matches(one: Measurement, filters: Filters) -> bool:
    sectors = [filters.sector] if isinstance(filters.sector, str) else filters.sector
    begins = filters.beginRange
    return (
        (filters.begin is None or one.begin == filters.begin)
        and (begins is None or begins.begin <= one.begin <= begins.end)
        and (not sectors or one.sector in sectors)
        and (not filters.gsrn or one.gsrn in filters.gsrn)
        and filters.type in (None, one.type)
    )
