"""What was transferred and retired, by composes and bulks alike (contract: v2, section 4)."""

from hashlib import sha256
from typing import Any

from flask import Response

from origin.bulk.queries import lines as queries
from origin.bulk.queries.lines import Line, LineFilter
from origin.bulk.schemas.lines import LineList, RetirementsQuery, TransfersQuery
from origin.db.engine import Database
from origin.errors import CursorInvalid
from origin.identity.authentication import current_user, requires
from origin.shared.uuid7 import uuid7
from origin.web.described import rejects
from origin.web.provided import provided
from origin.web.v2.blueprint import Blueprint
from origin.web.v2.pages import page_of

blueprint = Blueprint("bulk_lines", __name__)


@blueprint.get("/v2/transfers")
@requires("ggo.read")
@rejects(CursorInvalid())
@blueprint.query(TransfersQuery)
@blueprint.response(200, LineList)
def list_transfers(query: dict[str, Any]) -> Response:
    """List what was transferred, a line for each part, those of the latest GGOs first.

    Incoming transfers are listed once the ledger has committed them.
    """
    user = current_user()
    page = page_of(user.subject, query)
    wanted = LineFilter(
        period=query["period"],
        operation=query["operation"],
        account=query["account"],
        reference=query["reference"],
    )
    rows = queries.transfers(
        provided(Database), user.id, query["direction"], wanted, page.after, page.limit + 1
    )
    return page.response(rows, lambda line: line.key, _shown)


@blueprint.get("/v2/retirements")
@requires("ggo.read")
@rejects(CursorInvalid())
@blueprint.query(RetirementsQuery)
@blueprint.response(200, LineList)
def list_retirements(query: dict[str, Any]) -> Response:
    """List what was retired, a line for each part, those of the latest GGOs first."""
    user = current_user()
    page = page_of(user.subject, query)
    wanted = LineFilter(period=query["period"], operation=query["operation"], gsrns=query["gsrn"])
    rows = queries.retirements(provided(Database), user.id, wanted, page.after, page.limit + 1)
    return page.response(rows, lambda line: line.key, _shown)


def _shown(line: Line) -> dict[str, Any]:
    """Return a line as answers show it (`LineSchema`)."""
    digest = sha256(f"{line.direction} {line.address}".encode()).digest()
    return {
        "id": uuid7(line.at, digest),
        "at": line.at,
        "status": line.status,
        "amount": line.amount,
        "direction": line.direction,
        "account": line.account,
        "reference": line.reference,
        "gsrn": line.gsrn,
        "ggo": {
            "address": line.address,
            "begin": line.begin,
            "end": line.end,
            "sector": line.sector,
            "technology": line.technology,
        },
        "operation": line.operation,
    }
