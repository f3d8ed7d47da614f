"""Statements of account in each of their forms."""

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pypdf
import pytest
from werkzeug.test import TestResponse

from origin.balances.pdf import document
from tests.support.entries_fold import FOLDED, check_identity, fold
from tests.support.market import CONSUMPTION, Market

Ask = Callable[..., TestResponse]
Told = Callable[..., Any]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PATH = "/v2/account-statement"
ZONE = "Europe/Copenhagen"


@pytest.fixture
def traded(market: Market) -> Market:
    """Alice has sent to Bob and retired; one order is in flight."""
    market.consume()
    first, second = market.issue(1000), market.issue(500, begin=market.hour(1))
    market.compose(first, transfers=[(300, "bob")], retires=[(200, CONSUMPTION)])
    market.settle()
    market.compose(second, transfers=[(40, "bob")])
    return market


@pytest.mark.usefixtures("traded")
def test_opening_and_lines_add_up_to_closing(told: Told):
    """For any two moments of the history, the expiry of a GGO at one of them included."""
    times = [entry["at"] for entry in told("/v2/entries")["results"]]
    for begin in (None, times[1], times[2], times[-1]):
        for end in (None, times[2], times[-1]):
            if begin and end and begin > end:
                continue
            query = "&".join(
                f"{name}={quote(at)}" for name, at in (("from", begin), ("to", end)) if at
            )
            statement = told(f"{PATH}?{query}")
            opening, closing = statement["opening"], statement["closing"]
            check_identity(opening)
            check_identity(closing)
            lines = statement["lines"]
            assert all(not begin or each["at"] >= begin for each in lines)
            assert all(not end or each["at"] < end for each in lines)
            summed = fold(lines)
            assert {name: opening[name] + summed[name] for name in FOLDED} == {
                name: closing[name] for name in FOLDED
            }
            at = quote(closing["at"])
            assert {"at": closing["at"], **told(f"/v2/balances?at={at}")["total"]} == closing


@pytest.mark.usefixtures("traded")
def test_all_forms_tell_the_same(ask: Ask, told: Told):
    query = f"{PATH}?timeZone={ZONE}"
    statement = told(query)
    sheet = ask(query, Accept="text/csv")
    assert sheet.mimetype == "text/csv"
    assert "account-statement.csv" in sheet.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(sheet.get_data(as_text=True))))
    assert len(rows) == len(statement["lines"]) > 5
    for row, line in zip(rows, statement["lines"], strict=True):
        flat = {**line, **line["ggo"]}
        del flat["ggo"]
        assert {name: row[name] for name in flat} == {
            name: "" if value is None else str(value) for name, value in flat.items()
        }
        for name in ("at", "begin", "end"):
            local = datetime.fromisoformat(row[f"{name}Local"])
            assert local == datetime.fromisoformat(row[name])
            assert local.utcoffset() == local.astimezone(ZoneInfo(ZONE)).utcoffset()
    book = zipfile.ZipFile(io.BytesIO(ask(query, Accept=XLSX).data))
    assert book.testzip() is None
    names = [name for name in book.namelist() if "worksheets/sheet" in name]
    assert len(names) == 2
    lines_sheet = book.read(names[0]).decode()
    assert lines_sheet.count("<row ") == len(rows) + 1
    assert all(line["id"] in lines_sheet for line in statement["lines"])


@pytest.mark.usefixtures("traded")
def test_the_pdf_has_the_lines_and_the_balance(ask: Ask):
    answer = ask(f"{PATH}?timeZone={ZONE}", Accept="application/pdf")
    assert answer.status_code == 200
    assert answer.mimetype == "application/pdf"
    assert answer.headers["Cache-Control"] == "no-store"
    assert {"Accept", "Accept-Language"} <= set(answer.headers["Vary"].split(", "))
    text = _text(answer)
    assert "Account statement" in text
    assert "being retired → retired" in text
    assert "bob, ref 0" in text
    danish = ask(PATH, Accept="application/pdf", Accept_Language="da")
    assert danish.headers["Content-Language"] == "da"
    assert "Kontoudtog" in _text(danish)


@pytest.mark.usefixtures("traded")
def test_the_pdf_sums_many_lines_up_by_month(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("origin.balances.views.statements.MAX_LINES", 3)
    monkeypatch.setattr(document, "MAX_LINES", 3)
    text = _text(ask(PATH, Accept="application/pdf"))
    assert "More than 3 entries" in text
    assert "1,500" in text


def test_a_reference_that_no_font_has_makes_no_broken_pdf(traded: Market, ask: Ask):
    odd = "\u202e\U0001f600 東京 <b>#strong[x]</b> \u0007 =1+1 \U000e0001"
    traded.rows("UPDATE ggos SET reference = :odd WHERE reference IS NOT NULL", odd=odd)
    answer = ask(PATH, Accept="application/pdf")
    assert answer.status_code == 200
    assert "#strong[x]" in _text(answer)


def test_a_form_that_is_not_offered_is_rejected(ask: Ask):
    answer = ask(PATH, Accept="image/png")
    assert (answer.status_code, answer.json["code"]) == (406, "not_acceptable")
    assert ask(f"{PATH}?limit=3").json["code"] == "schema_violated"
    mixed = ask(f"{PATH}?from=2026-01-01&to=2026-02-01T00:00:00Z")
    assert mixed.status_code == 400


def test_an_empty_account_has_an_empty_statement(told: Told, ask: Ask):
    statement = told(f"{PATH}?from=2020-01-01&to=2020-02-01&timeZone={ZONE}", "bob")
    assert statement["lines"] == []
    assert statement["closing"]["at"] == "2020-01-31T22:59:59.999999+00:00"
    assert set(statement["closing"].values()) == {0, statement["closing"]["at"]}
    rows = ask(PATH, "bob", Accept="text/csv").get_data(as_text=True).splitlines()
    assert len(rows) == 1
    assert "There are no entries" in _text(ask(PATH, "bob", Accept="application/pdf"))


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati", ZONE])
@pytest.mark.parametrize("form", ["application/json", "text/csv", XLSX, "application/pdf"])
def test_a_statement_without_a_begin_is_told_in_every_zone(ask: Ask, zone: str, form: str):
    """Its opening balance is of the year 1, which has no local time in the west."""
    for period in ("", "from=0001-01-01T00:00:01Z&", "to=0001-01-01T00:00:01Z&"):
        answer = ask(f"{PATH}?{period}timeZone={zone}", "bob", Accept=form)
        assert answer.status_code == 200, period


def test_days_of_23_and_25_hours_end_at_local_midnight(told: Told):
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
        after = f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}"
        statement = told(f"{PATH}?from={day}&to={after}&timeZone={ZONE}")
        begin, end = (datetime.fromisoformat(statement[x]["at"]) for x in ("opening", "closing"))
        assert end - begin == timedelta(hours=hours)


def _text(answer: TestResponse) -> str:
    reader = pypdf.PdfReader(io.BytesIO(answer.data))
    return " ".join(" ".join(page.extract_text().split()) for page in reader.pages)
