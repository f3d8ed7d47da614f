"""Environment declarations, as JSON and as PDF (contract: http-api.md, Environment declarations)."""

from collections.abc import Mapping
from itertools import repeat
from operator import mod, truediv
from typing import Any, cast

from flask import Response, request

from origin.declarations.pdf.document import render
from origin.declarations.pdf.words import LANGUAGES, Language
from origin.declarations.rules.declarations import (
    Column,
    Declaration,
    DeclarationQuery,
    EnvironmentDeclaration,
)
from origin.declarations.rules.exact import ONE, as_float, as_number, per, whole
from origin.declarations.schemas import DeclarationRequest, DeclarationResponse
from origin.declarations.service import DeclarationService
from origin.documents.pdf import Issuer
from origin.errors import MeteringPointUnavailable
from origin.identity.authentication import current_user, requires
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.shared.json_codec import encode_json
from origin.shared.native_threads import run_in_native_thread
from origin.web.blueprint import Blueprint
from origin.web.described import A_CONSUMPTION_GSRN, rejects
from origin.web.provided import provided

blueprint = Blueprint("declarations", __name__)

PDF_NAME = "EnvironmentDeclaration.pdf"

_REJECTIONS = (MeteringPointUnavailable([A_CONSUMPTION_GSRN]),)
ACCEPT_LANGUAGE = {
    "name": "Accept-Language",
    "in": "header",
    "required": False,
    "description": "The languages that the reader knows; English if none of them is available",
    "schema": {"type": "string"},
    "example": "da, en;q=0.8",
}
"""The header's description, for `@blueprint.doc(parameters=[…])`."""
_HEADERS = {
    "Content-Disposition": {
        "description": "The file's name",
        "schema": {"type": "string"},
        "example": f'attachment; filename="{PDF_NAME}"',
    },
    "Content-Language": {
        "description": "The language of the document",
        "schema": {"type": "string", "enum": list(LANGUAGES)},
        "example": "en",
    },
}


@blueprint.post("/eco-declaration")
@requires("ggo.read")
@rejects(*_REJECTIONS)
@blueprint.arguments(DeclarationRequest)
@blueprint.response(200, DeclarationResponse)
def declare_consumption(query: DeclarationQuery) -> Response:
    """Declare the emissions and technologies of the caller's consumption.

    `individual` is about the caller's consumption, with what is retired to it. `general` is about all
    consumption in the same sectors.
    """
    found = provided(DeclarationService).answer(current_user().id, query)
    return Response(run_in_native_thread(written, found), mimetype="application/json")


@blueprint.post("/eco-declaration/export-pdf")
@requires("ggo.read")
@rejects(*_REJECTIONS)
@blueprint.doc(parameters=[ACCEPT_LANGUAGE])
@blueprint.arguments(DeclarationRequest)
@blueprint.response(
    200,
    {"type": "string", "format": "binary"},
    description="The PDF",
    content_type="application/pdf",
    example="%PDF-1.7 …",
    headers=_HEADERS,
)
def export_declaration(query: DeclarationQuery) -> Response:
    """Declare the same as a PDF."""
    found = provided(DeclarationService).answer(current_user().id, query)
    language = request.accept_languages.best_match(LANGUAGES, default="en")
    issuer = Issuer(provided(Settings).service_name, provided(Settings).project_url, utcnow())
    response = Response(
        run_in_native_thread(render, query, found, issuer, cast("Language", language)),
        mimetype="application/pdf",
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{PDF_NAME}"'
    response.headers["Content-Language"] = language
    response.headers["Vary"] = "Accept-Language"
    response.cache_control.no_store = True
    return response


def written(found: EnvironmentDeclaration) -> bytes:
    """Return the answer's body."""
    return encode_json({"success": True, **as_json(found)})


def as_json(found: EnvironmentDeclaration) -> dict[str, Any]:
    """Return both declarations as JSON values, by the wire's names (Wh, g, g/Wh)."""
    begins = [begin.isoformat() for begin in found.individual.begins]
    return {
        "individual": _declaration(found.individual, begins),
        "general": _declaration(found.general, begins),
    }


def _declaration(declaration: Declaration, begins: list[str]) -> dict[str, Any]:
    """Return one declaration; `begins` are the begins of its periods in ISO 8601."""
    figures, total = declaration.figures, declaration.total
    emissions = figures.emissions
    return {
        "emissions": _by_begin(begins, _per(emissions, [ONE] * len(begins))),
        "emissionsPerWh": _by_begin(begins, _per(emissions, figures.consumed)),
        "consumedAmount": dict(zip(begins, _numbers(figures.consumed), strict=True)),
        "retiredAmount": dict(zip(begins, _numbers(figures.retired), strict=True)),
        "technologies": _by_begin(
            begins, {label: _numbers(column) for label, column in figures.technologies.items()}
        ),
        "totalEmissions": {name: as_float(grams) for name, grams in total.emissions.items()},
        "totalEmissionsPerWh": {
            name: per(grams, total.consumed) for name, grams in total.emissions.items()
        },
        "totalConsumedAmount": whole(total.consumed),
        "totalRetiredAmount": whole(total.retired),
        "totalTechnologies": {label: whole(amount) for label, amount in total.technologies.items()},
    }


def _by_begin(begins: list[str], columns: Mapping[str, list[Any]]) -> dict[str, dict[str, float]]:
    """Return the columns' numbers by begin and name, without those that are None."""
    if not columns:
        return {begin: {} for begin in begins}
    rows = zip(*columns.values(), strict=True)
    if any([each for each in column if each is None] for column in columns.values()):
        known = (
            {name: each for name, each in zip(columns, row, strict=True) if each is not None}
            for row in rows
        )
        return dict(zip(begins, known, strict=True))
    return dict(zip(begins, map(dict, map(zip, repeat(columns), rows)), strict=True))


def _per(emissions: Mapping[str, list[int]], units: list[int]) -> dict[str, list[float]]:
    """Return the emissions per unit as the nearest floats; 0 where there is no unit."""
    divided = truediv if all(units) else per
    return {name: list(map(divided, column, units)) for name, column in emissions.items()}


def _numbers(column: Column | list[int]) -> list[Any]:
    """Return `as_number` of a column, whose None stays None.

    It works column by column, as a year of hours has a third of a million numbers.
    """
    amounts = list(filter(None, column))
    if not any(map(mod, amounts, repeat(ONE))):
        return [None if amount is None else amount // ONE for amount in column]
    if len(amounts) < len(column):
        return [None if amount is None else as_number(amount) for amount in column]
    floats = map(truediv, amounts, repeat(ONE))
    return [
        as_number(amount) if number.is_integer() else number
        for number, amount in zip(floats, amounts, strict=True)
    ]
