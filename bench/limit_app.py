"""The limit app: views that give the service's answers with as little work as possible.

They check no tokens and no input. The app runs on gunicorn with gevent like the service
(`bench.gunicorn_conf`), on the same PostgreSQL by psycopg2 with psycogreen. orjson or PostgreSQL makes
the JSON, whichever is cheaper.
"""

import base64
import hmac
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from queue import LifoQueue
from typing import Any, cast

import orjson
import psycopg2
from flask import Flask, Response, request
from psycopg2.errors import InvalidSqlStatementName
from psycopg2.extras import RealDictCursor

from bench import orders, workload
from origin.db.raw_connections import prepare

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


def _prepared_rows(sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a statement that each connection prepares once, as the service does."""
    statement = prepare(sql)
    with _connection() as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        try:
            cursor.execute(statement.execute, values)
        except InvalidSqlStatementName:
            cursor.execute(statement.prepare)
            cursor.execute(statement.execute, values)
        return cast("list[dict[str, Any]]", cursor.fetchall())


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


_OPERATION, _OPERATIONS, _ENTRIES = orders.operation(), orders.operations(), orders.entries()


@app.post("/operation")
def operation() -> Response:
    """Answer with an operation."""
    sql, values = _OPERATION
    [row] = _prepared_rows(sql, {**values, **_values()})
    return _json(row["row_to_json"].encode())


@app.post("/operations")
def operations() -> Response:
    """Answer with a page of operations."""
    sql, values = _OPERATIONS
    rows = _prepared_rows(sql, {**values, **_values()})
    documents = ",".join(row["row_to_json"] for row in rows[: orders.PAGE])
    return _json(b'{"results":[%s],"nextCursor":null}' % documents.encode())


@app.post("/entries")
def entries() -> Response:
    """Answer with a page of entries."""
    sql, values = _ENTRIES
    rows = _prepared_rows(sql, {**values, **_values()})
    return _json(orjson.dumps({"results": rows[: orders.PAGE], "nextCursor": None}))


@app.post("/balances")
def balances() -> Response:
    """Answer with the amounts of a balance."""
    [row] = _rows(orders.BALANCES, _values())
    return _json(orjson.dumps([int(amount or 0) for amount in row]))


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
