"""Writes an example of the PDF from made-up figures, which are always the same.

python -m origin.declarations.pdf.example doc/environment-declaration.pdf [--language da] [--days 7] [--resolution day]

"""

import argparse
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from origin.declarations.pdf.document import render
from origin.declarations.pdf.words import LANGUAGES
from origin.declarations.rules.consumption import (
    HOUR_S,
    Consumption,
    Measurements,
    RetiredGgo,
    unix_s,
)
from origin.declarations.rules.declarations import (
    DeclarationQuery,
    EnvironmentDeclaration,
    Mix,
    by_resolution,
    declare,
)
from origin.declarations.rules.exact import exact
from origin.documents.pdf import Issuer
from origin.shared.periods import Resolution

BEGIN = datetime(2024, 12, 31, 23, tzinfo=UTC)
GSRNS = tuple(f"57131318040{number:07}" for number in range(1, 8))
_SOURCES = {
    # Wh in an hour on average, and g/Wh.
    "Coal": (3e8, {"CO2": 0.82, "SO2": 0.0004, "NOx": 0.0005, "particles": 2e-5, "flyash": 0.04}),
    "Naturalgas": (2e8, {"CO2": 0.49, "CH4": 1e-4, "NOx": 2e-4, "CO": 1e-4}),
    "Nuclear": (1.5e8, {"CO2": 0.012, "waste": 1e-6}),
    "Biomass": (1.2e8, {"CH4": 5e-5, "NOx": 4e-4, "NMVOC": 3e-5}),
    "Wind": (2.5e8, {"CO2": 0.0}),
    "Hydro": (0.8e8, {"CO2": 0.0}),
    "Solar": (0.6e8, {"CO2": 0.0}),
    "Waste": (0.4e8, {"CO2": 0.38, "N2O": 2e-5, "slag": 0.02}),
    "Oil": (0.2e8, {"CO2": 0.65, "SO2": 9e-4, "NOx": 7e-4, "desulphurisation": 2e-3}),
}


def example(
    days: int, resolution: Resolution = Resolution.ALL
) -> tuple[DeclarationQuery, EnvironmentDeclaration]:
    """Return the declaration of a bakery that bought wind and sun for most of its hours."""
    query = DeclarationQuery(
        gsrns=GSRNS,
        begin=BEGIN,
        end=BEGIN + timedelta(days=days) - timedelta(hours=1),
        resolution=resolution,
        offset=timedelta(hours=1),
    )
    consumption: Consumption = {(gsrn, "DK1"): Measurements([], []) for gsrn in GSRNS}
    retired: list[RetiredGgo] = []
    mix = Mix()
    for number in range(24 * days):
        hour = unix_s(BEGIN) + number * HOUR_S
        wind, sun = _weather(number)
        for label, (mean, emissions) in _SOURCES.items():
            now = round(mean * {"Wind": 2 * wind, "Solar": 4 * sun}.get(label, 1.0))
            grams = {
                name: exact(Decimal(str(round(now * each, 3)))) for name, each in emissions.items()
            }
            mix.add(hour, label, exact(now), grams)
        for place, ((gsrn, _), measurements) in enumerate(consumption.items()):
            wh = round((4000 + 900 * place) * (1.6 if 3 <= number % 24 <= 13 else 0.7))
            measurements.begins.append(hour)
            measurements.amounts.append(wh)
            windy = min(wh, round(wh * 1.9 * wind))
            sunny = min(wh - windy, round(wh * sun))
            retired.append(RetiredGgo(gsrn, hour, windy, "Wind", {"CO2": 0}))
            retired.append(RetiredGgo(gsrn, hour, sunny, "Solar", {"CO2": 0}))
    retired = [each for each in retired if each.amount]
    hours = declare(consumption, retired, {"DK1": mix}, {"DK1"})
    return query, by_resolution(query, hours)


def _weather(number: int) -> tuple[float, float]:
    """Return wind and sun of an hour, each from 0 to 1."""
    hour, day = number % 24, number / 24
    season = 0.5 - 0.4 * math.cos(2 * math.pi * day / 365)
    sun = max(0.0, math.sin(math.pi * (hour - 5) / 14)) * season if 5 < hour < 19 else 0.0
    gusts = math.sin(number / 9.7) + math.sin(number / 41) + math.sin(number / 3.1) / 3
    return min(1.0, max(0.0, 0.45 + 0.22 * gusts - 0.1 * season)), sun


def main() -> None:
    """Write the PDF to the given path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--resolution", type=Resolution, default=Resolution.MONTH)
    wish = parser.parse_args()
    issuer = Issuer("AccountService", "https://accounts.example", BEGIN + timedelta(days=400))
    wish.path.write_bytes(render(*example(wish.days, wish.resolution), issuer, wish.language))


if __name__ == "__main__":
    main()
