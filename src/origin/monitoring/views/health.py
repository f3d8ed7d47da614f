"""Health checks for operators (contract: http-api, Operations)."""

from flask import Response
from marshmallow import fields, validate

from origin.monitoring.service.probes import Probes
from origin.settings import Settings
from origin.shared.release import VERSION
from origin.web.blueprint import Blueprint
from origin.web.described import described
from origin.web.errors import RETRY_AFTER_S
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
    description="The database is down",
    example={"success": False, "database": "down", "redis": "up"},
)
def get_readiness() -> Response:
    """Report whether the database and Redis can be used.

    The status is 503 if the database can't be used. Without Redis all requests work: it is 200.
    """
    parts = provided(Probes).are_up()
    up = parts[_REQUIRED]
    body = {"success": up, **{name: "up" if ok else "down" for name, ok in parts.items()}}
    settings = provided(Settings)
    if not settings.ledger_enabled:
        body["ledger"] = "disabled"
    if settings.recovery_mode:
        body["recovery"] = "under way"
    if up:
        return json_response(body)
    response = json_response(body, 503)
    response.headers["Retry-After"] = RETRY_AFTER_S
    return response
