"""The statement of account as a PDF, in the house style of `origin.documents`.

`content` makes all that the pages show, as plain texts. `document.typ` is the layout. Up to `MAX_LINES`
entries stand on lines of their own. Beyond that they are summed up by month.
"""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from origin.balances.pdf.words import WORDS
from origin.balances.rules.balance import AMOUNTS
from origin.balances.rules.entries import MICROSECOND, Entry
from origin.balances.rules.statements import Digest, MonthlySum, Statement
from origin.declarations.pdf.words import WORDS as HOUSE_WORDS
from origin.declarations.pdf.words import Language
from origin.documents.pdf import Issuer, compile_pdf
from origin.shared.periods import EARLIEST, Period, Resolution, local_time

TEMPLATE = Path(__file__).with_suffix(".typ")
MAX_LINES = 500
_MAX_TEXT_LENGTH = 60
_LAST_SHOWN = 0x17F
"""The last letter that the fonts have for sure: those of European languages."""


def render(
    subject: str,
    period: Period,
    statement: Statement,
    digest: Digest,
    issuer: Issuer,
    language: Language,
) -> bytes:
    """Return the PDF.

    :param subject: The account's.
    :param digest: Of the statement's lines, of which it keeps up to `MAX_LINES`.
    """
    shown = content(subject, period, statement, digest, issuer, language)
    return compile_pdf(TEMPLATE, shown, issuer.now)


def content(
    subject: str,
    period: Period,
    statement: Statement,
    digest: Digest,
    issuer: Issuer,
    language: Language,
) -> dict[str, Any]:
    """Return all that `document.typ` shows, by the names under which it looks it up."""
    texts = _Texts(language, period)
    closing = statement.closing.total
    held = [
        (closing["available"], "held"),
        (closing["retired"], "retired"),
        (digest.count, "moved"),
    ]
    return {
        "language": language,
        "phrases": texts.phrases(_shown(subject), statement),
        "issuer": f"{issuer.name}, {issuer.address}",
        "issued": texts.time(issuer.now),
        "id": _document_id(subject, period, statement, digest),
        "figures": [[texts.number(value), texts.words.phrases[name]] for value, name in held],
        "balance": [texts.change(name, statement) for name in AMOUNTS],
        "lines": None if digest.few is None else [texts.line(each) for each in digest.few],
        "months": [texts.month(each) for each in digest.months],
    }


def _document_id(subject: str, period: Period, statement: Statement, digest: Digest) -> str:
    """Return the document's number: a digest of the account, the period, and all that it tells."""
    told = [subject, str(period), str(statement.opening), str(statement.closing)]
    named = hashlib.sha256("\n".join([*told, digest.fingerprint]).encode()).hexdigest()
    return "-".join(named[start : start + 4].upper() for start in range(0, 20, 4))


def _shown(text: str) -> str:
    """Return a user's text: shortened, and without characters that the fonts may lack."""
    known = "".join(
        each if each.isprintable() and ord(each) <= _LAST_SHOWN else "?" for each in text
    )
    return known if len(known) <= _MAX_TEXT_LENGTH else known[: _MAX_TEXT_LENGTH - 1] + "…"


class _Texts:
    """The texts of one statement in one language."""

    def __init__(self, language: Language, period: Period) -> None:
        self.words = WORDS[language]
        self._house = HOUSE_WORDS[language]
        self._period = period

    def phrases(self, subject: str, statement: Statement) -> dict[str, str]:
        begin, end = self._period.begin, statement.closing.at + MICROSECOND
        named = {
            "subject": subject,
            "begin": self.words.phrases["first"] if begin == EARLIEST else self.time(begin),
            "end": self.time(end),
        }
        filled: dict[str, dict[str, Any]] = {
            "subtitle": named,
            "zone": {"zone": str(self._period.zone)},
            "too_many": {"most": MAX_LINES},
        }
        return {
            name: text.format(**filled[name]) if name in filled else text
            for name, text in self.words.phrases.items()
        }

    def time(self, time: datetime) -> str:
        """Return the day and the time of day, in local time; in UTC where there is none."""
        local = local_time(time, self._period.zone) or time
        day = local.strftime(self._house.periods[Resolution.DAY])
        clock = local.strftime(self._house.clock)
        return self._house.phrases["moment"].format(day=day, clock=clock)

    def number(self, value: int) -> str:
        return f"{value:,}".replace(",", self._house.thousands)

    def change(self, name: str, statement: Statement) -> list[str]:
        """Return a row of the balance: name, opening, closing, change."""
        before, after = statement.opening.total[name], statement.closing.total[name]
        sign = "+" if after > before else ""
        numbers = [self.number(before), self.number(after), sign + self.number(after - before)]
        return [self.words.names[name], *numbers]

    def line(self, entry: Entry) -> list[str]:
        """Return a row of an entry."""
        begin = self.time(entry.begin)
        technology = self._house.technologies.get(entry.technology.lower(), entry.technology)
        others = (entry.counterpart, entry.reference)
        return [
            self.time(entry.key.at),
            self.words.names[entry.kind.value],
            self._way(entry.source, entry.target),
            _shown(f"{begin}, {entry.sector}, {technology}"),
            _shown(", ".join(each for each in others if each)),
            self.number(entry.amount),
        ]

    def month(self, found: MonthlySum) -> list[str]:
        """Return a row of a month's sum."""
        return [
            found.month.strftime(self._house.periods[Resolution.MONTH]),
            self.words.names[found.kind],
            self._way(found.source, found.target),
            self.number(found.count),
            self.number(found.amount),
        ]

    def _way(self, source: str, target: str) -> str:
        return f"{self.words.names[source]} → {self.words.names[target]}"
