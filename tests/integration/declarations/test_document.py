"""The declaration's PDF: its pages, tags, languages and numbers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from devstack.processes import ROOT
from origin.declarations.pdf.document import content, document_id, render
from origin.declarations.pdf.example import example, main
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

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ISSUER = Issuer("AccountService", "https://accounts.example", NOW)
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


def declared(
    consumption: dict[tuple[str, str], dict[int, int]],
    labels: list[str],
    emissions: dict[str, float],
    retired: list[RetiredGgo] | None = None,
) -> tuple[DeclarationQuery, EnvironmentDeclaration]:
    hours = {hour for each in consumption.values() for hour in each}
    grams = {name: exactly(each) for name, each in emissions.items()}
    mix = Mix()
    for hour in hours:
        for label in labels:
            mix.add(hour, label, exactly(10), grams)
    gsrns = tuple(dict.fromkeys(gsrn for gsrn, _ in consumption))
    end = datetime.fromtimestamp(max(hours, default=int(BEGIN.timestamp())), UTC)
    query = DeclarationQuery(gsrns, BEGIN, end, Resolution.ALL, timedelta(hours=1))
    found = declare(measured(consumption), retired or [], {"DK1": mix}, {"DK1"})
    return query, by_resolution(query, found)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("days", [1, 14])
def test_pages_with_fonts_title_language_and_tags(language: Language, days: int) -> None:
    pdf = render(*example(days), ISSUER, language)
    reader = PdfReader(BytesIO(pdf))
    assert len(reader.pages) == 2
    root: Any = reader.trailer["/Root"]
    assert root["/Lang"] == language
    assert root["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in root
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert reader.metadata is not None
    assert str(reader.metadata.title).startswith(WORDS[language].phrases["title"])
    assert b"pdfuaid:part" in root["/Metadata"].get_data()
    fonts = [font.get_object() for page in reader.pages for font in _fonts(page)]
    assert fonts
    for font in fonts:
        descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"]
        assert {"/FontFile2", "/FontFile3"} & set(descriptor.get_object())
    assert pdf == render(*example(days), ISSUER, language)


def _fonts(page: Any) -> Any:
    return page["/Resources"]["/Font"].values()


def test_hostile_or_long_contents_fit_on_two_pages() -> None:
    first = int(BEGIN.timestamp())
    hostile = '#panic("x") ]] $ "quoted" \\ *bold* @ref <label> `raw` https://x.example '
    consumption = {(f"57131318040{number:07}", "DK1"): {first: 10**15} for number in range(60)}
    labels = [f"{hostile[number:]}{number}" for number in range(20)]
    emissions = {f"{hostile}{number}": 10.0**-number for number in range(30)}
    known = dict.fromkeys(WORDS["en"].emissions, 1e9)
    for months in (0, 30):
        consumption["57131318040", "DK1"] = {first + 86400 * 31 * months: 1}
        for language in LANGUAGES:
            pdf = render(*declared(consumption, labels, emissions | known), ISSUER, language)
            assert len(PdfReader(BytesIO(pdf)).pages) == 2


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("resolution", Resolution)
def test_an_empty_declaration_is_one_page_of_text(
    language: Language, resolution: Resolution
) -> None:
    query, found = declared({("571313180400000001", "DK1"): {}}, [], {})
    pdf = render(replace(query, resolution=resolution), found, ISSUER, language)
    (page,) = PdfReader(BytesIO(pdf)).pages
    text = page.extract_text()
    phrases = WORDS[language].phrases
    assert phrases["empty"][:30] in text
    assert "571313180400000001" in text
    for heading in ("technologies", "coverage", "emissions", "by_day", "by_month"):
        assert phrases[heading] not in text


def test_the_same_declaration_has_the_same_number() -> None:
    first = int(BEGIN.timestamp())
    one = document_id(*declared({("1", "DK1"): {first: 5}, ("2", "DK1"): {}}, ["Coal"], {}))
    same = document_id(*declared({("1", "DK1"): {first: 5}, ("2", "DK1"): {}}, ["Coal"], {}))
    other = document_id(*declared({("1", "DK1"): {first: 6}, ("2", "DK1"): {}}, ["Coal"], {}))
    assert one == same != other


def test_percentages_are_never_rounded_to_0_or_100() -> None:
    first = int(BEGIN.timestamp())
    consumption = {("1", "DK1"): {first: 1_000_000, first + 3600: 1}}
    for amount, said in ((999_999, "> 99.9 %"), (1, "< 0.1 %"), (0, "0 %"), (500_000, "50.0 %")):
        retired = [RetiredGgo("1", first, amount, "Wind", None)] if amount else []
        query, found = declared(consumption, ["Coal"], {"CO2": 0.000_04}, retired)
        assert content(query, found, ISSUER, "en")["covered"] == said


def test_the_example_in_the_documents_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "example.pdf"
    monkeypatch.setattr("sys.argv", ["example", str(made)])
    main()
    now, documented = (
        [page.extract_text() for page in PdfReader(path).pages]
        for path in (made, ROOT / "doc/environment-declaration.pdf")
    )
    assert now == documented


def test_both_languages_have_the_same_phrases() -> None:
    english, danish = WORDS["en"], WORDS["da"]
    assert english.phrases.keys() == danish.phrases.keys()
    assert english.emissions.keys() == danish.emissions.keys()
