"""The environment declaration as a PDF (contract: http-api.md, export-pdf).

`content` makes all that the pages show, as plain texts and numbers. `document.typ` is the layout: it takes
them as data, never as markup, in the house style of `origin.documents`. The charts are in `charts`, what
follows the resolution in `development`.

A declaration of no consumption is one page of text.
"""

import hashlib
from pathlib import Path
from typing import Any

import orjson

from origin.declarations.pdf.charts import technology_chart
from origin.declarations.pdf.development import coverage, development
from origin.declarations.pdf.formatting import Formatter
from origin.declarations.pdf.words import Language
from origin.declarations.rules.declarations import (
    DeclarationQuery,
    EnvironmentDeclaration,
    Figures,
    Totals,
)
from origin.declarations.rules.exact import as_float, per
from origin.documents.pdf import Issuer, compile_pdf

TEMPLATE = Path(__file__).with_suffix(".typ")

_MAX_POINTS = 40
_MAX_EMISSIONS = 12


def render(
    query: DeclarationQuery, found: EnvironmentDeclaration, issuer: Issuer, language: Language
) -> bytes:
    """Return the PDF."""
    return compile_pdf(TEMPLATE, content(query, found, issuer, language), issuer.now)


def document_id(query: DeclarationQuery, found: EnvironmentDeclaration) -> str:
    """Return the document's number: a digest of the query and of every hour's figures."""
    both = (_by_hour(found.by_hour.individual), _by_hour(found.by_hour.general))
    hours = [list(hour) for hour in zip(found.by_hour.hours, *both, strict=True)]
    asked = [sorted(query.gsrns), query.begin, query.end, query.offset.total_seconds()]
    digest = hashlib.sha256(orjson.dumps([asked, hours], option=orjson.OPT_SORT_KEYS)).hexdigest()
    return "-".join(digest[start : start + 4].upper() for start in range(0, 20, 4))


def _by_hour(figures: Figures) -> list[list[Any]]:
    """Return each hour's figures: consumed, retired, emissions and technologies."""
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


def content(
    query: DeclarationQuery, found: EnvironmentDeclaration, issuer: Issuer, language: Language
) -> dict[str, Any]:
    """Return all that `document.typ` shows, by the names under which it looks it up."""
    formatter = Formatter(language, query.offset)
    front = {
        "language": language,
        "phrases": _phrases(query, found, formatter),
        "issuer": f"{issuer.name}, {issuer.address}",
        "issued": formatter.time(issuer.now),
        "id": document_id(query, found),
        "points": list(query.gsrns[:_MAX_POINTS]),
        "more_points": formatter.more("more_points", len(query.gsrns) - _MAX_POINTS),
    }
    if not found.individual.total.consumed:
        return {**front, "empty": True}
    return {**front, "empty": False, **_figures(query, found, formatter)}


def _figures(
    query: DeclarationQuery, found: EnvironmentDeclaration, formatter: Formatter
) -> dict[str, Any]:
    """Return what the pages show of a consumption above 0."""
    own, general = found.individual.total, found.general.total
    names = _technologies_in_order(own, general)
    carbon = next((name for name in general.emissions if name.lower() == "co2"), None)
    covered = coverage(query, found.by_hour, formatter)
    retired = formatter.energy_of(own.retired, own.consumed)
    return {
        "consumed": " ".join(formatter.energy(own.consumed)),
        "covered": f"{formatter.percent(own.retired, own.consumed)} %",
        "covered_text": formatter.say("covered" if own.retired else "covered_none", amount=retired),
        "carbon": _carbon(own, general, carbon, formatter),
        "technologies": [
            technology_chart(each, names, formatter) for each in (found.individual, found.general)
        ],
        "emissions": _emissions(own, general, formatter),
        "more_emissions": formatter.more("more_emissions", len(own.emissions) - _MAX_EMISSIONS),
        "coverage": covered,
        "development": development(
            query, found.by_hour, carbon, formatter, hours_are_drawn="bars" in covered
        ),
    }


def _phrases(
    query: DeclarationQuery, found: EnvironmentDeclaration, formatter: Formatter
) -> dict[str, str]:
    """Return all phrases, those with places filled in."""
    left_out = len(found.by_hour.left_out)
    return {
        **formatter.words.phrases,
        "subtitle": formatter.say(
            "subtitle", begin=formatter.time(query.begin), end=formatter.end_of_hour(query.end)
        ),
        "zone": formatter.say("zone", offset=formatter.utc_offset()),
        "method_sources": formatter.say(
            "method_sources", left_out=formatter.say("left_out", count=left_out) if left_out else ""
        ),
    }


def _technologies_in_order(own: Totals, general: Totals) -> list[str]:
    """Return the technologies in the order of both charts: by amount in the individual declaration."""
    labels = own.technologies | general.technologies
    amounts = {
        label: (own.technologies.get(label, 0), general.technologies.get(label, 0))
        for label in labels
    }
    shown = [label for label, both in amounts.items() if any(both)]
    return sorted(shown, key=lambda label: (-amounts[label][0], -amounts[label][1], label))


def _carbon(
    own: Totals, general: Totals, name: str | None, formatter: Formatter
) -> dict[str, str] | None:
    """Return the emission of this name in g/kWh; None if the mix has none."""
    if name is None:
        return None
    individual, of_mix = (
        formatter.three_digits(_per_kwh(totals, name)) for totals in (own, general)
    )
    return {"value": f"{individual} g", "text": formatter.say("carbon", general=f"{of_mix} g")}


def _emissions(own: Totals, general: Totals, formatter: Formatter) -> list[dict[str, Any]]:
    """Return the rows of the emissions' table: known emissions first, in the order of the words."""
    meanings = formatter.words.emissions
    order = {name: place for place, name in enumerate(meanings)}
    names = sorted(own.emissions, key=lambda name: (order.get(name.lower(), len(order)), name))
    rows = []
    for name in names[:_MAX_EMISSIONS]:
        individual, of_mix = _per_kwh(own, name), _per_kwh(general, name)
        longest = max(abs(individual), abs(of_mix)) or 1.0
        rows.append(
            {
                "name": formatter.emission(name),
                "individual": formatter.three_digits(individual),
                "general": formatter.three_digits(of_mix),
                "bars": [abs(individual) / longest, abs(of_mix) / longest],
                "total": formatter.mass(own.emissions[name]),
                "meaning": meanings.get(name.lower(), ""),
            }
        )
    return rows


def _per_kwh(totals: Totals, emission: str) -> float:
    """Return the emission in g/kWh."""
    return 1000 * per(totals.emissions.get(emission, 0), totals.consumed)
