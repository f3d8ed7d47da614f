"""The yardstick: a view that runs the same query by psycopg2 and returns the JSON it gets.

No token, no checks, no framework but Flask. Run by gunicorn with gevent, as the service is.
"""

import os
from queue import LifoQueue

import psycopg2
from flask import Flask, Response, request

from bench.questions import COUNT, PAGE, year_ends

_CONNECTIONS = 10

app = Flask(__name__)
_free: LifoQueue[psycopg2.extensions.connection | None] = LifoQueue()
for _ in range(_CONNECTIONS):
    _free.put(None)


def _connect() -> psycopg2.extensions.connection:
    connection = psycopg2.connect(os.environ["BENCH_DATABASE_URI"])
    connection.autocommit = True
    return connection


@app.get("/ready")
def ready() -> Response:
    """Tell that it runs."""
    return Response("{}", mimetype="application/json")


@app.post("/page")
def page() -> Response:
    """The page alone."""
    return _answer(counted=False)


@app.post("/page-and-total")
def page_and_total() -> Response:
    """The page, and how many match in all."""
    return _answer(counted=True)


def _answer(*, counted: bool) -> Response:
    asked = request.get_json()
    values = {"owner": asked["owner"], **year_ends(asked["year"])}
    connection = _free.get() or _connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(PAGE, values)
            ((results,),) = cursor.fetchall()
            total = 0
            if counted:
                cursor.execute(COUNT, values)
                ((total,),) = cursor.fetchall()
    finally:
        _free.put(connection)
    body = f'{{"success":true,"total":{total},"results":{results}}}'
    return Response(body, mimetype="application/json")
