"""Balances and entries (contract: v2, Balances and statements of account)."""

from datetime import UTC, datetime
from typing import Any

from flask import Response

from origin.balances.rules.balance import Balances, MomentAhead, MomentOpen
from origin.balances.rules.entries import Entry, EntryFilters, EntryKey
from origin.balances.schemas import BalancesQuery, BalancesResponse, EntriesQuery, EntryList
from origin.balances.service.balances import BalanceService
from origin.errors import CursorInvalid
from origin.identity.authentication import current_user, requires
from origin.web.described import rejects
from origin.web.provided import provided
from origin.web.responses import json_response
from origin.web.v2.blueprint import Blueprint
from origin.web.v2.pages import page_of

blueprint = Blueprint("balances", __name__)


@blueprint.get("/v2/balances")
@requires("ggo.read")
@rejects(MomentAhead(datetime(2026, 1, 31, 12, tzinfo=UTC)), MomentOpen())
@blueprint.query(BalancesQuery)
@blueprint.response(200, BalancesResponse)
def get_balances(query: dict[str, Any]) -> Response:
    """Tell the caller's balance, as it was known at a moment.

    The same question about the same moment has one answer, whenever it is asked. Orders that the ledger
    refused later count until then. Before the account there are zeros.
    """
    found = provided(BalanceService).balances(
        current_user().id, query["at"], query["grouping"], query["zone"]
    )
    return json_response(_shown_balances(found))


@blueprint.get("/v2/entries")
@requires("ggo.read")
@rejects(CursorInvalid(), MomentOpen())
@blueprint.query(EntriesQuery)
@blueprint.response(200, EntryList)
def list_entries(query: dict[str, Any]) -> Response:
    """List the lines that the caller's balance is the sum of, oldest first.

    Each moves Wh from one bucket of the balance to another. No line ever changes or goes away, and none
    is added before one that was listed. A transfer or a retirement has a line when it is accepted and
    another when the ledger has committed it.
    """
    user = current_user()
    page = page_of(user.subject, query)
    after: Any = page.after
    filters = EntryFilters(
        query["period"].begin, query["period"].end, query["kind"], query["operation"]
    )
    rows = provided(BalanceService).entries(
        user.id, filters, None if after is None else EntryKey(*after), page.limit + 1
    )
    return page.response(rows, lambda entry: entry.key.as_tuple(), shown_entry)


def _shown_balances(found: Balances) -> dict[str, Any]:
    """Return balances as answers show them (`BalancesResponse`)."""
    groups = [{"group": list(each.values), **each.amounts} for each in found.groups]
    return {"at": found.at.isoformat(), "total": found.total, "groups": groups}


def shown_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry as answers show it (`EntrySchema`)."""
    return {
        "id": entry.id,
        "at": entry.key.at,
        "kind": entry.kind,
        "amount": entry.amount,
        "from": entry.source,
        "to": entry.target,
        "ggo": {
            "address": entry.address,
            "begin": entry.begin,
            "end": entry.end,
            "sector": entry.sector,
            "technology": entry.technology,
        },
        "operation": entry.operation,
        "counterpart": entry.counterpart,
        "reference": entry.reference,
    }
