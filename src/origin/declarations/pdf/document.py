"""The environment declaration as a PDF of two pages (contract: http-api, export-pdf).

What it says is made here, as plain strings and numbers; how it looks stands in `declaration.typ`,
which takes them for data and never for markup.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson

from origin.declarations.pdf.words import WORDS, Language, Words
from origin.declarations.rules.consumption import HOUR_S
from origin.declarations.rules.declarations import Answer, Declaration, Figures, Question, Total
from origin.declarations.rules.exact import as_float, per

TEMPLATE = Path(__file__).with_suffix(".typ")

_MOST_POINTS = 40
_MOST_TECHNOLOGIES = 12
_MOST_EMISSIONS = 12
_MOST_BARS = 8 * 24
_MOST_COLUMNS = 400
_HOURS_A_DAY = 24
_LABEL_LENGTH = 22
_GRAMS = ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"))
_WATT_HOURS = ((1e13, 1e12, "TWh"), (1e10, 1e9, "GWh"), (1e7, 1e6, "MWh"), (0.0, 1e3, "kWh"))


@dataclass(frozen=True)
class Issuer:
    """Who issues the document, where, and when (aware)."""

    name: str
    address: str
    now: datetime


def render(question: Question, found: Answer, issuer: Issuer, language: Language) -> bytes:
    """The PDF: fonts embedded, tagged (PDF/UA-1), the same bytes for the same arguments."""
    # Imported when needed: it would cost every process 30 MB.
    import typst

    data = orjson.dumps(content(question, found, issuer, language))
    return typst.compile(
        str(TEMPLATE),
        sys_inputs={"data": data.decode()},
        ignore_system_fonts=True,
        pdf_standards=["ua-1"],
        timestamp=issuer.now.replace(microsecond=0),
    )


def document_id(question: Question, found: Answer) -> str:
    """A digest of what was asked and of every hour's figures."""
    both = (_plain(found.by_hour.individual), _plain(found.by_hour.general))
    hours = [list(hour) for hour in zip(found.by_hour.hours, *both, strict=True)]
    asked = [sorted(question.gsrns), question.begin, question.end, question.offset.total_seconds()]
    digest = hashlib.sha256(orjson.dumps([asked, hours], option=orjson.OPT_SORT_KEYS)).hexdigest()
    return "-".join(digest[start : start + 4].upper() for start in range(0, 20, 4))


def content(
    question: Question, found: Answer, issuer: Issuer, language: Language
) -> dict[str, Any]:
    """All that the template shows."""
    return _Writer(question, found, issuer, language).content()


def _plain(figures: Figures) -> list[list[Any]]:
    """By hour."""
    emissions, technologies = (
        [
            {
                name: as_float(amount)
                for name, column in columns.items()
                if (amount := column[place]) is not None
            }
            for place in range(len(figures.consumed))
        ]
        for columns in (figures.emissions, figures.technologies)
    )
    amounts = (map(as_float, figures.consumed), map(as_float, figures.retired))
    return [list(hour) for hour in zip(*amounts, emissions, technologies, strict=True)]


class _Writer:
    """Words and numbers in one language."""

    def __init__(
        self, question: Question, found: Answer, issuer: Issuer, language: Language
    ) -> None:
        self._question = question
        self._found = found
        self._issuer = issuer
        self._language = language
        self._words: Words = WORDS[language]
        self._zone = timezone(question.offset)

    def content(self) -> dict[str, Any]:
        """All that the template shows."""
        own, general = self._found.individual.total, self._found.general.total
        begin, end = self._time(self._question.begin), self._time(self._question.end)
        left_out = len(self._found.by_hour.left_out)
        names = self._technology_names()
        coverage = self._coverage()
        return {
            "language": self._language,
            "phrases": {
                **self._words.phrases,
                "subtitle": self._say("subtitle", begin=begin, end=end),
                "zone": self._say("zone", offset=_offset(self._question.offset)),
                "method_sources": self._say(
                    "method_sources",
                    left_out=self._say("left_out", count=left_out) if left_out else "",
                ),
            },
            "issuer": f"{self._issuer.name}, {self._issuer.address}",
            "issued": self._time(self._issuer.now),
            "id": document_id(self._question, self._found),
            "empty": not own.consumed,
            "consumed": " ".join(self._energy(own.consumed)),
            "covered": f"{self._percent(own.retired, own.consumed)} %",
            "retired": " ".join(self._energy(own.retired)),
            "carbon": self._carbon(own, general),
            "technologies": [
                self._technologies(each, names)
                for each in (self._found.individual, self._found.general)
            ],
            "points": list(self._question.gsrns[:_MOST_POINTS]),
            "more_points": self._more("more_points", len(self._question.gsrns) - _MOST_POINTS),
            "emissions": self._emissions(own, general),
            "more_emissions": self._more("more_emissions", len(own.emissions) - _MOST_EMISSIONS),
            "coverage": coverage,
        }

    def _say(self, phrase: str, **values: object) -> str:
        return self._words.phrases[phrase].format(**values)

    def _more(self, phrase: str, count: int) -> str | None:
        return self._say(phrase, count=count) if count > 0 else None

    def _time(self, time: datetime) -> str:
        return time.astimezone(self._zone).strftime(self._words.date)

    def _number(self, value: float, decimals: int) -> str:
        english = f"{value:,.{decimals}f}"
        swap = {",": self._words.thousands, ".": self._words.decimal}
        return "".join(swap.get(character, character) for character in english)

    def _few_digits(self, value: float) -> str:
        """Three of them that count, and no more zeros than help."""
        if not value:
            return "0"
        decimals = max(0, 2 - math.floor(math.log10(abs(value))))
        if abs(value) < 1e-6:
            return f"< {self._number(1e-6, 6)}"
        return self._number(value, min(decimals, 6))

    def _energy(self, amount: int) -> tuple[str, str]:
        """A number and its unit."""
        wh = as_float(amount)
        divisor, unit = next((by, unit) for least, by, unit in _WATT_HOURS if wh >= least)
        value = wh / divisor
        return self._number(value, 1 if value >= 10 or not value else 3), unit

    def _mass(self, amount: int) -> str:
        grams = as_float(amount)
        divisor, unit = next(((by, unit) for by, unit in _GRAMS if abs(grams) >= by), (1.0, "g"))
        return f"{self._few_digits(grams / divisor)} {unit}"

    def _percent(self, part: int, of_all: int) -> str:
        """One decimal; 0 and 100 only where they are true."""
        percent = 100 * per(part, of_all)
        if 0 < percent < 0.1:
            return f"< {self._number(0.1, 1)}"
        if percent < 100 and round(percent, 1) == 100:
            return f"> {self._number(99.9, 1)}"
        return self._number(percent, 0 if percent in (0, 100) else 1)

    def _carbon(self, own: Total, general: Total) -> dict[str, str] | None:
        """CO2 in g/kWh, where it is known."""
        name = next((name for name in general.emissions if name.lower() == "co2"), None)
        if name is None:
            return None
        mine, all_of_it = (
            self._few_digits(1000 * per(each.emissions.get(name, 0), each.consumed))
            for each in (own, general)
        )
        return {"value": f"{mine} g", "text": self._say("carbon", general=f"{all_of_it} g")}

    def _technology_names(self) -> list[str]:
        """The labels in the order of both charts: by their share in the individual one."""
        own = self._found.individual.total.technologies
        general = self._found.general.total.technologies
        there = [each for each in own | general if own.get(each) or general.get(each)]
        return sorted(there, key=lambda each: (-own.get(each, 0), -general.get(each, 0), each))

    def _technologies(self, declaration: Declaration, names: list[str]) -> dict[str, Any]:
        """A chart's rows: label, share in parts of one, and both in words."""
        total = declaration.total
        amounts = [(self._label(name), total.technologies.get(name, 0)) for name in names]
        if len(amounts) > _MOST_TECHNOLOGIES:
            rest = sum(amount for _, amount in amounts[_MOST_TECHNOLOGIES - 1 :])
            amounts = [*amounts[: _MOST_TECHNOLOGIES - 1], (self._say("other"), rest)]
        _, unit = self._energy(total.consumed)
        divisor = next(by for _, by, its in _WATT_HOURS if its == unit)
        rows = [
            {
                "label": label,
                "share": per(amount, total.consumed),
                "percent": f"{self._percent(amount, total.consumed)} %",
                "amount": self._number(as_float(amount) / divisor, 1),
            }
            for label, amount in amounts
        ]
        return {
            "rows": rows,
            "unit": unit,
            "total": self._number(as_float(total.consumed) / divisor, 1),
        }

    def _label(self, technology: str) -> str:
        return _short(self._words.technologies.get(technology.lower(), technology))

    def _emissions(self, own: Total, general: Total) -> list[dict[str, Any]]:
        """The known ones first, in the order of their meanings."""
        order = list(self._words.emissions)
        known = {name: order.index(name.lower()) for name in own.emissions if name.lower() in order}
        names = sorted(own.emissions, key=lambda name: (known.get(name, len(order)), name))
        rows = []
        for name in names[:_MOST_EMISSIONS]:
            mine, all_of_it = (
                1000 * per(each.emissions.get(name, 0), each.consumed) for each in (own, general)
            )
            longest = max(abs(mine), abs(all_of_it)) or 1.0
            rows.append(
                {
                    "name": _short(self._words.names.get(name.lower(), name)),
                    "individual": self._few_digits(mine),
                    "general": self._few_digits(all_of_it),
                    "bars": [abs(mine) / longest, abs(all_of_it) / longest],
                    "total": self._mass(own.emissions[name]),
                    "meaning": self._words.emissions.get(name.lower(), ""),
                }
            )
        return rows

    def _coverage(self) -> dict[str, Any]:
        """A chart: bars for a week, else a carpet of days and hours."""
        own = self._found.by_hour.individual
        hours = {
            hour: (consumed, retired)
            for hour, consumed, retired in zip(
                self._found.by_hour.hours, own.consumed, own.retired, strict=True
            )
            if consumed
        }
        full = sum(consumed == retired for consumed, retired in hours.values())
        none = sum(not retired for _, retired in hours.values())
        summary = self._say(
            "hours",
            full=self._number(full, 0),
            hours=self._number(len(hours), 0),
            part=self._number(len(hours) - full - none, 0),
            none=self._number(none, 0),
        )
        return {
            "summary": summary,
            "alt": self._say("alt_coverage", summary=summary),
            **(self._bars(hours) if _span_h(hours) <= _MOST_BARS else self._carpet(hours)),
        }

    def _bars(self, hours: dict[int, tuple[int, int]]) -> dict[str, Any]:
        peak = max((consumed for consumed, _ in hours.values()), default=0)
        first = min(hours, default=0)
        bars = [hours.get(first + number * HOUR_S, (0, 0)) for number in range(_span_h(hours))]
        return {
            "bars": [[per(consumed, peak), per(retired, peak)] for consumed, retired in bars],
            "text": self._say("coverage_bars", peak=" ".join(self._energy(peak))),
            "ticks": self._ticks(first, len(bars), HOUR_S),
            "legend": [self._say("bar_covered"), self._say("bar_uncovered")],
        }

    def _carpet(self, hours: dict[int, tuple[int, int]]) -> dict[str, Any]:
        """Columns of 24 shades each, as digits; a blank where nothing was consumed."""
        offset_s = int(self._question.offset.total_seconds())
        first_day, last_day = ((t + offset_s) // 86400 for t in (min(hours), max(hours)))
        days = math.ceil((last_day - first_day + 1) / _MOST_COLUMNS)
        columns = math.ceil((last_day - first_day + 1) / days)
        sums = [[[0, 0] for _ in range(_HOURS_A_DAY)] for _ in range(columns)]
        for hour, amounts in hours.items():
            day, second = divmod(hour + offset_s, 86400)
            cell = sums[(day - first_day) // days][second // HOUR_S]
            cell[0] += amounts[0]
            cell[1] += amounts[1]
        each = self._say("day") if days == 1 else self._say("days", count=days)
        return {
            "carpet": ["".join(_shade(*cell) for cell in column) for column in sums],
            "text": self._say("coverage_carpet", days=each),
            "ticks": self._ticks(first_day * 86400 - offset_s, columns, days * 86400),
            "legend": [
                self._say("none"),
                self._say("up_to", percent=50),
                self._say("up_to", percent=90),
                self._say("below_all"),
                self._say("all"),
            ],
        }

    def _ticks(self, first: int, count: int, step_s: int) -> list[dict[str, Any]]:
        """Dates below a chart: where, in parts of its width, and what."""
        if not count:
            return []
        ticks = []
        for number in range(0, count, max(1, math.ceil(count / 7))):
            time = datetime.fromtimestamp(first + number * step_s, self._zone)
            date = time.strftime(self._words.date)
            ticks.append({"at": number / count, "text": date if step_s == HOUR_S else date[:10]})
        return ticks


def _short(label: str) -> str:
    return label if len(label) <= _LABEL_LENGTH else f"{label[: _LABEL_LENGTH - 1]}…"


def _span_h(hours: dict[int, Any]) -> int:
    """From the first hour to the last."""
    return (max(hours) - min(hours)) // HOUR_S + 1 if hours else 0


def _shade(consumed: int, retired: int) -> str:
    if not consumed:
        return " "
    percent = 100 * retired // consumed
    if retired == consumed:
        return "4"
    return "0" if not retired else "1" if percent < 50 else "2" if percent < 90 else "3"


def _offset(offset: timedelta) -> str:
    hours = int(offset.total_seconds()) // HOUR_S
    return f"{hours:+d}" if hours else ""
