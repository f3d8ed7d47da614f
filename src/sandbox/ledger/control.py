"""The ledger's control calls: issuing, reading the state, and causing errors."""

from dataclasses import asdict
from typing import Any

from flask import Flask, Response, jsonify
from pydantic import BaseModel, ConfigDict, Field

from sandbox.addresses import Kind
from sandbox.ledger.payloads import IssueGGO, MeasurementType, PublishMeasurement, RejectedError
from sandbox.ledger.rules import (
    Record,
    issued_record,
    measurement_record,
    require_address,
)
from sandbox.ledger.validator import Status, Validator
from sandbox.times import UtcTime
from sandbox.web import RefusalError, body_list, body_of, done, wait_seconds, wanted_count


class Publication(BaseModel):
    """A measurement of `amount` Wh to publish at an address."""

    model_config = ConfigDict(extra="forbid")

    address: str
    amount: int = Field(ge=0)
    type: MeasurementType
    begin: UtcTime
    end: UtcTime
    sector: str


class Issue(BaseModel):
    """A GGO to issue on the production measurement at `measurement_address`."""

    model_config = ConfigDict(extra="forbid")

    measurement_address: str
    ggo_address: str
    tech_type: str
    fuel_type: str
    emissions: dict[str, Any] | None = None


class TrickChanges(BaseModel):
    """Tricks to change; those left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    hold: bool | None = None
    frozen: bool | None = None
    processor_gone: bool | None = None
    nonsense: int | None = Field(default=None, ge=0)
    drop: int | None = Field(default=None, ge=0)
    invalid: int | None = Field(default=None, ge=0)
    invalid_message: str | None = None


class Forget(BaseModel):
    """The parameter of `Validator.forget`."""

    model_config = ConfigDict(extra="forbid")

    committed: bool = False


class Pretence(BaseModel):
    """A status to report for a batch, whatever its real one."""

    model_config = ConfigDict(extra="forbid")

    id: str
    status: Status
    message: str = "Pretended"


class LinkPrefix(BaseModel):
    """The start of the `link` in answers to `POST /batches`; empty: this server's own."""

    model_config = ConfigDict(extra="forbid")

    prefix: str


def add_control(app: Flask, validator: Validator, links: dict[str, str]) -> None:
    """Add the ledger's control calls to its application."""
    _add_issuing(app, validator)
    _add_observing(app, validator)
    _add_tricks(app, validator, links)


def _add_issuing(app: Flask, validator: Validator) -> None:
    @app.errorhandler(RejectedError)
    def rejected(error: RejectedError) -> tuple[Response, int]:
        return jsonify({"success": False, "message": str(error)}), 400

    @app.post("/control/publish")
    def publish() -> Response:
        publications = body_list(Publication)
        validator.put(lambda state: _published(state, publications))
        return done()

    @app.post("/control/issue")
    def issue() -> Response:
        issues = body_list(Issue)
        validator.put(lambda state: _issued(state, issues))
        return done()


def _published(state: dict[str, Record], publications: list[Publication]) -> dict[str, Record]:
    writes: dict[str, Record] = {}
    for one in publications:
        _require_unused(Kind.MEASUREMENT, one.address, state, writes)
        payload = PublishMeasurement(**one.model_dump(exclude={"address"}))
        writes[one.address] = measurement_record(payload)
    return writes


def _issued(state: dict[str, Record], issues: list[Issue]) -> dict[str, Record]:
    writes: dict[str, Record] = {}
    for one in issues:
        _require_unused(Kind.GGO, one.ggo_address, state, writes)
        payload = IssueGGO(
            origin=one.measurement_address,
            destination=one.ggo_address,
            **one.model_dump(include={"tech_type", "fuel_type", "emissions"}),
        )
        writes[one.ggo_address] = issued_record(payload, state.get(one.measurement_address))
    return writes


def _require_unused(
    kind: Kind, address: str, state: dict[str, Record], writes: dict[str, Record]
) -> None:
    require_address(kind, address)
    if address in state or address in writes:
        raise RejectedError(f"The address {address} is in use already")


def _add_observing(app: Flask, validator: Validator) -> None:
    @app.get("/control/state")
    def whole_state() -> Response:
        return jsonify({"state": validator.dump(), "head": validator.head})

    @app.get("/control/batches")
    def all_batches() -> Response:
        seconds = wait_seconds()
        if seconds:
            count = wanted_count()
            validator.wait_until(
                lambda: validator.seen() >= count and not validator.pending(), seconds
            )
        return jsonify({"batches": validator.entries(), "pending": validator.pending()})


def _add_tricks(app: Flask, validator: Validator, links: dict[str, str]) -> None:
    @app.get("/control/tricks")
    def show_tricks() -> Response:
        return jsonify(asdict(validator.tricks))

    @app.post("/control/tricks")
    def change_tricks() -> Response:
        changes = body_of(TrickChanges).model_dump(exclude_none=True)
        return jsonify(asdict(validator.trick(changes)))

    @app.post("/control/forget")
    def forget() -> Response:
        validator.forget(committed=body_of(Forget).committed)
        return done()

    @app.post("/control/pretend")
    def pretend() -> Response:
        wish = body_of(Pretence)
        if wish.status is Status.UNKNOWN:
            raise RefusalError(400, "Use /control/forget for UNKNOWN")
        validator.pretend(wish.id, wish.status, wish.message)
        return done()

    @app.post("/control/link")
    def link() -> Response:
        links["prefix"] = body_of(LinkPrefix).prefix.rstrip("/")
        return done()
