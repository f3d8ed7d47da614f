"""XLSX, as openpyxl and a bare XML parser read it."""

import io
import tracemalloc
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils import get_column_letter
from openpyxl.utils.escape import unescape

from origin.web.tables import Cell, Table, xlsx
from origin.web.tables.xlsx import MAX_TEXT_LENGTH, xlsx_chunks

_NAMESPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def _file(*tables: Table) -> io.BytesIO:
    return io.BytesIO(b"".join(xlsx_chunks(tables)))


def _table(*rows: Sequence[Cell], columns: Sequence[str] = ("a",), name: str = "lines") -> Table:
    return Table(name, columns, rows)


def _rows(sheet: Any) -> list[tuple[Any, ...]]:
    return list(sheet.iter_rows(values_only=True))


def test_sheets_have_a_header_and_rows():
    book = openpyxl.load_workbook(
        _file(
            _table(["x", 1], [None, -2], columns=["name", "value"]),
            _table(columns=["b"], name="totals"),
        )
    )
    assert book.sheetnames == ["lines", "totals"]
    assert _rows(book["lines"]) == [("name", "value"), ("x", 1), (None, -2)]
    assert _rows(book["totals"]) == [("b",)]
    assert book["lines"].freeze_panes == "A2"


@pytest.mark.filterwarnings("error")
def test_a_strict_reader_warns_of_nothing():
    openpyxl.load_workbook(_file(_table(["x"])))


def test_numbers_are_numbers_as_they_were_written():
    raw = zipfile.ZipFile(_file(_table([2**63 - 1], [Decimal("0.71340")], [Decimal("1E-7")])))
    sheet = ET.fromstring(raw.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - our own
    cells = list(sheet.iter(f"{_NAMESPACE}c"))[1:]
    assert [cell.findtext(f"{_NAMESPACE}v") for cell in cells] == [
        "9223372036854775807", "0.71340", "0.0000001",
    ]  # fmt: skip
    assert {cell.get("t") for cell in cells} == {None}


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "@a", "https://example.org", "571313", "1.5", "TRUE"]
)
def test_a_text_is_a_text_whatever_it_looks_like(text: str):
    cell = openpyxl.load_workbook(_file(_table([text])))["lines"]["A2"]
    assert (cell.value, cell.data_type, cell.hyperlink) == (text, "s", None)
    # Number format "text": it stays one when its cell is edited.
    assert cell.number_format == "@"


def test_a_file_has_no_formula_link_or_macro():
    archive = zipfile.ZipFile(_file(_table(["=1"], ["https://example.org"])))
    assert sorted(archive.namelist()) == [
        "[Content_Types].xml", "_rels/.rels", "xl/_rels/workbook.xml.rels", "xl/styles.xml",
        "xl/workbook.xml", "xl/worksheets/sheet1.xml",
    ]  # fmt: skip
    sheet = ET.fromstring(archive.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - our own
    assert not {"f", "hyperlink"} & {each.tag.removeprefix(_NAMESPACE) for each in sheet.iter()}


def test_times_and_ids_are_texts():
    row = [datetime(2026, 3, 1, tzinfo=UTC), UUID(int=1)]
    book = openpyxl.load_workbook(_file(_table(row, columns=["at", "id"])))
    assert _rows(book["lines"])[1] == (
        "2026-03-01T00:00:00+00:00",
        "00000000-0000-0000-0000-000000000001",
    )


def test_a_time_without_offset_is_an_error():
    with pytest.raises(ValueError, match="offset"):
        _file(_table([datetime(2026, 1, 1)]))  # noqa: DTZ001


@given(st.text())
def test_a_reader_gets_back_every_text(text: str):
    value = openpyxl.load_workbook(_file(_table([text])))["lines"]["A2"].value
    assert unescape(value or "").replace("_x005F_", "_") == text


def test_a_text_longer_than_a_cell_is_an_error():
    longest = "x" * MAX_TEXT_LENGTH
    assert openpyxl.load_workbook(_file(_table([longest])))["lines"]["A2"].value == longest
    with pytest.raises(ValueError, match="longer"):
        _file(_table([longest + "x"]))


@pytest.mark.parametrize("limit", ["MAX_ROWS", "_MAX_SHEET_LENGTH"])
def test_a_full_sheet_continues_in_another(limit: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(xlsx, limit, 3 if limit == "MAX_ROWS" else 150)
    book = openpyxl.load_workbook(_file(_table(*([number] for number in range(5)))))
    found = [_rows(book[name]) for name in book.sheetnames]
    assert all(rows[0] == ("a",) for rows in found)
    assert [value for rows in found for (value,) in rows[1:]] == list(range(5))
    if limit == "MAX_ROWS":
        assert book.sheetnames == ["lines", "lines 2", "lines 3"]


def test_a_sheet_that_is_just_full_has_no_other_behind_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(xlsx, "MAX_ROWS", 3)
    assert openpyxl.load_workbook(_file(_table([1], [2]))).sheetnames == ["lines"]


def test_columns_have_the_names_of_a_spreadsheet():
    columns = [get_column_letter(number) for number in range(1, 800)]
    sheet = openpyxl.load_workbook(_file(_table(columns=columns)))["lines"]
    assert all(sheet[f"{name}1"].value == name for name in columns)


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        _file(_table([1], columns=["a", "b"]))


def test_the_same_rows_make_the_same_bytes():
    assert _file(_table(["x"])).getvalue() == _file(_table(["x"])).getvalue()


def _many(number: int) -> Iterable[list[Cell]]:
    return ([f"{each:010d}" * 50] for each in range(number))


def test_memory_does_not_grow_with_the_rows():
    tracemalloc.start()
    try:
        size = sum(map(len, xlsx_chunks([Table("lines", ["a"], _many(10_000))])))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Its XML has 5 MB.
    assert size > 100_000
    assert peak < 1_000_000


def test_the_rows_are_closed_when_the_reader_leaves():
    closed = []

    def rows():
        try:
            for number in range(100_000):
                yield [f"{number**50}"]
        finally:
            closed.append(number)

    chunks = xlsx_chunks([Table("lines", ["a"], rows())])
    next(chunks)
    chunks.close()  # type: ignore[attr-defined] # it is a generator
    assert closed[0] < 99_999
