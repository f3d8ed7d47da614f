"""EnergyTypeService's one endpoint and its control calls (contract: peers, EnergyTypeService)."""

import itertools
from datetime import UTC, datetime
from typing import Any, Literal

from flask import Flask, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sandbox.energytype.mix import Mix
from sandbox.times import UtcTime
from sandbox.web import RefusalError, body_list, body_of, done, new_app

_TIME = TypeAdapter[datetime](UtcTime)

TimeStyle = Literal["z", "offset", "naive"]
"""The form of times in answers: `…Z`, `…+00:00`, or without an offset. All are UTC."""


class MixRow(BaseModel):
    """A row to set; `amount` in Wh. Any other field is an emission in grams."""

    model_config = ConfigDict(extra="allow")

    timestamp_utc: UtcTime
    sector: str
    technology: str
    amount: float


class Gap(BaseModel):
    """The hours to hide, `end` not included, in one sector or (None) in all."""

    model_config = ConfigDict(extra="forbid")

    begin: UtcTime
    end: UtcTime
    sector: str | None = None


class Changes(BaseModel):
    """Settings to change. Without `generated` only the rows that were set exist."""

    model_config = ConfigDict(extra="forbid")

    generated: bool | None = None
    times: TimeStyle | None = None


def create_app() -> Flask:
    """Return the EnergyTypeService application with its control calls."""
    mix = Mix()
    style: dict[str, TimeStyle] = {"times": "z"}

    def reset() -> None:
        mix.reset()
        style["times"] = "z"

    app = new_app("energytype", reset=reset)
    _add_control(app, mix, style)

    @app.get("/residual-mix")
    def residual_mix() -> Response:
        sectors = list(dict.fromkeys(request.args.getlist("sector")))
        if not sectors:
            raise RefusalError(400, "sector: missing")
        found = mix.rows(sectors, _time("begin_from"), _time("begin_to"))
        rows = [
            {"timestamp_utc": _written(begin, style["times"]), "sector": sector, **row}
            for begin, sector, row in found
        ]
        return done(mix_emissions=rows)

    return app


def _add_control(app: Flask, mix: Mix, style: dict[str, TimeStyle]) -> None:
    @app.post("/control/rows")
    def set_rows() -> Response:
        def place(row: MixRow) -> tuple[str, datetime]:
            return row.sector, row.timestamp_utc

        rows = sorted(body_list(MixRow), key=place)
        mix.put(
            {
                key: [one.model_dump(exclude={"timestamp_utc", "sector"}) for one in group]
                for key, group in itertools.groupby(rows, key=place)
            }
        )
        return done()

    @app.post("/control/hide")
    def hide() -> Response:
        gap = body_of(Gap)
        mix.hide(gap.sector, gap.begin, gap.end)
        return done()

    @app.post("/control/settings")
    def change_settings() -> Response:
        wish = body_of(Changes)
        mix.generated = mix.generated if wish.generated is None else wish.generated
        style["times"] = wish.times or style["times"]
        return jsonify({"generated": mix.generated, **style})


def _time(name: str) -> datetime:
    try:
        # A plus sign that wasn't percent-encoded arrives as a space.
        return _TIME.validate_python(request.args.get(name, "").replace(" ", "+"))
    except ValidationError as error:
        raise RefusalError(400, f"{name}: not a time in ISO 8601") from error


def _written(value: datetime, style: TimeStyle) -> Any:
    naive = value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return naive + {"z": "Z", "offset": "+00:00", "naive": ""}[style]
