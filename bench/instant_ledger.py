"""A ledger that commits every batch at once, unchecked, to measure the cost of a worker alone."""

import sys
from typing import Any

import orjson
from gevent.pywsgi import WSGIServer


def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer `POST /batches` and questions about statuses."""
    body: dict[str, Any]
    if environ["PATH_INFO"] == "/batches":
        status, body = "202 Accepted", {"link": "/batch_statuses"}
    else:
        asked = environ["QUERY_STRING"].removeprefix("id=").replace("%2C", ",").split(",")
        if environ["REQUEST_METHOD"] == "POST":
            asked = orjson.loads(environ["wsgi.input"].read())
        status = "200 OK"
        body = {"data": [{"id": each, "status": "COMMITTED"} for each in asked]}
    start_response(status, [("Content-Type", "application/json")])
    return [orjson.dumps(body)]


if __name__ == "__main__":
    WSGIServer(("127.0.0.1", int(sys.argv[1])), answer, log=None).serve_forever()
