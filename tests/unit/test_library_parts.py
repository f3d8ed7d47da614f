"""Every private or undocumented part of a library that the code uses, as it must be.

doc/decisions/0024-private-parts-of-libraries.md lists the parts. A failure here names the part that
is gone or has another shape, and the file that relies on it. Change that file before the pin in Pipfile.
"""

import http.client
import importlib
import inspect
import io
import re
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gevent
import pytest
import requests
import urllib3
from celery import Celery
from celery.apps.beat import Beat
from celery.beat import Scheduler, Service
from celery.worker.consumer import Consumer
from flask import Flask
from flask_smorest import Api, Blueprint
from gevent.event import Event
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker
from kombu.transport.redis import Channel
from marshmallow import Schema
from opencensus.ext.azure.common import utils as azure_utils
from opencensus.ext.azure.log_exporter import AzureLogHandler
from requests.adapters import HTTPAdapter
from sqlalchemy import QueuePool
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from urllib3.connection import HTTPConnection

from devstack.processes import ROOT
from origin.batches.client import sdk

RECORD = "doc/decisions/0024-private-parts-of-libraries.md"


def _part(module: str, name: str, used_in: str) -> Any:
    """Return what the module calls so."""
    part = getattr(importlib.import_module(module), name, None)
    assert part, f"{module} has no `{name}` any more ({used_in})"
    return part


def _takes(function: Callable[..., Any], *names: str) -> bool:
    """Return whether the function has exactly these parameters, `self` left out."""
    return [name for name in inspect.signature(function).parameters if name != "self"] == [*names]


def _says(function: Callable[..., Any], *texts: str) -> bool:
    """Return whether the function's source contains each of these texts."""
    source = inspect.getsource(function)
    return all(text in source for text in texts)


# The record and the pins


def test_the_record_names_each_test():
    recorded = set(re.findall(r"`(test_\w+)`", (ROOT / RECORD).read_text()))
    here = {name for name in globals() if name.startswith("test_")}
    bookkeeping = {"test_the_record_names_each_test", "test_pipfile_pins_each_library"}
    assert recorded == here - bookkeeping, f"{RECORD} and this file list different tests"


def test_pipfile_pins_each_library():
    pins = {
        name: spec if isinstance(spec, str) else spec["version"]
        for name, spec in tomllib.loads((ROOT / "Pipfile").read_text())["packages"].items()
    }
    named = re.findall(
        r"^\| ([a-z0-9-]+) `(==[\d.*]+)` \|", (ROOT / RECORD).read_text(), re.MULTILINE
    )
    assert len(named) >= 10, f"{RECORD} has no table of libraries and pins any more"
    for name, pin in named:
        assert pins.get(name) == pin, f"{RECORD} says {name} {pin}, Pipfile says {pins.get(name)}"
        fixed = pin.removeprefix("==").removesuffix("*")
        assert version(name).startswith(fixed), f"installed is {name} {version(name)}, not {pin}"


# Gunicorn: src/origin/web/gunicorn/

_WORKER_METHODS: dict[str, tuple[str, ...]] = {
    "load_wsgi": (),
    "notify": (),
    "handle": ("listener", "client", "addr"),
    "handle_request": ("listener_name", "req", "sock", "addr"),
    "handle_error": ("req", "client", "addr", "exc"),
    "handle_exit": ("sig", "frame"),
    "timeout_ctx": (),
}


@pytest.mark.parametrize("name", _WORKER_METHODS)
def test_gunicorns_worker_has_the_methods_that_ours_overrides(name: str):
    method = getattr(GeventWorker, name, None)
    assert method, f"gunicorn's worker has no `{name}` any more (web/gunicorn/worker.py)"
    assert _takes(method, *_WORKER_METHODS[name]), (
        f"gunicorn's `{name}` takes other parameters (web/gunicorn/worker.py)"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("handle", "self.timeout_ctx()"),
        ("handle", "self.handle_request(listener_name, req, client, addr)"),
        ("handle", "self.handle_error(req, client, addr, e)"),
        ("handle_request", "self.wsgi(environ, resp.start_response)"),
    ],
)
def test_gunicorns_worker_calls_the_methods_that_ours_overrides(name: str, expected: str):
    assert _says(getattr(AsyncWorker, name), expected), (
        f"gunicorn's `{name}` doesn't contain `{expected}` any more (web/gunicorn/worker.py)"
    )


def _request(raw: bytes) -> Any:
    return Request(Config(), IterUnreader(iter([raw])), ("127.0.0.1", 1))


def test_gunicorns_request_has_headers_body_and_force_close():
    request = _request(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
    assert request.headers == [("CONTENT-LENGTH", "2")], (
        "gunicorn's request has no pairs of headers with names in capitals (web/gunicorn/bodies.py)"
    )
    assert request.body.read(1) == b"{", "gunicorn's request has no body to be read"
    assert not request.should_close()
    request.force_close()
    assert request.should_close(), "`force_close` doesn't end the connection any more"


def test_gunicorn_puts_the_body_and_the_socket_into_the_environ():
    request = _request(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
    sock = object()
    default_environ = _part("gunicorn.http.wsgi", "default_environ", "web/gunicorn/bodies.py")
    environ = default_environ(request, sock, Config())
    assert environ["wsgi.input"] is request.body, (
        "`wsgi.input` isn't the request's `body` any more (web/gunicorn/bodies.py)"
    )
    assert environ["gunicorn.socket"] is sock, (
        "`gunicorn.socket` isn't in the environ any more (web/gunicorn/bodies.py)"
    )


def test_gunicorn_raises_parse_exceptions_for_ill_formed_requests():
    for name in (
        "ParseException", "NoMoreData", "LimitRequestLine", "LimitRequestHeaders",
        "ExpectationFailed", "InvalidResponseHeader", "InvalidResponseHeaderName",
        "ConfigurationProblem",
    ):  # fmt: skip
        assert hasattr(errors, name), (
            f"gunicorn.http.errors has no `{name}` any more (web/gunicorn/rejections.py)"
        )
    with pytest.raises(errors.ParseException):
        _request(b"hello\r\n\r\n")
    chunked = _request(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    with pytest.raises(errors.ParseException):
        chunked.body.read(1)


# The event loop of gevent, in web/gunicorn/idle.py


def test_gevents_loop_runs_callbacks_after_due_reads():
    loop = gevent.get_hub().loop
    ran = Event()
    loop.update_now()
    gevent.spawn_later(0.001, loop.run_callback, ran.set)
    assert ran.wait(20), "gevent's loop doesn't run what `run_callback` is given"


def test_a_gevent_timeout_can_be_thrown_early():
    caught = []

    def wait() -> None:
        with gevent.Timeout(20) as timeout:
            waiting.append(timeout)
            try:
                gevent.sleep(10)
            except gevent.Timeout as over:
                caught.append((over is timeout, timeout.pending))

    waiting: list[gevent.Timeout] = []
    greenlet = gevent.spawn(wait)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(greenlet.throw, waiting[0])
    greenlet.join(5)
    assert caught == [(True, True)], (
        "a Timeout that is thrown early is another one or not `pending` (web/bodies.py, "
        "web/gunicorn/idle.py)"
    )


# http.client and urllib3: src/origin/peers/


class _Socket:
    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(b"HTTP/1.1 204 No Content\r\n\r\n"))  # type: ignore[arg-type]


def test_http_client_reads_a_status_by_read_status():
    response = http.client.HTTPResponse(_Socket())  # type: ignore[arg-type]
    assert isinstance(response.fp, io.BufferedReader), (
        "http.client's response has no buffered `fp` any more (peers/responses.py)"
    )
    read = getattr(response, "_read_status", None)
    assert read, "http.client.HTTPResponse has no `_read_status` any more (peers/responses.py)"
    version_, status, reason = read()
    assert (version_, status, reason.strip()) == ("HTTP/1.1", 204, "No Content"), (
        "`_read_status` returns something else (peers/responses.py)"
    )
    assert _says(http.client.HTTPResponse.begin, "self._read_status()"), (
        "http.client's `begin` doesn't call `_read_status` any more (peers/responses.py)"
    )


def test_urllib3_makes_connections_and_responses_of_our_classes():
    is_dropped = _part("urllib3.util.connection", "is_connection_dropped", "peers/bounded.py")

    class Ours(HTTPConnection):
        is_connected = property(lambda _self: False)  # type: ignore[assignment]

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Ours

    manager = urllib3.PoolManager()
    manager.pool_classes_by_scheme = {"http": Pool, "https": urllib3.HTTPSConnectionPool}
    pool = manager.connection_from_url("http://peer.example")
    assert isinstance(pool, Pool), "`pool_classes_by_scheme` isn't heeded (peers/bounded.py)"
    connection = pool._new_conn()
    assert isinstance(connection, Ours), "`ConnectionCls` isn't heeded (peers/bounded.py)"
    assert is_dropped(connection), "`is_connected` isn't asked (peers/bounded.py)"
    assert _says(urllib3.HTTPConnectionPool._get_conn, "is_connection_dropped(conn)"), (
        "urllib3's pool doesn't look at a connection that it takes again (peers/bounded.py)"
    )
    assert issubclass(Ours, http.client.HTTPConnection)
    assert http.client.HTTPConnection.response_class is http.client.HTTPResponse
    assert _says(http.client.HTTPConnection.getresponse, "self.response_class("), (
        "`response_class` is ignored now (peers/bounded.py, webhooks/client/connections.py)"
    )


def test_requests_adapter_gives_pools():
    for name, names in {
        "get_connection_with_tls_context": ("request", "verify", "proxies", "cert"),
        "cert_verify": ("conn", "url", "verify", "cert"),
        "request_url": ("request", "proxies"),
        "proxy_manager_for": ("proxy", "proxy_kwargs"),
    }.items():
        method = getattr(HTTPAdapter, name, None)
        assert method, f"requests' HTTPAdapter has no `{name}` any more (peers/http.py)"
        assert _takes(method, *names), f"requests' `{name}` takes other parameters (peers/http.py)"
    assert isinstance(HTTPAdapter().poolmanager, urllib3.PoolManager), "peers/bounded.py"
    root = requests.Request("GET", "http://peer.example/").prepare()
    pool = HTTPAdapter().get_connection_with_tls_context(root, verify=True, proxies={})
    assert isinstance(pool, urllib3.HTTPConnectionPool), "requests gives no urllib3 pool any more"


# SQLAlchemy: src/origin/db/


class _Connection:
    closed = False

    def rollback(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def test_sqlalchemys_pool_makes_takes_and_returns_entries():
    record = _part("sqlalchemy.pool.base", "_ConnectionRecord", "db/raw_connections.py")
    for name, names in {
        "_create_connection": (),
        "_do_get": (),
        "_do_return_conn": ("record",),
    }.items():
        method = getattr(QueuePool, name, None)
        assert method, f"SQLAlchemy's QueuePool has no `{name}` any more (db/raw_connections.py)"
        assert _takes(method, *names), f"`{name}` takes other parameters (db/raw_connections.py)"

    class Pool(QueuePool):
        def _create_connection(self) -> Any:
            return record(self, connect=False)

    pool = Pool(_Connection, pool_size=1, max_overflow=0, timeout=0.01)  # type: ignore[arg-type]
    entry = pool._do_get()
    assert type(entry) is record, "`_do_get` doesn't use `_create_connection`"
    assert entry.driver_connection is None, "a place with connect=False has connected"
    assert isinstance(entry.get_connection(), _Connection), "`get_connection` doesn't connect"
    assert isinstance(entry.driver_connection, _Connection)
    entry.info["kept"] = True
    assert pool.checkedout() == 1, "`checkedout` doesn't count what `_do_get` has taken"
    pool._do_return_conn(entry)
    assert pool.checkedout() == 0, "`_do_return_conn` doesn't give back what `_do_get` has taken"
    again = pool._do_get()
    assert again is entry, "the pool doesn't keep its entries (db/raw_connections.py)"
    assert again.info == {"kept": True}, "an entry's `info` doesn't last as its connection does"
    again.invalidate()
    assert again.driver_connection is None, "`invalidate` doesn't drop the connection"
    again.get_connection()
    assert again.info == {}, (
        "`info` outlives its connection (db/raw_connections.py: prepared statements)"
    )


def test_sqlalchemys_dialect_resets_the_isolation_level_by_a_method():
    assert _takes(PGDialect_psycopg2.reset_isolation_level, "dbapi_conn"), (
        "the dialect's `reset_isolation_level` takes other parameters (db/engine.py)"
    )
    module = "sqlalchemy.engine.characteristics"
    characteristic = _part(module, "IsolationLevelCharacteristic", "db/engine.py")
    assert _says(characteristic.reset_characteristic, "dialect.reset_isolation_level("), (
        "SQLAlchemy doesn't call the dialect's `reset_isolation_level` any more (db/engine.py)"
    )


# Celery and kombu: src/origin/tasks/


def test_celerys_beat_can_be_replaced_and_installs_handlers_by_a_method():
    method = getattr(Beat, "install_sync_handler", None)
    assert method, "Celery's Beat has no `install_sync_handler` any more (tasks/shutdown.py)"
    assert _takes(method, "service"), "`install_sync_handler` takes other parameters"
    assert _says(Beat.start_scheduler, "self.install_sync_handler(service)"), (
        "Celery's Beat doesn't call `install_sync_handler` any more (tasks/shutdown.py)"
    )
    app = Celery()

    class Ours(Beat):
        """Another one."""

    app.Beat = app.subclass_with_self(Ours)
    assert issubclass(app.Beat, Ours), "`app.Beat` can't be replaced any more (tasks/shutdown.py)"


def test_celerys_scheduler_ticks():
    assert _takes(Scheduler.setup_schedule), "`setup_schedule` takes parameters (tasks/beat.py)"
    assert _says(Service.start, "interval = self.scheduler.tick()", "time.sleep(interval)"), (
        "Celery's Beat doesn't wait as long as its scheduler's `tick` says (tasks/beat.py)"
    )


def test_celerys_consumer_handles_lost_connections_by_a_method():
    method = getattr(Consumer, "on_connection_error_after_connected", None)
    assert method, (
        "Celery's consumer has no `on_connection_error_after_connected` (tasks/consumer.py)"
    )
    assert _takes(method, "exc"), "it takes other parameters (tasks/consumer.py)"
    assert _says(Consumer.start, "self.on_connection_error_after_connected(exc)"), (
        "Celery's consumer doesn't call it any more (tasks/consumer.py)"
    )
    assert _says(Consumer.__init__, "self.channel_errors"), (
        "Celery's consumer has no `channel_errors` any more (tasks/consumer.py)"
    )


def test_celery_logs_by_the_names_that_are_filtered():
    import celery.app.trace
    import celery.worker.request
    import celery.worker.strategy

    for module in (celery.app.trace, celery.worker.request, celery.worker.strategy):
        assert module.logger.name == module.__name__, (
            f"{module.__name__} logs by another name (telemetry/logs.py)"
        )


def test_kombu_keeps_a_queue_as_a_list_of_its_name():
    class Redis(Channel):
        def __init__(self) -> None:
            """Connect to nothing."""

    assert Redis()._q_for_pri("celery", 0) == "celery", (
        "kombu's list of a queue has another name in Redis (tasks/sending.py counts its items)"
    )
    assert _says(Channel._put, "key = self._q_for_pri(queue, pri)", "client.lpush(key,"), (
        "kombu doesn't put messages into a list any more (tasks/sending.py)"
    )


# flask-smorest: src/origin/app.py, src/origin/web/blueprint.py


def test_flask_smorest_resolves_schemas_and_keeps_its_apis():
    class Body(Schema):
        """A schema."""

    resolve = _part("flask_smorest.utils", "resolve_schema_instance", "web/blueprint.py")
    assert isinstance(resolve(Body), Body), (
        "flask_smorest.utils.resolve_schema_instance doesn't make a schema (web/blueprint.py)"
    )
    app = Flask(__name__)
    app.config.update(API_TITLE="t", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    api = Api(app)
    assert app.extensions["flask-smorest"]["apis"][""]["ext_obj"] is api, (
        "flask-smorest keeps its APIs elsewhere (monitoring/views/openapi.py)"
    )
    assert Blueprint.ARGUMENTS_PARSER, "a Blueprint has no `ARGUMENTS_PARSER` (web/blueprint.py)"


# opencensus: src/origin/telemetry/


def test_opencensus_reads_our_role_and_our_records_ids():
    assert "ai.cloud.role" in azure_utils.azure_monitor_context, (
        "opencensus knows no `ai.cloud.role` any more (telemetry/azure.py)"
    )
    create_envelope = inspect.getmodule(AzureLogHandler).create_envelope
    assert _says(create_envelope, "traceId", "spanId"), (
        "opencensus reads other attributes of a record for its trace (telemetry/azure.py)"
    )
    assert _says(
        AzureLogHandler.log_record_to_envelope, "record.custom_dimensions", "record.message"
    ), "opencensus reads other attributes of a record (telemetry/azure.py)"


# The ledger SDK and secp256k1: src/origin/batches/client/


@pytest.mark.parametrize("request_class", [sdk.SplitGGORequest, sdk.RetireGGORequest])
def test_the_ledger_sdk_signs_by_a_method_that_ours_overrides(request_class: type):
    assert list(inspect.signature(request_class.sign_transaction).parameters)[1:3] == [
        "batch_signer",
        "transaction_signer",
    ], "the SDK's `sign_transaction` takes other parameters (batches/client/sdk.py)"
    assert _takes(request_class._to_bytes, "schema", "obj"), (
        "the SDK's `_to_bytes` takes other parameters (batches/client/sdk.py)"
    )


def test_secp256k1_has_the_names_that_the_sdk_knows():
    import secp256k1

    for name in ("Base", "ALL_FLAGS", "PrivateKey", "PublicKey"):
        assert hasattr(secp256k1, name), (
            f"secp256k1 has no `{name}` (batches/client/secp256k1_names.py)"
        )
    key = secp256k1.PrivateKey(bytes(31) + b"\1", ctx=None)
    assert len(key.pubkey.serialize()) == 33, "the names' classes don't work (secp256k1_names.py)"
