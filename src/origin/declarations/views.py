"""Environment declarations (contract: http-api, Environment declarations)."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from itertools import repeat
from operator import mod, truediv
from typing import Any, cast

import orjson
from flask import Response, request
from marshmallow import ValidationError, fields, post_load

from origin.declarations.pdf.document import Issuer, render
from origin.declarations.pdf.words import LANGUAGES, Language
from origin.declarations.rules.declarations import Answer, Column, Declaration, Question, Resolution
from origin.declarations.rules.exact import ONE, as_float, as_number, per, whole
from origin.declarations.service import DeclarationService
from origin.identity.authentication import current_user, requires
from origin.settings import Settings
from origin.shared.clock import utcnow
from origin.shared.off_the_loop import off_the_loop
from origin.web.blueprint import Blueprint
from origin.web.collections import Items
from origin.web.described import (
    A_BEGIN,
    BEGIN,
    BEGIN_RANGE,
    EMISSIONS_PER_WH,
    END,
    RESOLUTION,
    described,
)
from origin.web.fields import Text, Time, WholeNumber, in_utc
from origin.web.provided import provided
from origin.web.schema import Schema, SuccessResponse

blueprint = Blueprint("declarations", __name__)

MAX_POINTS = 10_000
MAX_OFFSET_H = 23
PDF_NAME = "EnvironmentDeclaration.pdf"


class DeclarationRange(Schema):
    """Both ends included; a time without an offset is in the request's `utcOffset`."""

    begin = Time(required=True, metadata=BEGIN)
    end = Time(required=True, metadata=END)


class DeclarationRequest(Schema):
    """Which consumption to declare, and by which periods."""

    gsrn = Items(
        Text(),
        least=1,
        most=MAX_POINTS,
        required=True,
        metadata=described("The caller's consumption metering points", ["571313180400000012"]),
    )
    resolution = fields.Enum(Resolution, by_value=True, required=True, metadata=RESOLUTION)
    begin_range = fields.Nested(
        DeclarationRange, required=True, data_key="beginRange", metadata=BEGIN_RANGE
    )
    utc_offset = WholeNumber(
        least=-MAX_OFFSET_H,
        most=MAX_OFFSET_H,
        load_default=0,
        data_key="utcOffset",
        metadata=described("Hours by which local time is ahead of UTC", 1),
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Question:
        offset = timedelta(hours=data["utc_offset"])
        begin, end = _ends(data["begin_range"], timezone(offset))
        return Question(
            gsrns=tuple(dict.fromkeys(data["gsrn"])),
            begin=begin,
            end=end,
            resolution=data["resolution"],
            offset=offset,
        )


def _ends(ends: dict[str, datetime], zone: timezone) -> tuple[datetime, datetime]:
    """Both in UTC; refused where they aren't a range, or have no place in local time."""
    begin, end = (
        time if time.tzinfo else time.replace(tzinfo=zone) for time in (ends["begin"], ends["end"])
    )
    wrong = None
    if begin.utcoffset() != end.utcoffset():
        wrong = "begin and end must have the same offset."
    elif begin > end:
        wrong = "end must not be before begin."
    try:
        for time in (begin, end):
            # An hour more is asked of EnergyTypeService.
            in_utc(time + timedelta(hours=1)).astimezone(zone)
        found = in_utc(begin), in_utc(end)
        found[0].astimezone(zone)
    except OverflowError:
        wrong = "Not a valid datetime."
    if wrong:
        raise ValidationError({"beginRange": {"end": [wrong]}})
    return found


_Numbers = fields.Dict(keys=fields.String(), values=fields.Float())
_BY_BEGIN = fields.AwareDateTime(metadata=described("ISO 8601 with the offset asked for"))


class DeclarationSchema(Schema):
    """A declaration by begin of its periods, and in total."""

    emissions = fields.Dict(
        keys=_BY_BEGIN,
        values=_Numbers,
        metadata=described(
            "g by name of the emission, by begin of the period", {A_BEGIN: {"CO2": 1.2}}
        ),
    )
    emissionsPerWh = fields.Dict(  # noqa: N815 - the wire's name
        keys=_BY_BEGIN,
        values=_Numbers,
        metadata=described("g/Wh, by begin of the period", {A_BEGIN: {"CO2": 1.2}}),
    )
    consumedAmount = fields.Dict(  # noqa: N815 - the wire's name
        keys=_BY_BEGIN,
        values=fields.Float(),
        metadata=described("Consumption in Wh, by begin of the period", {A_BEGIN: 900}),
    )
    retiredAmount = fields.Dict(  # noqa: N815 - the wire's name
        keys=_BY_BEGIN,
        values=fields.Float(),
        metadata=described("Retired to it, in Wh, by begin of the period", {A_BEGIN: 900}),
    )
    technologies = fields.Dict(
        keys=_BY_BEGIN,
        values=_Numbers,
        metadata=described("Wh by technology, by begin of the period", {A_BEGIN: {"Wind": 900}}),
    )
    totalEmissions = fields.Dict(  # noqa: N815 - the wire's name
        keys=fields.String(),
        values=fields.Float(),
        metadata=described("g by name of the emission", {"CO2": 1.2}),
    )
    totalEmissionsPerWh = fields.Dict(  # noqa: N815 - the wire's name
        keys=fields.String(), values=fields.Float(), metadata=EMISSIONS_PER_WH
    )
    totalConsumedAmount = fields.Integer(metadata=described("Consumption in Wh", 900))  # noqa: N815 - the wire's name
    totalRetiredAmount = fields.Integer(metadata=described("Retired to it, in Wh", 900))  # noqa: N815 - the wire's name
    totalTechnologies = fields.Dict(  # noqa: N815 - the wire's name
        keys=fields.String(),
        values=fields.Integer(),
        metadata=described("Wh by technology", {"Wind": 900}),
    )


class DeclarationResponse(SuccessResponse):
    """What the consumption came from, and what all consumption of those sectors came from."""

    individual = fields.Nested(DeclarationSchema, metadata=described("Of the caller's consumption"))
    general = fields.Nested(
        DeclarationSchema,
        metadata=described("Of all consumption in the same sectors: the residual mix"),
    )


@blueprint.post("/eco-declaration")
@requires("ggo.read")
@blueprint.arguments(DeclarationRequest)
@blueprint.response(200, DeclarationResponse)
def eco_declaration(question: Question) -> Response:
    """Declare the emissions and technologies of the caller's consumption."""
    found = provided(DeclarationService).answer(current_user().id, question)
    return Response(off_the_loop(written, found), mimetype="application/json")


@blueprint.post("/eco-declaration/export-pdf")
@requires("ggo.read")
@blueprint.arguments(DeclarationRequest)
@blueprint.response(
    200,
    {"type": "string", "format": "binary"},
    content_type="application/pdf",
)
def export_pdf(question: Question) -> Response:
    """Declare the same on two pages, in the language that `Accept-Language` prefers."""
    found = provided(DeclarationService).answer(current_user().id, question)
    language = request.accept_languages.best_match(LANGUAGES, default="en")
    issuer = Issuer(provided(Settings).service_name, provided(Settings).project_url, utcnow())
    response = Response(
        off_the_loop(render, question, found, issuer, cast("Language", language)),
        mimetype="application/pdf",
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{PDF_NAME}"'
    response.headers["Content-Language"] = language
    response.headers["Vary"] = "Accept-Language"
    response.cache_control.no_store = True
    return response


def written(found: Answer) -> bytes:
    """The answer in JSON."""
    answer = {"success": True, **as_json(found)}
    try:
        return orjson.dumps(answer)
    except TypeError:
        # Whole numbers beyond 64 bits, which may come of absurd measurements.
        return json.dumps(answer).encode()


def as_json(found: Answer) -> dict[str, Any]:
    """Both declarations as the contract has them."""
    begins = [begin.isoformat() for begin in found.individual.begins]
    return {
        "individual": _declaration(found.individual, begins),
        "general": _declaration(found.general, begins),
    }


def _declaration(declaration: Declaration, begins: list[str]) -> dict[str, Any]:
    """One of them; `begins` are those of its periods, as they are written."""
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
    """The columns' numbers, where they have one, by begin and name."""
    if not columns:
        return {begin: {} for begin in begins}
    rows = zip(*columns.values(), strict=True)
    if any([each for each in column if each is None] for column in columns.values()):
        there = (
            {name: each for name, each in zip(columns, row, strict=True) if each is not None}
            for row in rows
        )
        return dict(zip(begins, there, strict=True))
    return dict(zip(begins, map(dict, map(zip, repeat(columns), rows)), strict=True))


def _per(emissions: Mapping[str, list[int]], units: list[int]) -> dict[str, list[float]]:
    """The floats nearest to the emissions in each unit; 0 where there is nothing of it."""
    divided = truediv if all(units) else per
    return {name: list(map(divided, column, units)) for name, column in emissions.items()}


def _numbers(column: Column | list[int]) -> list[Any]:
    """Whole numbers where they are, else the floats nearest to them; None where there is nothing."""
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
