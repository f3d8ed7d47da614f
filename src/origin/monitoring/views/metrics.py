"""What Prometheus scrapes (contract: http-api, Operations)."""

from typing import cast

from flask import Response, current_app

from origin.db.engine import Database
from origin.monitoring.service.database_gauges import Readings
from origin.telemetry.metrics import CONTENT_TYPE, StaticCollector, exposition
from origin.web.base import Blueprint
from origin.web.provided import provided

blueprint = Blueprint("metrics", __name__)

_EXTENSION = "origin_readings"


@blueprint.get("/metrics")
@blueprint.response(200, description="Metrics", content_type="text/plain")
def metrics() -> Response:
    """Answer all metrics of this web, and what stands in the database, in Prometheus' text format."""
    return Response(exposition(StaticCollector(_readings().families())), content_type=CONTENT_TYPE)


def _readings() -> Readings:
    """This app's, made when first used."""
    made = current_app.extensions.get(_EXTENSION)
    if made is None:
        url = provided(Database).engine.url
        made = current_app.extensions.setdefault(_EXTENSION, Readings(url))
    return cast("Readings", made)
