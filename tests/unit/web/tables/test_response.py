"""Tables as responses."""

import csv
import io
from collections.abc import Iterator

import openpyxl
import pytest
from flask import Flask, Response

from origin.web.tables import CSV, XLSX, Cell, Table, table_response

_MANY = 20_000


class _Rows:
    """Rows that fail at one of them, and know how far they were read and whether they were closed."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.read, self.closed, self._fails_at = 0, False, fails_at

    def all(self) -> Iterator[list[Cell]]:
        try:
            for number in range(_MANY):
                if number == self._fails_at:
                    raise LookupError(number)
                self.read = number + 1
                yield [number, f"{number**30}"]
        finally:
            self.closed = True


def _served(rows: _Rows, form: str) -> Flask:
    app = Flask(__name__)
    app.testing = True

    @app.get("/table")
    def table() -> Response:
        return table_response(form, "lines.x", [Table("lines", ["number", "text"], rows.all())])

    return app


@pytest.mark.parametrize("form", [CSV, XLSX])
def test_a_table_is_a_file(form: str):
    found = _served(_Rows(), form).test_client().get("/table")
    assert found.content_type.partition(";")[0] == form
    assert found.headers["Content-Disposition"] == 'attachment; filename="lines.x"'
    assert found.headers["Cache-Control"] == "no-store"
    if form == CSV:
        assert found.content_type == "text/csv; charset=utf-8"
        rows = list(csv.reader(io.StringIO(found.text, newline="")))
    else:
        rows = list(openpyxl.load_workbook(io.BytesIO(found.data), read_only=True)["lines"].rows)
    assert len(rows) == _MANY + 1


def test_csv_has_room_for_one_table():
    tables = [Table("a", ["x"], []), Table("b", ["x"], [])]
    with pytest.raises(ValueError, match="too many"):
        table_response(CSV, "lines.csv", tables)


@pytest.mark.parametrize("form", [CSV, XLSX])
def test_a_response_is_streamed(form: str):
    rows = _Rows()
    with _served(rows, form).test_client().get("/table", buffered=False) as found:
        next(iter(found.response))
        assert 0 < rows.read < _MANY / 10
    assert rows.closed
    assert rows.read < _MANY / 10


@pytest.mark.parametrize("form", [CSV, XLSX])
def test_an_error_among_the_first_rows_is_raised_before_the_response(form: str):
    with pytest.raises(LookupError), _served(_Rows(2), form).test_request_context():
        table_response(form, "lines.x", [Table("lines", ["number", "text"], _Rows(2).all())])


@pytest.mark.parametrize("form", [CSV, XLSX])
def test_a_later_error_breaks_the_response_off(form: str):
    rows = _Rows(_MANY - 1)
    with _served(rows, form).test_client().get("/table", buffered=False) as found:
        assert found.status_code == 200
        with pytest.raises(LookupError):
            list(found.response)
    assert rows.closed


@pytest.mark.parametrize("form", [CSV, XLSX])
def test_a_head_request_reads_no_further(form: str):
    rows = _Rows()
    assert _served(rows, form).test_client().head("/table").data == b""
    assert rows.closed
    assert rows.read < _MANY / 10
