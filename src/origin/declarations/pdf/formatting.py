"""Times, numbers and phrases of the PDF in one language."""

import math
from datetime import datetime, timedelta, timezone

from origin.declarations.pdf.words import WORDS, Language, Words
from origin.declarations.rules.consumption import HOUR_S
from origin.declarations.rules.exact import as_float, per
from origin.shared.periods import Resolution

_LABEL_LENGTH = 22
_GRAMS = ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"))
"""Units of mass from the largest: grams, name."""
_WATT_HOURS = ((1e13, 1e12, "TWh"), (1e10, 1e9, "GWh"), (1e7, 1e6, "MWh"), (0.0, 1e3, "kWh"))
"""Units of energy from the largest: the least Wh that are shown in it, Wh, name."""


class Formatter:
    """Formats values in one language.

    :param offset: How far local time is ahead of UTC.
    """

    def __init__(self, language: Language, offset: timedelta) -> None:
        self.words: Words = WORDS[language]
        self.zone = timezone(offset)
        self.offset_s = int(offset.total_seconds())

    def say(self, phrase: str, **values: object) -> str:
        """Return the phrase of this name, filled with the values."""
        return self.words.phrases[phrase].format(**values)

    def more(self, phrase: str, count: int) -> str | None:
        """Return the phrase for so many items that aren't shown; None if there are none."""
        return self.say(phrase, count=count) if count > 0 else None

    def time(self, time: datetime) -> str:
        """Return the day and the time of day, in local time."""
        local = time.astimezone(self.zone)
        return self._moment(local, local.strftime(self.words.clock))

    def end_of_hour(self, time: datetime) -> str:
        """Return the end of the hour that holds this time, in local time; midnight ends the old day."""
        local = time.astimezone(self.zone)
        return self._moment(local, self.clock(local.hour + 1))

    def period(self, begin: datetime, resolution: Resolution) -> str:
        """Return the name of the period that begins at this local time.

        :param resolution: All but `ALL`.
        """
        if resolution is Resolution.HOUR:
            hours = (self.clock(begin.hour), self.clock(begin.hour + 1))
            return self._moment(begin, "\N{EN DASH}".join(hours))
        return begin.strftime(self.words.periods[resolution])

    def clock(self, hour: int) -> str:
        """Return a full hour of the day, 0 to 24."""
        return self.words.clock.replace("%H", f"{hour:02}").replace("%M", "00")

    def _moment(self, local: datetime, clock: str) -> str:
        day = local.strftime(self.words.periods[Resolution.DAY])
        return self.say("moment", day=day, clock=clock)

    def utc_offset(self) -> str:
        """Return the offset in hours with its sign, or an empty text for UTC."""
        hours = self.offset_s // HOUR_S
        return f"{hours:+d}" if hours else ""

    def number(self, value: float, decimals: int) -> str:
        """Return the number with so many decimals."""
        english = f"{value:,.{decimals}f}"
        swap = {",": self.words.thousands, ".": self.words.decimal}
        return "".join(swap.get(character, character) for character in english)

    def three_digits(self, value: float) -> str:
        """Return the number with three significant digits, but at most six decimals."""
        if not value:
            return "0"
        decimals = max(0, 2 - math.floor(math.log10(abs(value))))
        if abs(value) < 1e-6:
            return f"< {self.number(1e-6, 6)}"
        return self.number(value, min(decimals, 6))

    def energy(self, amount: int) -> tuple[str, str]:
        """Return Wh in exact units as a number and its unit."""
        wh = as_float(amount)
        divisor, unit = next((by, unit) for least, by, unit in _WATT_HOURS if wh >= least)
        value = wh / divisor
        return self.number(value, 1 if value >= 10 or not value else 3), unit

    def energy_of(self, part: int, of_all: int) -> str:
        """Return the part's Wh with their unit. If less than all would read as all, say so."""
        text = " ".join(self.energy(part))
        rounded_up = part < of_all and text == " ".join(self.energy(of_all))
        return self.say("nearly", amount=text) if rounded_up else text

    def energy_in(self, amount: int, unit: str) -> str:
        """Return Wh in exact units as a number of this unit."""
        divisor = next(by for _, by, name in _WATT_HOURS if name == unit)
        return self.number(as_float(amount) / divisor, 1)

    def mass(self, amount: int) -> str:
        """Return grams in exact units as a number with its unit."""
        grams = as_float(amount)
        divisor, unit = next(((by, unit) for by, unit in _GRAMS if abs(grams) >= by), (1.0, "g"))
        return f"{self.three_digits(grams / divisor)} {unit}"

    def percent(self, part: int, of_all: int) -> str:
        """Return the percentage with one decimal. It is 0 or 100 only if that is exactly true."""
        percent = 100 * per(part, of_all)
        if 0 < percent < 0.1:
            return f"< {self.number(0.1, 1)}"
        if percent < 100 and round(percent, 1) == 100:
            return f"> {self.number(99.9, 1)}"
        return self.number(percent, 0 if percent in (0, 100) else 1)

    def technology(self, label: str) -> str:
        """Return the technology's name, shortened to fit."""
        return shortened(self.words.technologies.get(label.lower(), label))

    def emission(self, name: str) -> str:
        """Return the emission's name, shortened to fit."""
        return shortened(self.words.names.get(name.lower(), name))


def shortened(label: str) -> str:
    """Return the label, cut to the length that a table has room for."""
    return label if len(label) <= _LABEL_LENGTH else f"{label[: _LABEL_LENGTH - 1]}…"
