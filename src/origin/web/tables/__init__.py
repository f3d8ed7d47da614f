"""Answers as tables: CSV and XLSX, streamed (decision 46).

A view gives the names of the columns and an iterable of rows. Nothing is kept but the rows that are being
written, and no file is made:

    lines = Table("lines", COLUMNS, rows)
    return table_response(CSV, "account-statement.csv", [lines])

`csv_text` and `xlsx` say how they write each kind of value.
"""

from origin.web.tables.response import CSV, FORMS, XLSX, table_response
from origin.web.tables.table import Cell, Table

__all__ = ["CSV", "FORMS", "XLSX", "Cell", "Table", "table_response"]
