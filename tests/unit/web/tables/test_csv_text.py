"""CSV: what a reader gets back, and what a spreadsheet must not take for a formula."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.web.tables import Table
from origin.web.tables.csv_text import csv_chunks, harmless

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def _written(columns: list[str], *rows: list[object]) -> bytes:
    return b"".join(csv_chunks(Table("lines", columns, rows)))  # type: ignore[arg-type] # also wrong ones


def _read(raw: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))


def test_a_header_and_rows_end_with_crlf():
    assert _written(["a", "b"], ["x", 1], [None, -2]) == b"a,b\r\nx,1\r\n,-2\r\n"


def test_a_table_without_rows_is_its_header():
    assert _written(["a", "b"]) == b"a,b\r\n"


def test_commas_quotes_and_breaks_are_quoted():
    assert _written(["a"], ['x, "y"\r\nz']) == b'a\r\n"x, ""y""\r\nz"\r\n'


def test_texts_are_utf_8_without_a_byte_order_mark():
    assert _written(["ø"], ["Ørsted €"]) == "ø\r\nØrsted €\r\n".encode()


def test_numbers_are_written_in_full():
    row = [2**63 - 1, Decimal("0.71340"), Decimal("1E-7"), Decimal("1E+3")]
    assert _read(_written(list("abcd"), row))[1] == [
        "9223372036854775807", "0.71340", "0.0000001", "1000",
    ]  # fmt: skip


def test_times_have_their_offset():
    time = datetime(2026, 10, 25, 0, 30, 0, 5, tzinfo=UTC)
    local = time.astimezone(ZoneInfo("Europe/Copenhagen"))
    assert _read(_written(["at", "atLocal"], [time, local]))[1] == [
        "2026-10-25T00:30:00.000005+00:00",
        "2026-10-25T02:30:00.000005+02:00",
    ]


def test_a_time_without_offset_is_an_error():
    with pytest.raises(ValueError, match="offset"):
        _written(["at"], [datetime(2026, 1, 1)])  # noqa: DTZ001


def test_an_id_is_a_text():
    assert _written(["id"], [UUID(int=1)]) == b"id\r\n00000000-0000-0000-0000-000000000001\r\n"


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "＝1", "＋1", "－1", "＠a", "\tx"],  # noqa: RUF001
)  # fmt: skip
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(text: str):
    assert _read(_written(["a"], [text])) == [["a"], [f"'{text}"]]


@pytest.mark.parametrize("text", ["", "a=1", "PPA 7", "1-2", "'=1", "571313180400000012", " x"])
def test_other_texts_stay_as_they_are(text: str):
    assert harmless(text) == text


def test_negative_numbers_get_no_apostrophe():
    assert _written(["a", "b"], [-5, Decimal("-0.5")]) == b"a,b\r\n-5,-0.5\r\n"


@given(st.lists(st.tuples(_TEXTS, st.integers()), max_size=5))
def test_a_reader_gets_back_what_was_written(rows: list[tuple[str, int]]):
    written = _written(["a", "b"], *map(list, rows))
    assert _read(written)[1:] == [[harmless(text), str(number)] for text, number in rows]


def test_rows_are_read_as_chunks_are_taken():
    read = []

    def rows():
        for number in range(100_000):
            read.append(number)
            yield ["x" * 1000]

    chunks = csv_chunks(Table("lines", ["a"], rows()))
    assert len(next(chunks)) < 100_000
    assert len(read) < 100


def test_the_rows_are_closed_when_the_reader_leaves():
    closed = []

    def rows():
        try:
            while True:
                yield ["x" * 1000]
        finally:
            closed.append(True)

    table = Table("lines", ["a"], rows())
    chunks = csv_chunks(table)
    next(chunks)
    chunks.close()  # type: ignore[attr-defined] # it is a generator
    assert closed
