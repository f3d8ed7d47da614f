"""Transfers that an account sent and received (contract: http-api.md, Transfers)."""

from typing import Any

from flask import Response

from origin.ggos.queries import summaries as queries
from origin.ggos.views.summaries import (
    SUMMARY_REJECTIONS,
    SummaryResponse,
    TotalResponse,
    TransferSummaryRequest,
    TransferTotalRequest,
    summary_response,
    total_response,
)
from origin.identity.authentication import current_user, requires
from origin.shared.clock import utcnow
from origin.web.blueprint import Blueprint
from origin.web.described import rejects

blueprint = Blueprint("transfers", __name__)


@blueprint.post("/transfer/summary")
@requires("ggo.transfer")
@rejects(*SUMMARY_REJECTIONS)
@blueprint.arguments(TransferSummaryRequest)
@blueprint.response(200, SummaryResponse)
def summarize_transfers(body: dict[str, Any]) -> Response:
    """Sum the caller's transfers by time and groups.

    Those in flight count as done.
    """
    return summary_response(_chosen(body), body)


@blueprint.post("/transfer/get-total-amount")
@blueprint.post("/transfer/get-transferred-amount")
@requires("ggo.transfer")
@blueprint.arguments(TransferTotalRequest)
@blueprint.response(200, TotalResponse)
def sum_transfers(body: dict[str, Any]) -> Response:
    """Sum the caller's transfers.

    Those in flight count as done.
    """
    return total_response(_chosen(body))


def _chosen(body: dict[str, Any]) -> queries.Selection:
    direction = body.get("direction")
    return queries.transfers(current_user().id, body["filters"], direction, utcnow())
