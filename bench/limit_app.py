"""The limit app: views that give the service's answers with as little work as possible.

They check no tokens and no input. The app runs on gunicorn with gevent like the service
(`bench.gunicorn_conf`), on the same PostgreSQL by psycopg2 with psycogreen. orjson or PostgreSQL makes
the JSON, whichever is cheaper.
"""

import base64
import hmac
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from queue import LifoQueue
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import orjson
import psycopg2
from flask import Flask, Response, request

from bench import workload
from origin.balances.queries import entries
from origin.balances.queries.balances import Account
from origin.balances.rules.entries import EntryFilters
from origin.operations.queries import operations
from origin.operations.queries.operations import OperationFilter
from origin.shared.periods import EARLIEST, LATEST

_CONNECTIONS = 10
_SECRET = os.environ.get("BENCH_WEBHOOK_SECRET", "").encode()

app = Flask(__name__)
_free: LifoQueue[psycopg2.extensions.connection | None] = LifoQueue()
for _ in range(_CONNECTIONS):
    _free.put(None)


@contextmanager
def _connection() -> Iterator[psycopg2.extensions.connection]:
    connection = _free.get()
    try:
        if connection is None:
            connection = psycopg2.connect(os.environ["BENCH_DATABASE_URI"])
            connection.autocommit = True
        yield connection
    finally:
        _free.put(connection)


def _rows(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with _connection() as connection, connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def _json(body: bytes) -> Response:
    return Response(body, mimetype="application/json")


def _values() -> dict[str, Any]:
    asked: dict[str, Any] = orjson.loads(request.get_data())
    return asked


@app.route("/hello", methods=["GET", "POST"])
def hello() -> Response:
    """Answer with a constant."""
    return _json(orjson.dumps({"hello": "world"}))


@app.post("/page")
def page() -> Response:
    """Answer with a page of GGOs."""
    ((results,),) = _rows(workload.PAGE, _values())
    return _json(b'{"success":true,"results":%s}' % results.encode())


@app.post("/year")
def year() -> Response:
    """Answer with all GGOs of a year and their number."""
    ((results,),) = _rows(workload.YEAR, _values())
    return _json(b'{"success":true,"total":8760,"results":%s}' % results.encode())


@app.post("/page-and-total")
def page_and_total() -> Response:
    """Answer with a page of GGOs and the number of all that match."""
    values = _values()
    ((results,),) = _rows(workload.PAGE, values)
    ((total,),) = _rows(workload.COUNT, values)
    return _json(b'{"success":true,"total":%d,"results":%s}' % (total, results.encode()))


@app.post("/sum/<name>")
def sums(name: str) -> Response:
    """Answer with the rows of a sum."""
    rows = _rows(workload.PLAIN[name], _values())
    return _json(orjson.dumps([[*row[:-1], int(row[-1] or 0)] for row in rows]))


def _recorded(read: Callable[[Any], object]) -> tuple[str, dict[str, Any]]:
    """Return the statement and the values that one of the service's queries executes."""
    database = Mock()
    database.query.return_value = database.prepared.return_value = []
    read(database)
    [call] = database.query.mock_calls + database.prepared.mock_calls
    sql, values = call.args
    return sql, values


_TRADER = 3
_LIMIT = 101
_OPERATION = _recorded(lambda database: operations.get(database, UUID(int=0), _TRADER))
_OPERATIONS = _recorded(
    lambda database: operations.page(
        database, _TRADER, OperationFilter([], [], EARLIEST, LATEST, None), None, _LIMIT - 1
    )
)
_ENTRIES = _recorded(
    lambda database: entries.entries(
        database,
        Account(_TRADER, None),
        datetime.now(UTC),
        EntryFilters(EARLIEST, LATEST),
        None,
        _LIMIT,
        ledger_enabled=True,
    )
)


@app.post("/operation")
def operation() -> Response:
    """Answer with an operation."""
    sql, values = _OPERATION
    ((*_, document, _),) = _rows(sql, {**values, **_values()})
    return _json(document.encode())


@app.post("/operations")
def operation_page() -> Response:
    """Answer with a page of operations."""
    sql, values = _OPERATIONS
    rows = _rows(sql, {**values, **_values()})[: _LIMIT - 1]
    return _json(b'{"results":[%s]}' % ",".join(row[-2] for row in rows).encode())


_ENTRY = ("kind", "amount", "from", "to")
_GGO = ("address", "begin", "end", "sector", "technology")
_REST = ("operation", "counterpart", "reference")


@app.post("/entries")
def entry_page() -> Response:
    """Answer with a page of entries."""
    sql, values = _ENTRIES
    shown = [
        {
            "at": row[0],
            **dict(zip(_ENTRY, row[5:9], strict=True)),
            "ggo": dict(zip(_GGO, row[9:14], strict=True)),
            **dict(zip(_REST, row[14:], strict=True)),
        }
        for row in _rows(sql, {**values, **_values()})[: _LIMIT - 1]
    ]
    return _json(orjson.dumps({"results": shown}, default=int))


@app.post("/ggo-issued")
def ggo_issued() -> Response:
    """Check the signature and insert the GGO."""
    body = request.get_data()
    signature = base64.b64encode(hmac.digest(_SECRET, body, sha256)).decode()
    assert hmac.compare_digest(request.headers["x-hub-signature"], f"sha256={signature}")
    event = orjson.loads(body)
    ggo = event["ggo"]
    with _connection() as connection, connection.cursor() as cursor:
        cursor.execute(
            workload.INSERT_ISSUED,
            {**ggo, "sub": event["sub"], "emissions": orjson.dumps(ggo["emissions"]).decode()},
        )
    return _json(b'{"success":true}')


@app.post("/compose")
def compose() -> Response:
    """Lock the source, mark it as split, and insert both parts and the batch in one transaction."""
    asked = _values()
    [transfer] = asked["transfers"]
    with _connection() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(workload.LOCK_SOURCE, asked)
        ((source, owner, amount),) = cursor.fetchall()
        parts = {
            "source": source,
            "owner": owner,
            "to": transfer["account"],
            "sent": transfer["amount"],
            "kept": amount - transfer["amount"],
            "first": f"849c0b{uuid.uuid4().hex}",
            "second": f"849c0b{uuid.uuid4().hex}",
        }
        cursor.execute(workload.SPLIT_SOURCE, parts)
        cursor.execute(workload.INSERT_PARTS, parts)
        cursor.execute(workload.INSERT_BATCH, parts)
        cursor.execute("COMMIT")
    return _json(b'{"success":true,"message":null}')
