"""Probes for those who run the service (contract: http-api, Operations)."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import cast

import redis
from flask import Response, current_app
from marshmallow import fields, validate

from origin.db.engine import Database
from origin.settings import Settings
from origin.web.base import Blueprint, Schema, json_response
from origin.web.provided import provided

blueprint = Blueprint("health", __name__, url_prefix="/health")

_PROBE_TIMEOUT_S = 2.0
"""However a part fails, a probe has its answer after about this time."""
_NEEDED = "database"
"""Without it hardly a request works; without Redis all do, and work begins a little later."""
_EXTENSION = "origin_probes"
_PROBE_KEY = "account-service:probe"
_UP_OR_DOWN = validate.OneOf(["up", "down"])

log = logging.getLogger(__name__)


def _check_database(database: Database, _settings: Settings) -> None:
    database.probe()


def _check_redis(_database: Database, settings: Settings) -> None:
    with (
        redis.Redis.from_url(
            settings.broker_url,
            socket_timeout=_PROBE_TIMEOUT_S,
            socket_connect_timeout=_PROBE_TIMEOUT_S,
        ) as client,
        client.pipeline() as pipeline,
    ):
        # As much as wake-ups need: a replica, or a server that is full, answers a PING as well.
        pipeline.lpush(_PROBE_KEY, 1)
        pipeline.pexpire(_PROBE_KEY, int(_PROBE_TIMEOUT_S * 1000))
        pipeline.rpop(_PROBE_KEY)
        pipeline.execute()


_CHECKS: dict[str, Callable[[Database, Settings], None]] = {
    "database": _check_database,
    "redis": _check_redis,
}


def _asked(name: str) -> Future[None]:
    """The check under way, or a new one; of a part that hangs there is one, however many ask."""
    asked = cast("dict[str, Future[None]]", current_app.extensions.setdefault(_EXTENSION, {}))
    if name not in asked or asked[name].done():
        asked[name] = Future()
        parts = provided(Database), provided(Settings)
        Thread(target=_check, args=(name, *parts, asked[name]), daemon=True).start()
    return asked[name]


def _check(name: str, database: Database, settings: Settings, outcome: Future[None]) -> None:
    try:
        _CHECKS[name](database, settings)
    except Exception as error:  # noqa: BLE001 - whatever it is, that part isn't ready
        outcome.set_exception(error)
    else:
        outcome.set_result(None)


def _is_up(name: str, outcome: Future[None], deadline: float) -> bool:
    error: BaseException | None
    try:
        error = outcome.exception(max(deadline - time.monotonic(), 0))
    except TimeoutError as hanging:
        error = hanging
    if error is not None:
        log.warning("Down: %s (%s)", name, type(error).__name__)
    return error is None


class Alive(Schema):
    """The process answers."""

    success = fields.Boolean()


class Readiness(Schema):
    """What answers and what doesn't."""

    success = fields.Boolean()
    database = fields.String(validate=_UP_OR_DOWN)
    redis = fields.String(validate=_UP_OR_DOWN)
    ledger = fields.String(
        validate=validate.Equal("disabled"),
        metadata={"description": "Only where the ledger is switched off (LEDGER_ENABLED=0)"},
    )
    recovery = fields.String(
        validate=validate.Equal("under way"),
        metadata={"description": "Only while the database is recovered (RECOVERY_MODE=1)"},
    )


@blueprint.get("/live")
@blueprint.response(200, Alive)
def live() -> Response:
    """Tell that the process answers; says nothing of its peers."""
    return json_response({"success": True})


@blueprint.get("/ready")
@blueprint.response(200, Readiness)
@blueprint.alt_response(503, schema=Readiness, description="The database is down")
def ready() -> Response:
    """Tell whether database and Redis can be used: 503 where the database can't, else 200."""
    deadline = time.monotonic() + _PROBE_TIMEOUT_S
    asked = {name: _asked(name) for name in _CHECKS}
    parts = {name: _is_up(name, outcome, deadline) for name, outcome in asked.items()}
    up = parts[_NEEDED]
    body = {"success": up, **{name: "up" if ok else "down" for name, ok in parts.items()}}
    settings = provided(Settings)
    if not settings.ledger_enabled:
        body["ledger"] = "disabled"
    if settings.recovery_mode:
        body["recovery"] = "under way"
    return json_response(body, 200 if up else 503)
