"""Probes for those who run the service (contract: http-api, Operations)."""

import logging
from collections.abc import Callable

import redis
from flask import Response
from sqlalchemy import text

from origin.api.base import Blueprint, json_response, runtime
from origin.runtime import Runtime

blueprint = Blueprint("health", __name__, url_prefix="/health")

_PROBE_TIMEOUT_S = 2.0

log = logging.getLogger(__name__)


def _check_database(world: Runtime) -> None:
    with world.database.reading() as session:
        session.execute(text("SELECT 1"))


def _check_redis(world: Runtime) -> None:
    with redis.Redis.from_url(
        world.settings.broker_url,
        socket_timeout=_PROBE_TIMEOUT_S,
        socket_connect_timeout=_PROBE_TIMEOUT_S,
    ) as client:
        client.ping()


_CHECKS: dict[str, Callable[[Runtime], None]] = {
    "database": _check_database,
    "redis": _check_redis,
}


def _is_up(name: str) -> bool:
    try:
        _CHECKS[name](runtime())
    except Exception as error:  # noqa: BLE001 - whatever it is, that part isn't ready
        log.warning("Not ready: %s (%s)", name, type(error).__name__)
        return False
    return True


@blueprint.get("/live")
def live() -> Response:
    """Tell that the process answers; says nothing of its peers."""
    return json_response({"success": True})


@blueprint.get("/ready")
def ready() -> Response:
    """Tell whether database and Redis answer: 200, or 503 with what is down."""
    parts = {name: _is_up(name) for name in _CHECKS}
    up = all(parts.values())
    return json_response(
        {"success": up, **{name: "up" if ok else "down" for name, ok in parts.items()}},
        200 if up else 503,
    )
