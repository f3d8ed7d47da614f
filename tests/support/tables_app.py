"""An app that gunicorn can serve: tables of any length, which may fail on the way."""

import os
from collections.abc import Iterator

from flask import Flask, Response, request

from origin.web.tables import CSV, XLSX, Cell, Table, table_response

app = Flask(__name__)


def _rows(number: int, fails_at: int | None) -> Iterator[list[Cell]]:
    for each in range(number):
        if each == fails_at:
            raise LookupError("no row")
        yield [each, f"{each**30}"]


@app.get("/alive")
def alive() -> str:
    """Answer with the process's id."""
    return str(os.getpid())


@app.get("/table")
def table() -> Response:
    """Answer with `rows` rows, which fail at the row `fails` if it is given."""
    rows = _rows(int(request.args["rows"]), request.args.get("fails", type=int))
    form = XLSX if request.args["form"] == "xlsx" else CSV
    return table_response(form, "table.x", [Table("rows", ["number", "text"], rows)])
