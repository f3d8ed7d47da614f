"""Tables as responses to a request."""

import time
from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from typing import Any, cast

from flask import Response

from origin.web.tables.csv_text import csv_chunks
from origin.web.tables.table import Table
from origin.web.tables.xlsx import xlsx_chunks

CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

FORMS: dict[str, Any] = {
    CSV: {"schema": {"type": "string"}},
    XLSX: {"schema": {"type": "string", "format": "binary"}},
}
"""The `content` of both in an OpenAPI response."""


def table_response(form: str, file_name: str, tables: Sequence[Table]) -> Response:
    """Return tables as a file that is streamed.

    The first rows are read now: an error among them is answered like any other. A later one breaks the
    response off, so that the client sees that it is not whole. The rows are read outside the app's
    context.

    :param form: `CSV`, which has room for one table, or `XLSX`.
    :param file_name: In ASCII.
    """
    [chunks] = [csv_chunks(each) for each in tables] if form == CSV else [xlsx_chunks(tables)]
    response = streamed(chunks, form)
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return response


def streamed(chunks: Iterator[bytes], media_type: str) -> Response:
    """Return a response that is sent while it is made. What holds for `table_response` holds here.

    :param chunks: A generator. It is closed once it isn't read any more.
    """
    first = next(chunks)
    response = Response(chain([first], _in_turns(chunks)), mimetype=media_type)
    # Also if the client leaves early.
    response.call_on_close(cast("Generator[bytes]", chunks).close)
    response.cache_control.no_store = True
    return response


def _in_turns(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks, and let other requests continue between them."""
    for chunk in chunks:
        yield chunk
        time.sleep(0)
