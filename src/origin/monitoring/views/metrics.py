"""The metrics that Prometheus scrapes (contract: http-api, Operations)."""

from flask import Response

from origin.monitoring.service.database_gauges import DatabaseGauges
from origin.monitoring.service.probes import Probes
from origin.telemetry.metrics import CONTENT_TYPE, StaticCollector, exposition
from origin.web.blueprint import Blueprint
from origin.web.provided import provided

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@blueprint.response(
    200,
    {"type": "string"},
    description="Metrics",
    content_type="text/plain",
    example="account_service_ledger_enabled 1.0\n",
)
def get_metrics() -> Response:
    """Return the metrics of this web and of what it reads from the database and from Redis.

    They are in Prometheus' text format.
    """
    gauges = StaticCollector([*provided(DatabaseGauges).families(), provided(Probes).redis_gauge()])
    return Response(exposition(gauges), content_type=CONTENT_TYPE)
