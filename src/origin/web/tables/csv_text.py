"""CSV by RFC 4180: UTF-8, a header, CRLF, quotes where they are needed.

Numbers are written in full, times in ISO 8601 with their offset, None as an empty cell. A spreadsheet
takes a text that begins like a formula for one. An apostrophe before it prevents that.
"""

import csv
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from io import StringIO
from itertools import chain
from typing import Any

from origin.web.tables.table import Cell, Table, time_text

_CHUNK_CHARACTERS = 32 * 1024
# Some spreadsheets take the full-width signs, too.
_FORMULA_BEGINS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_BREAKS = frozenset("\t\r\n")


def csv_chunks(table: Table) -> Iterator[bytes]:
    """Yield the table's CSV in chunks, the header with the first rows."""
    buffer = StringIO(newline="")
    write = csv.writer(buffer, lineterminator="\r\n").writerow
    with closing(table):
        for row in chain([table.columns], table.rows):
            write([_written(value) for value in row])
            if buffer.tell() >= _CHUNK_CHARACTERS:
                yield _taken(buffer)
        yield _taken(buffer)


def harmless(text: str) -> str:
    """Return the text, with an apostrophe before it if a spreadsheet could take it for a formula.

    Spreadsheets skip blanks before a formula.
    """
    begins_so = text.lstrip()[:1] in _FORMULA_BEGINS or text[:1] in _BREAKS
    return f"'{text}" if begins_so else text


def _written(value: Cell) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, datetime):
        return time_text(value)
    # Without an exponent.
    return f"{value:f}" if isinstance(value, Decimal) else value


def _taken(buffer: StringIO) -> bytes:
    """Return what the buffer holds, and empty it."""
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
