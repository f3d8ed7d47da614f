"""Health checks for operators (contract: http-api, Operations)."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from marshmallow import fields, validate

from origin.monitoring.service.probes import Probes
from origin.settings import Settings
from origin.shared.release import VERSION
from origin.web.blueprint import Blueprint
from origin.web.described import described
from origin.web.errors import RETRY_AFTER_S
from origin.web.gunicorn.stopping import is_stopping
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.schema import SuccessResponse

blueprint = Blueprint("health", __name__, url_prefix="/health")

_REQUIRED = "database"
"""Almost every request needs it. Without Redis all requests work, and workers start a little later."""
_UP_OR_DOWN = validate.OneOf(["up", "down"])


class Alive(SuccessResponse):
    """The process is alive."""

    version = fields.String(metadata=described("The version of the service", VERSION))


class Readiness(SuccessResponse):
    """Which parts can be used."""

    database = fields.String(
        validate=_UP_OR_DOWN, metadata=described("Whether PostgreSQL answers: up or down", "up")
    )
    redis = fields.String(
        validate=_UP_OR_DOWN, metadata=described("Whether Redis answers: up or down", "up")
    )
    ledger = fields.String(
        validate=validate.Equal("disabled"),
        metadata=described("Only if the ledger is switched off (LEDGER_ENABLED=0)"),
    )
    recovery = fields.String(
        validate=validate.Equal("under way"),
        metadata=described("Only while the database is recovered (RECOVERY_MODE=1)"),
    )
    web = fields.String(
        validate=validate.Equal("stopping"),
        metadata=described("Only after SIGTERM, for DRAIN_SECONDS"),
    )


class Work(Readiness):
    """Whether the work behind the requests is done."""

    workers = fields.Integer(
        metadata=described("How many workers have ended a task lately; absent if unknown", 2)
    )
    beat = fields.String(
        validate=validate.OneOf(["up", "missing"]),
        metadata=described("Whether Beat has sent a sweep lately; absent if unknown", "up"),
    )


@blueprint.get("/live")
@blueprint.response(200, Alive)
def get_liveness() -> Response:
    """Report that the process answers, and its version.

    Its peers are not checked.
    """
    return json_response({"success": True, "version": VERSION})


@blueprint.get("/ready")
@blueprint.response(200, Readiness)
@blueprint.alt_response(
    503,
    schema=Readiness,
    description="The database is down, or this web is stopping",
    example={"success": False, "database": "down", "redis": "up"},
)
def get_readiness() -> Response:
    """Report whether the database and Redis can be used.

    The status is 503 if the database can't be used, or if this web is about to stop. Without Redis all
    requests work: it is 200.
    """
    parts = provided(Probes).are_up()
    return _answer(parts[_REQUIRED] and not is_stopping(), {**_words(parts), **_modes()})


@blueprint.get("/work")
@blueprint.response(200, Work)
@blueprint.alt_response(
    503,
    schema=Work,
    description="The database, Redis, all workers or Beat are down",
    example={"success": False, "database": "up", "redis": "up", "workers": 0, "beat": "up"},
)
def get_work() -> Response:
    """Report whether the work behind the requests is done.

    The status is 503 unless the database and Redis can be used, and a worker and Beat have worked
    lately. Requests are answered meanwhile: use it for a monitor, not for a probe.
    """
    probes = provided(Probes)
    parts = probes.are_up()
    body: dict[str, Any] = _words(parts)
    working = probes.working() if parts[_REQUIRED] else None
    is_done = False
    if working is not None:
        body["workers"] = working["worker"]
        body["beat"] = "up" if working["beat"] else "missing"
        is_done = all(parts.values()) and working["worker"] > 0 and working["beat"] > 0
    return _answer(is_done, {**body, **_modes()})


def _words(parts: Mapping[str, bool]) -> dict[str, str]:
    return {name: "up" if ok else "down" for name, ok in parts.items()}


def _modes() -> dict[str, str]:
    """Return the fields that tell what operators have switched off, or are stopping."""
    settings = provided(Settings)
    modes = {}
    if not settings.ledger_enabled:
        modes["ledger"] = "disabled"
    if settings.recovery_mode:
        modes["recovery"] = "under way"
    if is_stopping():
        modes["web"] = "stopping"
    return modes


def _answer(success: bool, body: Mapping[str, Any]) -> Response:  # noqa: FBT001 - the status
    response = json_response({"success": success, **body}, 200 if success else 503)
    if not success:
        response.headers["Retry-After"] = RETRY_AFTER_S
    return response
