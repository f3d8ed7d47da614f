"""The residual mix of every hour and sector: generated, set by a control call, or hidden."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

HOUR = timedelta(hours=1)

Row = dict[str, Any]
"""A row without its time and sector: `technology`, `amount` (Wh), and grams by emission."""


@dataclass(frozen=True)
class _Source:
    """A technology: its mean share of the mix in Wh, and what 1 Wh of it emits (g)."""

    technology: str
    mean: int
    emissions: dict[str, float]


_SOURCES = (
    _Source("Coal", 300_000_000, {"CO2": 0.82, "SO2": 0.0004, "NOx": 0.0005}),
    _Source("Naturalgas", 200_000_000, {"CO2": 0.49, "CH4": 0.0001, "NOx": 0.0002}),
    _Source("Oil", 20_000_000, {"CO2": 0.65, "SO2": 0.0009, "NOx": 0.0007}),
    _Source("Nuclear", 150_000_000, {"CO2": 0.012}),
    _Source("Waste", 40_000_000, {"CO2": 0.38, "N2O": 0.00002}),
    _Source("Biomass", 120_000_000, {"CO2": 0.0, "CH4": 0.00005, "NOx": 0.0004}),
    _Source("Hydro", 80_000_000, {"CO2": 0.0}),
    _Source("Wind", 250_000_000, {"CO2": 0.0}),
    _Source("Solar", 60_000_000, {"CO2": 0.0}),
)
_EMISSIONS = tuple(dict.fromkeys(name for source in _SOURCES for name in source.emissions))


class Mix:
    """The rows of every sector and hour. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Return to generated rows for every hour: none set, none hidden."""
        self._set: dict[tuple[str, datetime], list[Row]] = {}
        self._hidden: list[tuple[str | None, datetime, datetime]] = []
        self.generated = True

    def put(self, rows: dict[tuple[str, datetime], list[Row]]) -> None:
        """Replace the rows of these sectors and hours; an empty list hides the hour."""
        with self._lock:
            self._set.update(rows)

    def hide(self, sector: str | None, begin: datetime, end: datetime) -> None:
        """Hide the hours from begin (included) to end (not included), in one sector or in all."""
        with self._lock:
            self._hidden.append((sector, begin, end))

    def rows(
        self, sectors: list[str], begin: datetime, end: datetime
    ) -> Iterator[tuple[datetime, str, Row]]:
        """Yield the rows from begin (included) to end (not included), sorted by time."""
        hour = begin.replace(minute=0, second=0, microsecond=0)
        hour = hour if hour == begin else hour + HOUR
        while hour < end:
            for sector in sectors:
                for row in self._at(sector, hour):
                    yield hour, sector, row
            hour += HOUR

    def _at(self, sector: str, hour: datetime) -> list[Row]:
        with self._lock:
            if any(
                hidden in (None, sector) and begin <= hour < end
                for hidden, begin, end in self._hidden
            ):
                return []
            if (sector, hour) in self._set:
                return self._set[sector, hour]
        return _generated(sector, hour) if self.generated else []


def _generated(sector: str, hour: datetime) -> list[Row]:
    seed = hashlib.sha256(f"{sector} {hour.isoformat()}".encode()).digest()
    rows = []
    for source, byte in zip(_SOURCES, seed, strict=False):
        # From 0.5 to 1.5 times the mean; no solar power at night.
        amount = source.mean // 2 + source.mean * byte // 255
        if source.technology == "Solar" and not 6 <= hour.hour < 20:
            amount = 0
        grams = {name: round(amount * source.emissions.get(name, 0.0), 3) for name in _EMISSIONS}
        rows.append({"technology": source.technology, "amount": amount, **grams})
    return rows
