"""XLSX (ECMA-376), written straight into the stream: a ZIP file whose sheets grow row by row.

Numbers are numbers. Texts, ids and times (ISO 8601 with their offset) are texts, whatever they begin
with: never formulas, links or dates. Times stay texts because a spreadsheet's dates have no zone: an hour
that an autumn night has twice would be one. A sheet that is full continues in another: `lines`, `lines 2`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from xml.sax.saxutils import escape, quoteattr
from zipfile import ZIP_DEFLATED, ZipFile

from origin.web.tables.table import Cell, Table, time_text

MAX_ROWS = 1_048_576
"""Rows of a sheet, the header included. No spreadsheet reads more."""
MAX_TEXT_LENGTH = 32_767
"""Characters of a cell. No spreadsheet reads more."""

_MAX_SHEET_LENGTH = 2**29
"""Characters of a sheet's XML, of 4 bytes at most. From 2 GiB on, a ZIP file needs extensions that not all
readers know."""
_CHUNK_BYTES = 16 * 1024
_COMPRESSION = 1
"""The fastest. The best would make a file a third smaller, in thrice the time."""
_TEXT, _HEADER = 1, 2
"""Formats, by their place in `_STYLES`."""

_UNFIT = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML can't hold, and underscores that would begin an escape."""

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"

_ROOT = (
    f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/>'
    "</Relationships>"
)
# Number format 49 is "text": an edited cell stays one.
_STYLES = (
    f'{_XML}<styleSheet xmlns="{_MAIN}">'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"'
    ' applyFont="1"/></cellXfs><cellStyles count="1">'
    '<cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
_WORKBOOK = (
    f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{{}}</sheets></workbook>'
)
_WORKBOOK_RELATIONS = (
    f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{{}}'
    f'<Relationship Id="rId0" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>'
)
_CONTENT_TYPES = (
    f'{_XML}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels"'
    ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>{{}}</Types>'
)
_SHEET_BEGIN = (
    f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    "</sheetView></sheetViews>"
    '<cols><col min="1" max="{columns}" width="24" customWidth="1"/></cols><sheetData>'
)
_SHEET_END = "</sheetData></worksheet>"


def xlsx_chunks(tables: Iterable[Table]) -> Iterator[bytes]:
    """Yield an XLSX file in chunks, with a sheet or more for each table.

    :raises ValueError: A text is longer than `MAX_TEXT_LENGTH`.
    """
    sink, names = _Sink(), list[str]()
    with ZipFile(sink, "w", ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:  # type: ignore[call-overload] # it takes whatever can be written
        for path, text in (("_rels/.rels", _ROOT), ("xl/styles.xml", _STYLES)):
            _add(archive, path, text)
        for name, sheet in _sheets(tables):
            names.append(name)
            with archive.open(f"xl/worksheets/sheet{len(names)}.xml", "w") as member:
                for part in sheet:
                    member.write(part.encode())
                    yield from sink.taken(_CHUNK_BYTES)
        for path, text in _contents(names):
            _add(archive, path, text)
    yield from sink.taken()


class _Sink:
    """What the ZIP file is written to. It keeps the bytes until they are taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        self._size += len(part)
        return len(part)

    def flush(self) -> None:
        """Do nothing; zipfile asks for it."""

    def taken(self, least: int = 1) -> Iterator[bytes]:
        """Yield the bytes, if they are as many."""
        if self._size >= least:
            whole = b"".join(self._parts)
            self._parts, self._size = [], 0
            yield whole


def _add(archive: ZipFile, path: str, text: str) -> None:
    with archive.open(path, "w") as member:
        member.write(text.encode())


def _sheets(tables: Iterable[Table]) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the name and the XML of each sheet. Read each sheet whole before the next."""
    for table in tables:
        with closing(table):
            rows = iter(table.rows)
            yield table.name, _sheet(table.columns, rows)
            number = 1
            while (ahead := next(rows, None)) is not None:
                rows, number = chain([ahead], rows), number + 1
                yield f"{table.name} {number}", _sheet(table.columns, rows)


def _sheet(columns: Sequence[str], rows: Iterator[Sequence[Cell]]) -> Iterator[str]:
    """Yield the XML of a sheet, which takes rows until it is full."""
    letters = [_letters(place) for place in range(len(columns))]
    yield _SHEET_BEGIN.format(columns=len(columns))
    yield _row(1, letters, columns, _HEADER)
    size = 0
    for number, values in enumerate(islice(rows, MAX_ROWS - 1), start=2):
        row = _row(number, letters, values, _TEXT)
        yield row
        size += len(row)
        if size >= _MAX_SHEET_LENGTH:
            break
    yield _SHEET_END


def _letters(place: int) -> str:
    """Return a column's name, of which the first is A, and the one after Z is AA."""
    before, letter = divmod(place, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + letter)


def _row(number: int, letters: Sequence[str], values: Iterable[Cell], style: int) -> str:
    cells = (
        _cell(f"{letter}{number}", value, style)
        for letter, value in zip(letters, values, strict=True)
        if value is not None
    )
    return f'<row r="{number}">{"".join(cells)}</row>'


def _cell(place: str, value: Cell, style: int) -> str:
    if isinstance(value, int):
        return f'<c r="{place}"><v>{value}</v></c>'
    if isinstance(value, Decimal):
        return f'<c r="{place}"><v>{value:f}</v></c>'
    text = time_text(value) if isinstance(value, datetime) else str(value)
    return (
        f'<c r="{place}" s="{style}" t="inlineStr">'
        f'<is><t xml:space="preserve">{_escaped(text)}</t></is></c>'
    )


def _escaped(text: str) -> str:
    """Return the text as a cell's XML. What XML can't hold is written as `_xHHHH_` (ST_Xstring).

    :raises ValueError: It is longer than `MAX_TEXT_LENGTH`.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError("A text is longer than a cell may be")
    return escape(_UNFIT.sub(lambda found: f"_x{ord(found[0]):04X}_", text))


def _contents(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of the members that list the sheets."""
    sheets, relations, types = [], [], []
    for number, name in enumerate(names, start=1):
        sheets.append(f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>')
        relations.append(
            f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet"'
            f' Target="worksheets/sheet{number}.xml"/>'
        )
        types.append(
            f'<Override PartName="/xl/worksheets/sheet{number}.xml"'
            f' ContentType="{_TYPES}.worksheet+xml"/>'
        )
    yield "xl/workbook.xml", _WORKBOOK.format("".join(sheets))
    yield "xl/_rels/workbook.xml.rels", _WORKBOOK_RELATIONS.format("".join(relations))
    yield "[Content_Types].xml", _CONTENT_TYPES.format("".join(types))
