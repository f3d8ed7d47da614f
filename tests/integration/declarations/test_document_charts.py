"""The PDF's charts and tables: the development by resolution, the coverage, their labels and words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from origin.declarations.pdf.document import content, render
from origin.declarations.pdf.words import LANGUAGES, WORDS, Language
from origin.declarations.rules.consumption import RetiredGgo
from origin.declarations.rules.declarations import (
    DeclarationQuery,
    EnvironmentDeclaration,
    Mix,
    by_resolution,
    declare,
)
from origin.documents.pdf import Issuer
from origin.shared.periods import Resolution
from tests.support.consumption import exactly, measured

NEW_YEAR = datetime(2024, 12, 31, 23, tzinfo=UTC)
ISSUER = Issuer("AccountService", "https://accounts.example", NEW_YEAR)
POINT = "571313180400000001"
HOUR = timedelta(hours=1)
ALL_OF_IT = 1.0


def declared(
    hours: int,
    resolution: Resolution,
    covered: float = 0.5,
    *,
    every: int = 1,
    wh: int = 10_000,
) -> tuple[DeclarationQuery, EnvironmentDeclaration]:
    """Return a declaration of so many hours from a new year in UTC+1.

    :param covered: The part of each hour for which a GGO is retired.
    :param every: Every how many hours there is a measurement.
    """
    first = int(NEW_YEAR.timestamp())
    begins = range(first, first + 3600 * hours, 3600 * every)
    mix = Mix()
    for begin in begins:
        mix.add(begin, "Coal", exactly(10), {"CO2": exactly(4)})
    retired = [RetiredGgo(POINT, begin, round(wh * covered), "Wind", None) for begin in begins]
    query = DeclarationQuery((POINT,), NEW_YEAR, NEW_YEAR + HOUR * (hours - 1), resolution, HOUR)
    consumption = measured({(POINT, "DK1"): dict.fromkeys(begins, wh)})
    found = declare(consumption, retired if covered else [], {"DK1": mix}, {"DK1"})
    return query, by_resolution(query, found)


def shown(*arguments: Any, language: Language = "en", **named: Any) -> dict[str, Any]:
    return content(*declared(*arguments, **named), ISSUER, language)


def pages_of(*arguments: Any, language: Language = "en", **named: Any) -> list[Any]:
    return PdfReader(BytesIO(render(*declared(*arguments, **named), ISSUER, language))).pages[:]


@pytest.mark.parametrize(
    ("hours", "resolution", "title", "bars", "rows", "first", "last"),
    [
        # Its bars by hour are those of the coverage.
        (24, "hour", "Hour by hour", None, 24, "2025-01-01 00:00–01:00", "2025-01-01 23:00–24:00"),  # noqa: RUF001
        (24 * 7, "hour", "Day by day", None, 7, "2025-01-01", "2025-01-07"),
        (24 * 14, "hour", "Hour by hour", 336, 14, "2025-01-01", "2025-01-14"),
        (24 * 31, "day", "Day by day", 31, 31, "2025-01-01", "2025-01-31"),
        (24 * 365, "day", "Day by day", 365, 12, "2025-01", "2025-12"),
        (24 * 365, "month", "Month by month", 12, 12, "2025-01", "2025-12"),
        (24 * 365 + 1, "year", "Year by year", 2, 2, "2025", "2026"),
        (24 * 800, "day", "Month by month", 27, 27, "2025-01", "2027-03"),
    ],
)
def test_the_development_follows_the_resolution(
    hours: int, resolution: str, title: str, bars: int | None, rows: int, first: str, last: str
) -> None:
    found = shown(hours, Resolution(resolution))["development"]
    assert found["title"] == title
    assert len(found["rows"]) == rows
    assert (found["rows"][0][0], found["rows"][-1][0]) == (first, last)
    assert len(found["chart"]["bars"]) == bars if bars else "chart" not in found
    assert found["rows"][0][3:] == ["50.0", "200", "400"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_show_the_development(language: Language) -> None:
    title, day = {"en": ("Day by day", "2025-01-31"), "da": ("Dag for dag", "31.01.2025")}[language]
    text = "".join(
        page.extract_text() for page in pages_of(24 * 31, Resolution.DAY, language=language)
    )
    for said in (title, day):
        assert said in text
    summed = "".join(page.extract_text() for page in pages_of(24 * 31, Resolution.ALL))
    assert "Day by day" not in summed


def test_one_sum_of_all_has_no_development() -> None:
    assert shown(24 * 40, Resolution.ALL)["development"] is None


def test_a_bar_is_as_high_as_its_period_and_gaps_stay_empty() -> None:
    chart = shown(24 * 3, Resolution.HOUR, 0.25, every=2)["coverage"]
    assert chart["bars"] == [[0.0, 0.0] if place % 2 else [1.0, 0.25] for place in range(71)]


@pytest.mark.parametrize("resolution", [Resolution.ALL, Resolution.DAY, Resolution.HOUR])
@pytest.mark.parametrize("hours", [24, 24 * 30])
def test_nothing_retired_is_said_and_not_drawn(resolution: Resolution, hours: int) -> None:
    found = shown(hours, resolution, 0.0)
    assert found["coverage"] == {
        "summary": "None of it: no guarantees of origin were retired for this consumption."
    }
    assert found["covered"] == "0 %"
    assert "0.0" not in found["covered_text"]
    assert (found["development"] is None) == (resolution is Resolution.ALL)
    page = pages_of(hours, resolution, 0.0)[0]
    assert "00:00" not in page.extract_text().partition("How much was covered")[2][:200]


@pytest.mark.parametrize(
    ("end", "offset", "said"),
    [
        (datetime(2025, 12, 31, 22, tzinfo=UTC), 1, "2025-12-31 24:00"),
        (datetime(2025, 12, 31, 22, 59, 59, tzinfo=UTC), 1, "2025-12-31 24:00"),
        (datetime(2025, 12, 31, 23, tzinfo=UTC), 0, "2025-12-31 24:00"),
        (datetime(2025, 12, 31, 22, tzinfo=UTC), 0, "2025-12-31 23:00"),
        (datetime(2025, 6, 30, 21, tzinfo=UTC), 2, "2025-06-30 24:00"),
        (datetime(9999, 12, 31, 22, tzinfo=UTC), 1, "9999-12-31 24:00"),
    ],
)
def test_the_period_ends_where_its_last_hour_ends(end: datetime, offset: int, said: str) -> None:
    query, found = declared(24, Resolution.ALL)
    query = replace(query, end=end, offset=timedelta(hours=offset))
    subtitle = content(query, found, ISSUER, "en")["phrases"]["subtitle"]
    assert subtitle.endswith(f" to {said}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_almost_all_never_reads_as_all(language: Language) -> None:
    almost, everything = (
        shown(24 * 31, Resolution.DAY, covered, language=language, wh=10**8)
        for covered in (0.9997, ALL_OF_IT)
    )
    assert almost["covered"] == {"en": "> 99.9 %", "da": "> 99,9 %"}[language]
    nearly = {"en": "nearly", "da": "næsten"}[language]
    assert not everything["covered_text"].startswith(nearly)
    assert everything["covered"] == "100 %"
    assert {row[3] for row in everything["development"]["rows"]} == {"100"}
    assert {row[3] for row in almost["development"]["rows"]} == {almost["covered"].rstrip(" %")}
    shades = [
        {shade for column in each["coverage"]["carpet"] for shade in column}
        for each in (almost, everything)
    ]
    assert shades == [{"3"}, {"4"}]
    legend = almost["coverage"]["legend"]
    assert legend[3:] == {"en": ["almost all", "all"], "da": ["næsten alt", "alt"]}[language]
    rounded = shown(24 * 31, Resolution.ALL, 0.999999, language=language, wh=10**8)
    assert rounded["covered_text"].startswith(f"{nearly} 74")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_heat_map_has_hours_beside_it(language: Language) -> None:
    labels = [
        hour["text"]
        for hour in shown(24 * 31, Resolution.ALL, language=language)["coverage"]["hours"]
    ]
    assert labels == [
        f"{hour}{WORDS[language].clock[2]}00" for hour in ("00", "06", "12", "18", "24")
    ]
    text = pages_of(24 * 31, Resolution.ALL, language=language)[0].extract_text()
    for label in labels:
        assert label in text


MARGIN = 51
"""18 mm in points."""


def _chart_labels(page: Any) -> dict[float, list[tuple[float, float]]]:
    """Return where each label of a chart begins and ends in x, by y, in points."""
    lines: dict[float, list[tuple[float, float]]] = {}

    def visit(text: str, place: Any, _: Any, __: Any, size: float) -> None:
        if text.strip() and size == 7:
            width = 0.42 * size * len(text.strip())
            lines.setdefault(round(place[5]), []).append((place[4], place[4] + width))

    page.extract_text(visitor_text=visit)
    return lines


@pytest.mark.parametrize(
    ("hours", "language"), [(24, "da"), (24 * 8, "da"), (24 * 31, "en"), (24 * 500, "da")]
)
def test_no_label_runs_out_of_a_chart_or_into_another(hours: int, language: Language) -> None:
    pages = pages_of(hours, Resolution.DAY, language=language)
    lines = [sorted(line) for page in pages for line in _chart_labels(page).values()]
    assert len(lines) >= 2
    for line in lines:
        assert line[0][0] >= MARGIN
        assert line[-1][1] <= float(pages[0].mediabox.width) - MARGIN
        assert all(start > end for (_, end), (start, _) in pairwise(line))


@given(
    hours=st.integers(1, 24 * 900), resolution=st.sampled_from([Resolution.DAY, Resolution.MONTH])
)
@settings(max_examples=10, deadline=None)
def test_a_chart_has_a_few_dates_far_enough_apart(hours: int, resolution: Resolution) -> None:
    found = shown(hours, resolution, every=7)
    for chart in (found["coverage"], found["development"]["chart"]):
        places = [tick["at"] for tick in chart["ticks"]]
        assert 1 <= len(places) <= 8
        assert places[0] >= 0
        assert places[-1] <= 1
        assert all(after - before > 0.1 for before, after in pairwise(places))
