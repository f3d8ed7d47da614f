"""Statements of account, in four forms (contract: v2, Balances and statements of account)."""

from collections.abc import Iterator
from typing import Any, cast

from flask import Response, request

from origin.balances.pdf.document import MAX_LINES, render
from origin.balances.rules.balance import AMOUNTS, Balances, MomentOpen
from origin.balances.rules.entries import Entry
from origin.balances.rules.statements import Statement, digest_of
from origin.balances.schemas import StatementQuery, StatementResponse
from origin.balances.service.balances import BalanceService
from origin.balances.views.balances import shown_entry
from origin.declarations.pdf.words import LANGUAGES, Language
from origin.declarations.views import ACCEPT_LANGUAGE
from origin.documents.pdf import Issuer
from origin.errors import NotAcceptable
from origin.identity.authentication import current_user, requires
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.shared.json_codec import encode_json
from origin.shared.native_threads import run_in_native_thread
from origin.shared.periods import Period, local_time
from origin.web.described import rejects
from origin.web.provided import provided
from origin.web.tables import CSV, FORMS, XLSX, Cell, Table, table_response
from origin.web.tables.response import streamed
from origin.web.v2.blueprint import Blueprint
from origin.web.v2.requests import negotiated

blueprint = Blueprint("account_statements", __name__)

JSON = "application/json"
PDF = "application/pdf"
_OFFERED = (JSON, CSV, XLSX, PDF)
_FILE = "account-statement"
_COLUMNS = (
    *("id", "at", "atLocal", "kind", "amount", "from", "to"),
    *("address", "begin", "beginLocal", "end", "endLocal", "sector", "technology"),
    *("operation", "counterpart", "reference"),
)
_LINES_AT_ONCE = 200


@blueprint.get("/v2/account-statement")
@requires("ggo.read")
@rejects(MomentOpen(), NotAcceptable(_OFFERED))
@blueprint.doc(
    parameters=[ACCEPT_LANGUAGE],
    responses={
        200: {"content": {**FORMS, PDF: {"schema": {"type": "string", "format": "binary"}}}}
    },
)
@blueprint.query(StatementQuery)
@blueprint.response(200, StatementResponse)
def get_account_statement(query: dict[str, Any]) -> Response:
    """Give a statement of account of a period, as JSON, CSV, XLSX or PDF.

    `Accept` says which. The opening balance and the entries of the period add up to the closing balance.
    JSON, CSV and XLSX are streamed. CSV has the entries alone, XLSX the balances on a second sheet. The
    PDF sums more than 500 entries up by month.
    """
    form = negotiated(_OFFERED)
    user, period = current_user(), query["period"]
    statement = provided(BalanceService).statement(user.id, period)
    if form == PDF:
        return _pdf(user.subject, period, statement)
    if form == JSON:
        return streamed(_json_chunks(statement), JSON)
    lines = Table("lines", _COLUMNS, (_row(each, period) for each in statement.lines))
    tables = [lines] if form == CSV else [lines, _balances_table(statement, period)]
    return table_response(form, f"{_FILE}.{'csv' if form == CSV else 'xlsx'}", tables)


def _json_chunks(statement: Statement) -> Iterator[bytes]:
    """Yield the statement as JSON (`StatementResponse`)."""
    opening, closing = (
        encode_json(_shown(each)) for each in (statement.opening, statement.closing)
    )
    # The first chunk has lines, so that an error among them is still answered.
    before = b'{"opening":' + opening + b',"lines":['
    written: list[bytes] = []
    for entry in statement.lines:
        written.append(encode_json(shown_entry(entry)))
        if len(written) == _LINES_AT_ONCE:
            yield before + b",".join(written)
            before, written = b",", []
    end = b'],"closing":' + closing + b"}"
    yield (before if written or before != b"," else b"") + b",".join(written) + end


def _shown(found: Balances) -> dict[str, Any]:
    return {"at": found.at.isoformat(), **found.total}


def _row(entry: Entry, period: Period) -> tuple[Cell, ...]:
    """Return an entry's values of `_COLUMNS`."""
    at = entry.key.at
    return (
        *(entry.id, at, at.astimezone(period.zone), entry.kind.value, entry.amount),
        *(entry.source, entry.target, entry.address),
        *(entry.begin, entry.begin.astimezone(period.zone)),
        *(entry.end, entry.end.astimezone(period.zone)),
        *(entry.sector, entry.technology, entry.operation, entry.counterpart, entry.reference),
    )


def _balances_table(statement: Statement, period: Period) -> Table:
    """Return the balances: a row of each amount at the opening and at the closing."""
    ends = (statement.opening, statement.closing)
    moments: list[tuple[Cell, ...]] = [
        ("at", *(each.at for each in ends)),
        ("atLocal", *(local_time(each.at, period.zone) for each in ends)),
    ]
    amounts = [(name, *(each.total[name] for each in ends)) for name in AMOUNTS]
    return Table("totals", ("name", "opening", "closing"), [*moments, *amounts])


def _pdf(subject: str, period: Period, statement: Statement) -> Response:
    language = cast("Language", request.accept_languages.best_match(LANGUAGES, default="en"))
    issuer = Issuer(provided(Settings).service_name, provided(Settings).project_url, utcnow())
    digest = digest_of(statement.lines, MAX_LINES, period.zone)
    pdf = run_in_native_thread(render, subject, period, statement, digest, issuer, language)
    response = Response(pdf, mimetype=PDF)
    response.headers["Content-Disposition"] = f'attachment; filename="{_FILE}.pdf"'
    response.headers["Content-Language"] = language
    response.vary.add("Accept-Language")
    response.cache_control.no_store = True
    return response
